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
    for (const earlier of document.querySelectorAll("[data-copy].done")) {
      earlier.textContent = earlier.dataset.says;
      earlier.classList.remove("done");
    }
    button.dataset.says = button.textContent;
    button.textContent = "Copied";
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
    setTimeout(() => able(form, false)); // once the browser has read which button was pressed
  });
  addEventListener("pageshow", () => able(form, true));
}

function able(form, isAble) {
  if (isAble) delete form.dataset.sent;
  for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = !isAble;
}

/* Instants are written in UTC. Whoever points at one is told what that is on the clock of the place. */
addEventListener("pointerover", ({ target }) => {
  const time = target instanceof Element && target.closest("time[datetime]");
  if (time && !time.title) time.title = onTheClockHere(new Date(time.dateTime));
});

function onTheClockHere(moment) {
  return moment.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
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

/* Where the row of sections is wider than the window, the current one is shown. */
for (const current of document.querySelectorAll("#sections [aria-current]")) {
  const row = current.closest("nav");
  row.scrollLeft = current.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;
}

/* What was still being counted when the page was asked for is put in once it is there, or once that has failed. */
for (const part of document.querySelectorAll("[data-pending]")) fill(part);

async function fill(part) {
  for (let pause = 500; pause < 8_000; pause *= 1.2) {
    await new Promise((go) => setTimeout(go, pause));
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok) continue;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById(part.id);
    if (!found) return location.reload(); // signed out meanwhile
    if (!("pending" in found.dataset)) return part.replaceWith(found);
  }
  part.querySelector("[data-told]").textContent = "The tokens could not be counted. Look again in a while.";
}
