// A surface to draw on with a mouse, a finger or a pen; its lines end up as the training images'.

const SIDE = 336; // pixels

/** Let a canvas be drawn on; `onChange` is called after each line, and when it is cleared. */
export class Drawing {
  constructor(canvas, { aspect, dark, extent }, onChange) {
    const [width, height] = aspect > 1 ? [SIDE, SIDE / aspect] : [SIDE * aspect, SIDE];
    Object.assign(canvas, { width: Math.round(width), height: Math.round(height) });
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.extent = extent;
    this.pen = SIDE / 14;
    this.onChange = () => {};
    this.setDark(dark);
    this.onChange = onChange;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.extend(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.end(event));
    }
  }

  setDark(dark) {
    [this.paper, this.ink] = dark ? ["#000", "#fff"] : ["#fff", "#000"];
    this.clear();
  }

  clear() {
    this.last = null;
    this.isEmpty = true;
    this.context.fillStyle = this.paper;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.onChange();
  }

  begin(event) {
    if (event.button !== 0) {
      return;
    }
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    this.isEmpty = false;
    this.extend(event);
  }

  extend(event) {
    if (!this.last) {
      return;
    }
    const { context } = this;
    Object.assign(context, { strokeStyle: this.ink, lineWidth: this.pen, lineCap: "round" });
    context.beginPath();
    context.moveTo(...this.last);
    for (const each of event.getCoalescedEvents?.() ?? []) {
      context.lineTo(...this.place(each));
    }
    this.last = this.place(event);
    context.lineTo(...this.last);
    context.stroke();
  }

  end() {
    if (this.last) {
      this.last = null;
      this.onChange();
    }
  }

  /** Return where on the canvas an event was, which may be shown larger or smaller. */
  place(event) {
    const shown = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / shown.width;
    return [(event.clientX - shown.left) * scale, (event.clientY - shown.top) * scale];
  }

  /** Return a canvas with the drawing; if centred, as large and in the middle as those it learned. */
  render(isCentred) {
    const { width, height } = this.canvas;
    const made = document.createElement("canvas");
    Object.assign(made, { width, height });
    const context = made.getContext("2d", { willReadFrequently: true });
    context.fillStyle = this.paper;
    context.fillRect(0, 0, width, height);
    const box = isCentred ? this.findInk() : null;
    if (!box) {
      context.drawImage(this.canvas, 0, 0);
      return made;
    }
    const [left, top, right, bottom] = box;
    const share = Math.max((right - left) / width, (bottom - top) / height);
    const scale = Math.min(4, this.extent / share);
    context.setTransform(scale, 0, 0, scale, width / 2, height / 2);
    context.drawImage(this.canvas, -(left + right) / 2, -(top + bottom) / 2);
    return made;
  }

  findInk() {
    const { width, height } = this.canvas;
    const { data } = this.context.getImageData(0, 0, width, height);
    const isInk = this.ink === "#fff" ? (value) => value > 127 : (value) => value < 128;
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (isInk(data[4 * (y * width + x)])) {
          [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
          [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
        }
      }
    }
    return right > left ? [left, top, right, bottom] : null;
  }
}

/** Return the pixels of a canvas that holds greys alone. */
export function readGreys(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const grey = Uint8Array.from({ length: width * height }, (_, at) => data[4 * at]);
  return { width, height, channels: 1, data: grey };
}
