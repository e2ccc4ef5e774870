"use strict";

/* Without this, the day is typed, and a button of its own shows what the chosen roles come to. */

const form = document.querySelector("form:has([data-summary])");

if (form) {
  const day = form.elements.expires_at;
  const presets = form.querySelector("[data-presets]");
  const today = new Date(`${presets.dataset.today}T00:00:00Z`);

  const strictest = () =>
    Math.min(
      +presets.querySelector("[data-maximum]").dataset.days,
      ...[...form.querySelectorAll("input[name=roles]:checked")].map((box) => +box.dataset.days),
    );
  const after = (days) => new Date(today.getTime() + days * 86_400_000).toISOString().slice(0, 10);

  /* No preset goes past the strictest of the roles that are chosen. */
  for (const button of presets.querySelectorAll("button")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      day.value = after(Math.min(+button.dataset.days, strictest()));
      refresh();
    });
  }

  form.querySelector("[data-look]").hidden = true;
  form.addEventListener("change", refresh);
  addEventListener("pageshow", refresh); // the browser may have kept what was chosen
  let asking = new AbortController();

  async function refresh() {
    presets.querySelector("[data-maximum]").textContent = `Maximum (${strictest()} days)`;
    day.max = after(strictest());
    asking.abort();
    asking = new AbortController();
    const query = new URLSearchParams(location.search);
    for (const name of ["roles", "expires_at"]) query.delete(name);
    query.set("summary", "1");
    query.set("expires_at", day.value);
    for (const box of form.querySelectorAll("input[name=roles]:checked")) query.append("roles", box.value);
    try {
      const answer = await fetch(`${location.pathname}?${query}`, { signal: asking.signal });
      if (answer.ok && !answer.redirected) form.querySelector("[data-summary]").innerHTML = await answer.text();
    } catch (error) {
      if (error.name !== "AbortError") form.querySelector("[data-look]").hidden = false;
    }
  }
}
