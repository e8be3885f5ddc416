// Keeps the figures of runs at work up to date. The page is whole without it.
"use strict";
(function () {
  const section = document.querySelector("[data-live]");
  if (!section) return;
  const note = document.getElementById("live-note");
  const EVERY_MS = 3000;
  function show(live) {
    const known = new Map(Array.from(section.querySelectorAll("[data-attempt]"), (card) => [card.dataset.attempt, card]));
    let fresh = live.length !== known.size;
    for (const one of live) {
      const card = known.get(one.attempt);
      if (!card) { fresh = true; continue; }
      for (const cell of card.querySelectorAll("[data-field]")) cell.textContent = one[cell.dataset.field];
      for (const bar of card.querySelectorAll("[data-progress]")) bar.value = one[bar.dataset.progress] || 0;
    }
    note.textContent = fresh ? "Runs have begun or ended: load the page again to see them." : "";
  }
  async function look() {
    if (!document.hidden) {
      try {
        const answer = await fetch("/live.json", { cache: "no-store" });
        if (answer.ok) show((await answer.json()).live);
      } catch (error) { note.textContent = "The dashboard does not answer."; }
    }
    setTimeout(look, EVERY_MS);
  }
  setTimeout(look, EVERY_MS);
})();
