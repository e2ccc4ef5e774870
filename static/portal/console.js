"use strict";

/* Everything here is an addition: without it, texts can be selected, ids typed, dates chosen. */

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy), button));
}

async function copy(source, button) {
  const told = document.querySelector("[data-copied]");
  try {
    await navigator.clipboard.writeText(source.textContent);
    told.textContent = "Copied.";
    button.classList.add("done");
  } catch {
    getSelection().selectAllChildren(source);
    told.textContent = "Selected: copy it with Ctrl+C or ⌘C.";
  }
}

/* A second click must not send a form twice: the second answer would hide the secret of the first. */
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => delete form.dataset.sent);
}

/* Text fields that complete a name: a list of those that begin with what is typed. */
for (const input of document.querySelectorAll("input[data-suggest]")) {
  const list = document.createElement("datalist");
  list.id = `${input.id}-names`;
  input.after(list);
  input.setAttribute("list", list.id);
  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => complete(input, list), 150);
  });
  if (input.value) complete(input, list); // typed before this script ran
}

async function complete(input, list) {
  const answer = await fetch(`${input.dataset.suggest}?${new URLSearchParams({ q: input.value })}`);
  if (!answer.ok) return;
  const { names } = await answer.json();
  list.replaceChildren(...names.map((name) => Object.assign(document.createElement("option"), { value: name })));
}

/* Buttons that fill in a day; none goes past the strictest of the roles that are chosen. */
for (const presets of document.querySelectorAll("[data-presets]")) {
  const input = document.getElementById(presets.dataset.presets);
  for (const button of presets.querySelectorAll("button")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const chosen = [...document.querySelectorAll("input[name=roles]:checked")].map((box) => +box.dataset.days);
      const day = new Date(`${presets.dataset.today}T00:00:00Z`);
      day.setUTCDate(day.getUTCDate() + Math.min(+button.dataset.days, ...chosen));
      input.value = day.toISOString().slice(0, 10);
    });
  }
}
