// What the reader does: three linked planes, one window, one zoom, by mouse, touch and keyboard.

const PLANES = [
  { name: "axial", axis: 0, down: 1, across: 2, up: false },
  { name: "coronal", axis: 1, down: 0, across: 2, up: true },
  { name: "sagittal", axis: 2, down: 0, across: 1, up: true },
];
const PRESETS = { lung: [-600, 1500], soft: [40, 400], bone: [400, 1800], wide: [0, 2600] };
const NOTCH = 100; // pixels that a wheel turns for one slice
const PAUSE_MS = 250; // a wheel that rests so long begins anew
const ZOOM_MAX = 20;
const LEAP_MM = 10;

class Viewer {
  constructor(data) {
    this.stack = new Stack(data);
    const middle = data.shape.map((n) => (n - 1) / 2);
    this.view = { at: middle.map(Math.round), look: middle, zoom: 1, marks: true };
    this.tool = "point";
    const letters = data.letters;
    this.panes = PLANES.map((plane) => {
      const ends = (axis, up) => (up ? [...letters[axis]].reverse() : letters[axis]);
      plane.letters = [...ends(plane.across), ...ends(plane.down, plane.up)];
      return new Pane(plane, this.stack, this.view);
    });
    this.window(...PRESETS.lung);
    for (const pane of this.panes) listenTo(pane, this);
    this.#controls();
    new ResizeObserver(() => this.draw(true)).observe(document.getElementById("panes"));
    this.#begin();
    this.#load();
  }

  // ---- what is looked at

  step(axis, slices) {
    this.point(axis, Math.round(this.view.at[axis]) + slices);
  }

  point(axis, value) {
    this.view.at[axis] = clamp(value, 0, this.stack.data.shape[axis] - 1);
    this.draw();
  }

  goTo(found) {
    this.view.at = [...found.center];
    if (this.view.zoom > 1) this.view.look = [...found.center];
    this.shown = found;
    this.draw();
  }

  jump(direction) {
    const all = this.stack.data.findings;
    const next = all.indexOf(this.shown) + direction;
    if (all[next]) this.goTo(all[next]);
  }

  zoom(factor, pane, event) {
    const zoom = clamp(this.view.zoom * factor, 1, ZOOM_MAX);
    const still = event ? pane.voxel(event) : this.view.look;
    const axes = pane ? [pane.plane.down, pane.plane.across] : [];
    for (const axis of axes) {
      const [here, away] = [still[axis], still[axis] - this.view.look[axis]];
      this.view.look[axis] = here - (away * this.view.zoom) / zoom;
    }
    this.view.zoom = zoom;
    if (zoom === 1) this.view.look = this.stack.data.shape.map((n) => (n - 1) / 2);
    this.draw();
  }

  pan(pane, dx, dy) {
    const frame = pane.frame(), { across, down } = pane.plane;
    this.view.look[across] -= (dx * pane.ratio) / frame.dx;
    this.view.look[down] -= (dy * pane.ratio) / frame.dy;
    this.draw();
  }

  window(level, width) {
    this.level = clamp(Math.round(level), -1024, 1500);
    this.width = clamp(Math.round(width), 10, 4000);
    const low = this.level - this.width / 2;
    this.view.grey = Uint8ClampedArray.from(this.stack.hu, (hu) => ((hu - low) * 255) / this.width);
    document.getElementById("level").value = this.level;
    document.getElementById("width").value = this.width;
    for (const button of document.querySelectorAll("[data-window]")) {
      const [l, w] = PRESETS[button.dataset.window];
      button.setAttribute("aria-pressed", String(l === this.level && w === this.width));
    }
    this.draw();
  }

  toggleMarks() {
    this.view.marks = !this.view.marks;
    document.getElementById("marks").setAttribute("aria-pressed", String(this.view.marks));
    this.draw();
  }

  reset() {
    this.zoom(1 / ZOOM_MAX);
    this.window(...PRESETS.lung);
  }

