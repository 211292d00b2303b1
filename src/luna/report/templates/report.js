"use strict";
(() => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const stage = document.getElementById("stage");
  const image = document.getElementById("slice");
  const overlay = document.getElementById("marks");
  const slider = document.getElementById("slider");
  const readout = document.getElementById("readout");
  let shown = 0;

  const svg = (name, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };

  function show(position) {
    shown = Math.min(data.images.length - 1, Math.max(0, position));
    const index = shown * data.step;
    image.src = data.images[shown];
    slider.value = shown;
    const here = data.findings.filter((f) => index >= f.first - data.step + 1 && index <= f.last);
    overlay.replaceChildren();
    for (const f of here) {
      overlay.append(svg("circle", { cx: f.x, cy: f.y, r: f.r }));
      const label = svg("text", { x: f.x + f.r * 0.75 + 2, y: f.y - f.r * 0.75 - 2 });
      label.textContent = f.name;
      overlay.append(label);
    }
    const named = here.length ? " · " + here.map((f) => f.name).join(", ") : "";
    readout.textContent =
      `slice ${index + 1} of ${data.slices}, from the feet · z = ${data.z[index].toFixed(1)} mm${named}`;
  }

  const goTo = (f) => show(Math.round(f.index / data.step));
  const byIndex = [...data.findings].sort((a, b) => a.index - b.index);
  function jump(direction) {
    const index = shown * data.step;
    const next = direction > 0
      ? byIndex.find((f) => Math.round(f.index / data.step) > shown)
      : [...byIndex].reverse().find((f) => Math.round(f.index / data.step) < shown);
    if (next) goTo(next);
    return index;
  }

  slider.max = data.images.length - 1;
  slider.addEventListener("input", () => show(Number(slider.value)));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    show(shown + (event.deltaY < 0 ? 1 : -1));
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (step) { event.preventDefault(); show(shown + step); }
  });
  document.getElementById("previous").addEventListener("click", () => jump(-1));
  document.getElementById("next").addEventListener("click", () => jump(1));
  for (const link of document.querySelectorAll("[data-finding]")) {
    link.addEventListener("click", () => goTo(data.findings.find((f) => f.name === link.dataset.finding)));
  }
  for (const [id, name] of [["soft-tissue", "soft"], ["hide-marks", "bare"]]) {
    const button = document.getElementById(id);
    if (button) button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(document.body.classList.toggle(name)));
    });
  }
  const asked = /^#slice=(\d+)$/.exec(location.hash);
  if (asked) show(Math.round((Number(asked[1]) - 1) / data.step));
  else if (data.findings.length) goTo(data.findings[0]);
  else show(Math.floor(data.images.length / 2));
})();
