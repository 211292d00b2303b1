// Mouse and touch on one plane.

const NOTCH = 100; // pixels that a wheel turns for one slice
const DRAGGED = 8; // pixels that a drag goes for one slice
const PAUSE_MS = 250; // a wheel that rests so long begins anew

function listenTo(pane, viewer) {
  const { canvas, plane } = pane, fingers = new Map();
  let turned = 0, last = 0, drag = null;

  canvas.addEventListener("wheel", (event) => {
    if (viewer.passing) return; // the page is being scrolled past the viewer
    event.preventDefault();
    const pixels = event.deltaY * [1, 33, 800][event.deltaMode];
    if (event.ctrlKey) { viewer.zoom(Math.exp(-pixels / 200), pane, event); return; }
    if (event.timeStamp - last > PAUSE_MS) turned = 0;
    last = event.timeStamp;
    turn(pixels);
  }, { passive: false });

  // Slices by distance: what is less than one counts for the next, unless the direction changes.
  function turn(pixels) {
    turned = turned * pixels < 0 ? pixels : turned + pixels;
    const steps = Math.trunc(turned / NOTCH);
    turned -= steps * NOTCH;
    if (steps) viewer.step(plane.axis, -steps);
  }

  // The keys act where the eye is: where the focus went, or a hand. A pointer that the page was
  // scrolled under tells nothing.
  canvas.addEventListener("focus", () => { viewer.active = pane; });
  canvas.addEventListener("pointermove", (event) => {
    if (event.movementX || event.movementY) viewer.active = pane;
  });

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    const other = { 1: "pan", 2: "window" }[event.button] ?? (event.shiftKey ? "pan" : viewer.tool);
    drag = fingers.size > 1 ? "pinch" : other;
    if (drag === "point") pointAt(event);
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (drag === "point") pointAt(event);
    if (drag === "slices") turn((dy * NOTCH) / DRAGGED);
    if (drag === "pan") viewer.pan(pane, dx, dy);
    if (drag === "window") viewer.window(viewer.level + dy * viewer.width / 400, viewer.width * Math.exp(dx / 200));
    if (drag === "pinch") pinch(event, before, dx, dy);
    fingers.set(event.pointerId, event);
  });

  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => { fingers.delete(event.pointerId); drag = null; });
  }

  function pointAt(event) {
    const point = pane.voxel(event);
    for (const axis of [plane.down, plane.across]) viewer.point(axis, Math.round(point[axis]));
  }

  function pinch(event, before, dx, dy) {
    const other = [...fingers.values()].find((f) => f.pointerId !== event.pointerId);
    if (!other) return;
    const apart = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY);
    viewer.zoom(apart(event) / Math.max(apart(before), 1), pane, other);
    viewer.pan(pane, dx / 2, dy / 2);
  }
}

// A wheel that began on the page goes on over the viewer until it rests.
function letPagePass(viewer) {
  let last = -Infinity;
  window.addEventListener("wheel", (event) => {
    const inside = event.target.closest("canvas");
    if (!inside || viewer.passing) {
      viewer.passing = !inside || event.timeStamp - last < PAUSE_MS;
    }
    last = event.timeStamp;
  }, { capture: true, passive: true });
}
