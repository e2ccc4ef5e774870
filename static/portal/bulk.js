"use strict";

/* Keeps an operation going while its page is open. Without this, its button does the same a slice at a time. */

/* Only the tab in which somebody began it goes on by itself: to look at the page of one is not to continue it. */
for (const form of document.querySelectorAll("[data-bulk-start]")) {
  sessionStorage.removeItem("bulk"); // of a form that was refused
  form.addEventListener("submit", () => sessionStorage.setItem("bulk", form.dataset.bulkStart));
}

for (const panel of document.querySelectorAll("[data-bulk]")) {
  const form = panel.querySelector("form");
  if (!form) continue;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepGoing(panel, form);
  });
  if (sessionStorage.getItem("bulk") === panel.dataset.bulk) keepGoing(panel, form);
}

async function keepGoing(panel, form) {
  const button = form.querySelector("button");
  const told = panel.querySelector("[data-bulk-told]");
  button.hidden = true;
  try {
    for (;;) {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new FormData(form),
        headers: { Accept: "application/json" },
        redirect: "manual",
      });
      if (answer.type === "opaqueredirect") break; // ended meanwhile, or signed out: the page itself says which
      if (!answer.ok) throw new Error(answer.status === 403 ? "You may not continue this any more." : "");
      const { handled, count, going_on } = await answer.json();
      panel.querySelector("progress").value = handled;
      told.textContent = `${handled.toLocaleString("en")} of ${count.toLocaleString("en")}`;
      if (!going_on) break;
    }
    sessionStorage.removeItem("bulk");
    location.reload();
  } catch (error) {
    told.textContent = `${error.message || "The portal did not answer."} Nothing is lost: what was done is done.`;
    button.hidden = false;
  }
}
