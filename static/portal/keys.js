"use strict";

/* Security keys and passkeys: the browser asks for one, and the form carries its answer. */

/* By the name of the error. */
const WHY = {
  InvalidStateError: "This key is added already.",
  SecurityError: "Security keys do not work at this address: open the portal by its name (localhost, not 127.0.0.1).",
};

for (const form of document.querySelectorAll("form[data-key-request], form[data-key-creation]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const failed = form.querySelector("[data-key-failed]");
    failed.hidden = true;
    try {
      form.elements.credential.value = JSON.stringify(await answer(form.dataset));
      form.submit();
    } catch (error) {
      failed.textContent = WHY[error.name] || "No key answered, or it is not one of yours. Try again.";
      failed.hidden = false;
    }
  });
}

function answer({ keyRequest, keyCreation }) {
  const options = JSON.parse(document.getElementById(keyRequest || keyCreation).textContent);
  return keyRequest ? webauthnJSON.get(options) : webauthnJSON.create(options);
}
