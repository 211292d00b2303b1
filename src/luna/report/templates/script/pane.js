// One plane of the stack on a canvas: voxels, outlines, the crosshair, letters and a scale bar.

const MARK = "#ffb020", CROSS = "#7fd0ff", TEXT = "#ffe6a8";
const ROOM_FOR_CROSS = 18; // pixels round the point that the crosshair leaves free

class Pane {
  constructor(plane, stack, view) {
    Object.assign(this, { plane, stack, view });
    this.canvas = document.getElementById(plane.name);
    this.slider = document.getElementById(`${plane.name}-slice`);
    this.slider.max = stack.data.shape[plane.axis] - 1;
    this.image = document.createElement("canvas");
    this.image.width = stack.data.shape[plane.across];
    this.image.height = stack.data.shape[plane.down];
    this.pixels = this.image.getContext("2d").createImageData(this.image.width, this.image.height);
  }

  // Pixels of the canvas per voxel along the picture's two axes, and where voxel 0 begins.
  frame() {
    const { mm, shape } = this.stack.data, { across, down, up } = this.plane;
    const width = this.canvas.width, height = this.canvas.height;
    const whole = Math.min(width / (shape[across] * mm[across]), height / (shape[down] * mm[down]));
    const scale = whole * this.view.zoom;
    const dx = mm[across] * scale, dy = mm[down] * scale * (up ? -1 : 1);
    const [x, y] = [this.view.look[across] + 0.5, this.view.look[down] + 0.5];
    return { dx, dy, x0: width / 2 - x * dx, y0: height / 2 - y * dy, scale };
  }

  // Where a point of the canvas (CSS pixels from its corner) lies in the stack.
  voxel(event) {
    const box = this.canvas.getBoundingClientRect(), frame = this.frame();
    const x = ((event.clientX - box.left) / box.width) * this.canvas.width;
    const y = ((event.clientY - box.top) / box.height) * this.canvas.height;
    const point = [...this.view.at];
    point[this.plane.across] = (x - frame.x0) / frame.dx - 0.5;
    point[this.plane.down] = (y - frame.y0) / frame.dy - 0.5;
    return point;
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.ratio = ratio;
  }

  draw() {
    const context = this.canvas.getContext("2d"), frame = this.frame();
    const k = Math.round(this.view.at[this.plane.axis]);
    this.slider.value = k;
    this.slider.setAttribute("aria-valuetext", `${k + 1} of ${Number(this.slider.max) + 1}`);
    this.stack.paint(this.pixels.data, this.plane, k, this.view.grey);
    this.image.getContext("2d").putImageData(this.pixels, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(frame.dx, 0, 0, frame.dy, frame.x0, frame.y0);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (this.view.marks) this.#marks(context, frame, k);
    this.#letters(context, frame);
  }

  #marks(context, frame, k) {
    const { across, down, axis } = this.plane;
    const x = frame.x0 + (this.view.at[across] + 0.5) * frame.dx;
    const y = frame.y0 + (this.view.at[down] + 0.5) * frame.dy;
    const gap = ROOM_FOR_CROSS * this.ratio;
    stroke(context, CROSS, this.ratio, (path) => {
      for (const [x1, x2] of [[0, x - gap], [x + gap, this.canvas.width]]) line(path, x1, y, x2, y);
      for (const [y1, y2] of [[0, y - gap], [y + gap, this.canvas.height]]) line(path, x, y1, x, y2);
    });
    for (const found of this.stack.data.findings) {
      if (k < found.low[axis] || k > found.high[axis]) continue;
      const outline = this.#outline(found, frame, k);
      if (!outline) continue;
      stroke(context, MARK, 1.4 * this.ratio, (path) => path.addPath(outline));
      const right = frame.x0 + (found.high[across] + 1.5) * frame.dx;
      const tops = [found.low[down], found.high[down] + 1].map((v) => frame.y0 + v * frame.dy);
      this.#word(context, found.name, right + 3 * this.ratio, Math.min(...tops), "left");
    }
  }