  draw(fit = false) {
    this.resized ||= fit;
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      for (const pane of this.panes) {
        if (this.resized || !pane.ratio) pane.fit();
        pane.draw();
      }
      this.resized = false;
      document.getElementById("view").dataset.zoom = this.view.zoom.toFixed(2);
      this.#read();
    });
  }

  // ---- what is said

  #read() {
    const { data } = this.stack, at = this.view.at.map(Math.round);
    const scan = at.map((v, axis) => data.start[axis] + (v + 0.5) * data.step[axis] - 0.5);
    const place = [0, 1, 2].map((k) =>
      data.origin[k] + scan.reduce((sum, v, axis) => sum + v * data.steps_xyz[axis][k], 0));
    const first = data.start[0] + at[0] * data.step[0];
    const last = Math.min(first + data.step[0], data.slices) - 1;
    const slices = last > first ? `slices ${first + 1} to ${last + 1}` : `slice ${first + 1}`;
    const image = data.image_numbers[first];
    const hu = this.stack.at(at);
    const here = data.findings.filter((f) => at.every((v, axis) => v >= f.low[axis] && v <= f.high[axis]));
    document.getElementById("readout").textContent = [
      `${slices} of ${data.slices} from the feet${image === undefined ? "" : ` (image ${image})`}`,
      `LPS ${place.map((mm) => mm.toFixed(1)).join(", ")} mm`,
      hu === undefined ? "not decoded yet" : `about ${Math.round(hu / 5) * 5} HU`,
      ...here.map((f) => f.title),
    ].join(" · ");
  }

  // ---- controls

  #controls() {
    const on = (id, act, event = "click") => document.getElementById(id).addEventListener(event, act);
    on("previous", () => this.jump(-1));
    on("next", () => this.jump(1));
    on("nearer", () => this.zoom(1.5));
    on("farther", () => this.zoom(1 / 1.5));
    on("reset", () => this.reset());
    on("marks", () => this.toggleMarks());
    for (const id of ["level", "width"]) {
      on(id, () => this.window(...["level", "width"].map((n) => Number(document.getElementById(n).value))), "change");
    }
    for (const button of document.querySelectorAll("[data-window]")) {
      button.addEventListener("click", () => this.window(...PRESETS[button.dataset.window]));
    }
    for (const choice of document.querySelectorAll("[name=tool]")) {
      choice.addEventListener("change", () => this.choose(choice.value));
    }
    for (const pane of this.panes) {
      pane.slider.addEventListener("input", () => this.point(pane.plane.axis, Number(pane.slider.value)));
    }
    for (const link of document.querySelectorAll("[data-finding]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault(); // following the link would take the focus away again
        document.getElementById("view").scrollIntoView();
        this.goTo(this.stack.data.findings.find((f) => f.name === link.dataset.finding));
        this.panes[0].canvas.focus({ preventScroll: true }); // the keys act where the eye is
      });
    }
  }

  choose(tool) {
    this.tool = tool;
    document.getElementById("panes").dataset.tool = tool;
  }

  #begin() {
    const asked = /^#slice=(\d+)$/.exec(location.hash);
    const { data } = this.stack;
    if (asked) this.point(0, Math.floor((Number(asked[1]) - 1 - data.start[0]) / data.step[0]));
    else if (data.findings.length) this.goTo(data.findings[0]);
    else this.draw();
  }

  async #load() {
    const state = document.getElementById("loading");
    const seen = await this.stack.load(() => this.view.at[0] | 0, (k, left) => {
      state.textContent = left ? `decoding, ${left} slices left` : "";
      if (left % 16 === 0 || k === Math.round(this.view.at[0])) this.draw();
    });
    if (!seen) {
      state.textContent = "This browser hides the pixels of pictures from pages, against tracking: " +
        "the viewer cannot work here. The table and the key images do not need it.";
    }
    document.getElementById("view").dataset.ready = String(seen);
  }
}

// ---- mouse, touch and keyboard on one pane

function listenTo(pane, viewer) {
  const { canvas, plane } = pane, fingers = new Map();
  let turned = 0, last = 0, drag = null;

  canvas.addEventListener("wheel", (event) => {
    if (viewer.passing) return; // the page is being scrolled past the viewer
    event.preventDefault();
    const pixels = event.deltaY * [1, 33, 800][event.deltaMode];
    if (event.ctrlKey) { viewer.zoom(Math.exp(-pixels / 200), pane, event); return; }
    if (event.timeStamp - last > PAUSE_MS || turned * pixels < 0) turned = 0;
    [turned, last] = [turned + pixels, event.timeStamp];
    const steps = Math.trunc(turned / NOTCH);
    turned -= steps * NOTCH;
    if (steps) viewer.step(plane.axis, -steps);
  }, { passive: false });

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

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const leap = Math.max(1, Math.round(LEAP_MM / viewer.stack.data.mm[plane.axis]));
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: leap, PageDown: -leap, Home: -1e6, End: 1e6 };
    const panned = { ArrowUp: [0, 20], ArrowDown: [0, -20], ArrowLeft: [20, 0], ArrowRight: [-20, 0] };
    const presets = Object.keys(PRESETS);
    if (event.shiftKey && panned[event.key]) viewer.pan(pane, ...panned[event.key]);
    else if (steps[event.key]) viewer.step(plane.axis, steps[event.key]);
    else if (event.key === "+" || event.key === "=") viewer.zoom(1.25, pane, null);
    else if (event.key === "-") viewer.zoom(0.8, pane, null);
    else if (event.key === "0") viewer.reset();
    else if (event.key === "o") viewer.toggleMarks();
    else if (event.key === "n") viewer.jump(1);
    else if (event.key === "p") viewer.jump(-1);
    else if (event.key === "[" || event.key === "]") viewer.window(viewer.level, viewer.width * (event.key === "[" ? 0.8 : 1.25));
    else if (event.key === "," || event.key === ".") viewer.window(viewer.level + (event.key === "," ? -25 : 25), viewer.width);
    else if (presets[event.key - 1]) viewer.window(...PRESETS[presets[event.key - 1]]);
    else return;
    event.preventDefault();
  });
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
