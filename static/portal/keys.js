"use strict";

/* Security keys and passkeys: the browser asks for one, and the form carries its answer. */

for (const form of document.querySelectorAll("form[data-key-request], form[data-key-creation]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const failed = form.querySelector("[data-key-failed]");
    failed.hidden = true;
    try {
      form.elements.credential.value = JSON.stringify(await answer(form.dataset));
      form.submit();
    } catch {
      failed.textContent = "No key answered, or it is not one of yours. Try again.";
      failed.hidden = false;
    }
  });
}

function answer({ keyRequest, keyCreation }) {
  const options = JSON.parse(document.getElementById(keyRequest || keyCreation).textContent);
  return keyRequest ? webauthnJSON.get(options) : webauthnJSON.create(options);
}
