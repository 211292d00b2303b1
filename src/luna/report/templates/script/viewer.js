// What the reader does: three linked planes, one window, one zoom, by mouse, touch and keyboard.

const PLANES = [
  { name: "axial", axis: 0, down: 1, across: 2, up: false },
  { name: "coronal", axis: 1, down: 0, across: 2, up: true },
  { name: "sagittal", axis: 2, down: 0, across: 1, up: true },
];
const PRESETS = { lung: [-600, 1500], soft: [40, 400], bone: [400, 1800], wide: [0, 2600] };
const ZOOM_MAX = 20;

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
    this.active = this.panes[0];
    for (const pane of this.panes) listenTo(pane, this);
    listenToKeys(this);
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

  // By pointer, what lies under it stays; by key or button, the crosshair comes to the middle.
  zoom(factor, pane, event) {
    const { at, look, zoom: before } = this.view;
    const zoom = clamp(before * factor, 1, ZOOM_MAX);
    const still = event ? pane.voxel(event) : at;
    for (const axis of [0, 1, 2]) {
      const held = event && axis !== pane.plane.axis;
      look[axis] = held ? still[axis] - ((still[axis] - look[axis]) * before) / zoom : at[axis];
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
