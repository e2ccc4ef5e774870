"use strict";

/* Buttons that fill in a day. Without this, the day is typed. */

for (const presets of document.querySelectorAll("[data-days-for]")) {
  const input = document.getElementById(presets.dataset.daysFor);
  for (const button of presets.querySelectorAll("button")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const day = new Date(`${presets.dataset.today}T00:00:00Z`);
      day.setUTCDate(day.getUTCDate() + +button.dataset.days);
      input.value = day.toISOString().slice(0, 10);
    });
  }
}
