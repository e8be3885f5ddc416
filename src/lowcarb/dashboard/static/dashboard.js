// Keeps the figures of runs at work up to date. The page is whole without it.
"use strict";
(function () {
  const section = document.querySelector("[data-live]");
  if (!section) return;
  const note = document.getElementById("live-note");
  const EVERY_MS = 3000;
  function show(live) {
    const known = new Map(Array.from(section.querySelectorAll("[data-attempt]"), (card) => [card.dataset.attempt, card]));
    const all = section.dataset.live === "all";
    const shown = live.filter((one) => all || known.has(one.attempt));
    let fresh = shown.length !== known.size;
    for (const one of shown) {
      const card = known.get(one.attempt);
      if (!card) { fresh = true; continue; }
      for (const cell of card.querySelectorAll("[data-field]")) cell.textContent = one[cell.dataset.field];
      for (const line of card.querySelectorAll("[data-path]")) line.setAttribute("d", one[line.dataset.path]);
      for (const bar of card.querySelectorAll("[data-progress]")) {
        bar.value = one[bar.dataset.progress] || 0;
        if ("level" in bar.dataset) bar.dataset.level = one.level;
      }
      // What was not known when the page was made has no cell yet: how it will end.
      fresh = fresh || (one.whole_energy && !card.querySelector("[data-field=whole_energy]"));
    }
    const began = all ? "Runs have begun or ended, or more is known of them" : "It has ended, or more is known of it";
    note.textContent = fresh ? began + ": load the page again to see it." : "";
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
