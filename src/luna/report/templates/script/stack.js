// The voxels: decoded from JPEG one slice after the other, then kept as grey levels.

class Stack {
  constructor(data) {
    this.data = data;
    [this.slices, this.rows, this.columns] = data.shape;
    this.levels = new Uint8Array(this.slices * this.rows * this.columns);
    this.there = new Uint8Array(this.slices);
    this.hu = Float32Array.from({ length: 256 }, (_, level) => between(level, data.levels, data.hu));
  }

  // Decodes all slices, the nearest to what the reader looks at first.
  async load(nearest, told) {
    const canvas = document.createElement("canvas");
    canvas.width = this.columns;
    canvas.height = this.rows;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    if (!readable(context)) return false;
    for (let left = this.slices; left > 0; left--) {
      const k = this.#missing(nearest());
      const image = new Image();
      image.src = `data:image/jpeg;base64,${this.data.images[k]}`;
      await image.decode();
      context.drawImage(image, 0, 0);
      const rgba = context.getImageData(0, 0, this.columns, this.rows).data;
      const start = k * this.rows * this.columns;
      for (let v = 0, n = this.rows * this.columns; v < n; v++) this.levels[start + v] = rgba[4 * v];
      this.there[k] = 1;
      this.data.images[k] = null;
      told(k, left - 1);
    }
    return true;
  }

  #missing(near) {
    for (let away = 0; ; away++) {
      if (this.there[near + away] === 0) return near + away;
      if (this.there[near - away] === 0) return near - away;
    }
  }

  // The HU at a voxel, undefined where it is not decoded yet.
  at(point) {
    const [i, r, c] = point.map((v, axis) => clamp(Math.round(v), 0, this.data.shape[axis] - 1));
    return this.there[i] ? this.hu[this.levels[(i * this.rows + r) * this.columns + c]] : undefined;
  }

  // Fills RGBA pixels with one plane in the grey of a window; index grows downwards in all planes.
  paint(pixels, plane, k, grey) {
    const strides = [this.rows * this.columns, this.columns, 1];
    const [height, width] = [this.data.shape[plane.down], this.data.shape[plane.across]];
    for (let y = 0, p = 0; y < height; y++) {
      let v = k * strides[plane.axis] + y * strides[plane.down];
      for (let x = 0; x < width; x++, v += strides[plane.across], p += 4) {
        pixels[p] = pixels[p + 1] = pixels[p + 2] = grey[this.levels[v]];
        pixels[p + 3] = 255;
      }
    }
  }
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function between(value, from, to) {
  const k = clamp(from.findIndex((end) => value <= end), 1, from.length - 1);
  return to[k - 1] + ((value - from[k - 1]) / (from[k] - from[k - 1])) * (to[k] - to[k - 1]);
}

// Some browsers answer with noise, against tracking, when a page reads a picture.
function readable(context) {
  context.fillStyle = "rgb(10, 20, 30)";
  context.fillRect(0, 0, 8, 8);
  const seen = context.getImageData(0, 0, 8, 8).data;
  return seen.every((value, v) => value === [10, 20, 30, 255][v % 4]);
}