  // The edges of a finding's mask in this plane, if it is cut; without a mask, the box round it.
  #outline(found, frame, k) {
    const path = new Path2D(), { across, down } = this.plane;
    const point = (x, y) => [frame.x0 + x * frame.dx, frame.y0 + y * frame.dy];
    if (!found.mask) {
      const [x1, y1] = point(found.low[across] - 1, found.low[down] - 1);
      const [x2, y2] = point(found.high[across] + 2, found.high[down] + 2);
      path.rect(x1, y1, x2 - x1, y2 - y1);
      return path;
    }
    const lines = [...edges(found, this.plane, this.stack.data, k)];
    for (const [x1, y1, x2, y2] of lines) line(path, ...point(x1, y1), ...point(x2, y2));
    return lines.length ? path : null;
  }

  #letters(context, frame) {
    const { width, height } = this.canvas, pad = 6 * this.ratio;
    const [left, right, top, bottom] = this.plane.letters;
    this.#word(context, left, pad, height / 2, "left");
    this.#word(context, right, width - pad, height / 2, "right");
    this.#word(context, top, width / 2, pad + 10 * this.ratio, "center");
    this.#word(context, bottom, width / 2, height - pad, "center");
    const most = (width / 3) / frame.scale;
    const mm = [100, 50, 20, 10, 5, 2].find((length) => length <= most) ?? 1;
    stroke(context, TEXT, 2 * this.ratio, (path) =>
      line(path, pad, height - pad, pad + mm * frame.scale, height - pad));
    this.#word(context, `${mm} mm`, pad, height - 2 * pad, "left");
  }

  #word(context, text, x, y, align) {
    context.font = `600 ${13 * this.ratio}px system-ui, sans-serif`;
    context.textAlign = align;
    context.lineWidth = 3 * this.ratio;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = TEXT;
    context.fillText(text, x, y);
  }
}

function stroke(context, colour, width, draw) {
  const path = new Path2D();
  draw(path);
  context.strokeStyle = "#000";
  context.lineWidth = width * 2;
  context.globalAlpha = 0.5;
  context.stroke(path);
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

function line(path, x1, y1, x2, y2) {
  path.moveTo(x1, y1);
  path.lineTo(x2, y2);
}

// Edges [x1, y1, x2, y2] in the stack's voxels, counted from the corner of voxel 0. The mask is one
// bit a voxel of the scan; a voxel of the stack may cover several of them.
function* edges(found, plane, data, k) {
  const mask = found.mask, { axis, down, across } = plane;
  const [size, start] = [mask.shape, mask.start];
  const strides = [size[1] * size[2], size[2], 1];
  const from = data.start[axis] + k * data.step[axis] - start[axis];
  const first = clamp(Math.floor(from + 0.5), 0, size[axis]);
  const end = clamp(Math.floor(from + data.step[axis] + 0.5), 0, size[axis]);
  const inside = (y, x) => {
    if (y < 0 || x < 0 || y >= size[down] || x >= size[across]) return false;
    for (let f = first; f < end; f++) {
      const bit = f * strides[axis] + y * strides[down] + x * strides[across];
      if (mask.bits[bit >> 3] & (128 >> (bit & 7))) return true;
    }
    return false;
  };
  const place = (v, along) => (start[along] + v - data.start[along]) / data.step[along];
  for (let y = 0; y <= size[down]; y++) {
    for (let x = 0; x <= size[across]; x++) {
      const here = inside(y, x);
      const [left, right] = [place(x, across), place(x + 1, across)];
      const [top, bottom] = [place(y, down), place(y + 1, down)];
      if (here !== inside(y - 1, x)) yield [left, top, right, top];
      if (here !== inside(y, x - 1)) yield [left, top, left, bottom];
    }
  }
}
