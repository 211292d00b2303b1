// The buttons of the key images, and the viewer's start.

for (const [id, name] of [["soft-tissue", "soft"], ["hide-marks", "bare"]]) {
  const button = document.getElementById(id);
  if (button) button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(document.body.classList.toggle(name)));
  });
}

const data = JSON.parse(document.getElementById("viewer-data").textContent);
for (const found of data.findings) {
  if (found.mask) found.mask.bits = Uint8Array.from(atob(found.mask.bits), (c) => c.charCodeAt(0));
}
letPagePass(new Viewer(data));
