"use strict";

/* Who leaves without having said "I saved it" is asked once more: the secret cannot be shown again. */

let saved = false;
document.querySelector("[data-saved]").addEventListener("click", () => (saved = true));
addEventListener("beforeunload", (event) => {
  if (!saved) event.preventDefault();
});
