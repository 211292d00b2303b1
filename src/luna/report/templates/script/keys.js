// Keys, anywhere in the viewer but where a key types or turns something already.

const LEAP_MM = 10;
const PANNED = { ArrowUp: [0, 20], ArrowDown: [0, -20], ArrowLeft: [20, 0], ArrowRight: [-20, 0] };

const KEYS = {
  ArrowUp: (viewer) => viewer.step(viewer.active.plane.axis, 1),
  ArrowDown: (viewer) => viewer.step(viewer.active.plane.axis, -1),
  ArrowRight: (viewer) => viewer.step(viewer.active.plane.axis, 1),
  ArrowLeft: (viewer) => viewer.step(viewer.active.plane.axis, -1),
  PageUp: (viewer) => leap(viewer, 1),
  PageDown: (viewer) => leap(viewer, -1),
  Home: (viewer) => viewer.point(viewer.active.plane.axis, 0),
  End: (viewer) => viewer.point(viewer.active.plane.axis, Infinity),
  "+": (viewer) => viewer.zoom(1.25),
  "=": (viewer) => viewer.zoom(1.25),
  "-": (viewer) => viewer.zoom(0.8),
  0: (viewer) => viewer.reset(),
  1: (viewer) => viewer.window(...PRESETS.lung),
  2: (viewer) => viewer.window(...PRESETS.soft),
  3: (viewer) => viewer.window(...PRESETS.bone),
  4: (viewer) => viewer.window(...PRESETS.wide),
  "[": (viewer) => viewer.window(viewer.level, viewer.width * 0.8),
  "]": (viewer) => viewer.window(viewer.level, viewer.width * 1.25),
  ",": (viewer) => viewer.window(viewer.level - 25, viewer.width),
  ".": (viewer) => viewer.window(viewer.level + 25, viewer.width),
  o: (viewer) => viewer.toggleMarks(),
  n: (viewer) => viewer.jump(1),
  p: (viewer) => viewer.jump(-1),
};

function leap(viewer, direction) {
  const axis = viewer.active.plane.axis;
  viewer.step(axis, direction * Math.max(1, Math.round(LEAP_MM / viewer.stack.data.mm[axis])));
}

function listenToKeys(viewer) {
  document.getElementById("view").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, summary")) return;
    const panned = event.shiftKey && PANNED[event.key];
    if (panned) viewer.pan(viewer.active, ...panned);
    else if (KEYS[event.key]) KEYS[event.key](viewer);
    else return;
    event.preventDefault();
  });
}
