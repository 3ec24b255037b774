// A surface to draw on with a mouse, a finger or a pen. What is given to the classifier is drawn
// anew from the lines, with the size and place that drawings have among the training images.

const SIDE = 336; // pixels
const MAX_SCALE = 8; // a dot is no small circle

/** Lets a canvas be drawn on; `onChange` is called after each line, and when it is cleared. */
export class Drawing {
  constructor(canvas, { aspect, dark, extent, pen }, onChange) {
    const [width, height] = aspect > 1 ? [SIDE, SIDE / aspect] : [SIDE * aspect, SIDE];
    Object.assign(canvas, { width: Math.round(width), height: Math.round(height) });
    this.canvas = canvas;
    this.extent = extent;
    this.pen = pen * SIDE;
    this.onChange = () => {};
    this.setDark(dark);
    this.onChange = onChange;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.extend(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => this.end());
    }
  }

  get isEmpty() {
    return !this.lines.length;
  }

  setDark(dark) {
    [this.paper, this.ink] = dark ? ["#000", "#fff"] : ["#fff", "#000"];
    this.clear();
  }

  clear() {
    this.lines = [];
    this.isDrawing = false;
    this.paint(this.canvas, 1, 0, 0);
    this.onChange();
  }

  begin(event) {
    if (event.button !== 0) {
      return;
    }
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.isDrawing = true;
    const place = this.place(event);
    this.lines.push({ width: this.pen, places: [place, place] });
    this.paint(this.canvas, 1, 0, 0);
  }

  extend(event) {
    if (this.isDrawing) {
      const events = event.getCoalescedEvents?.() ?? [];
      const places = (events.length ? events : [event]).map((each) => this.place(each));
      this.lines.at(-1).places.push(...places);
      this.paint(this.canvas, 1, 0, 0);
    }
  }

  end() {
    if (this.isDrawing) {
      this.isDrawing = false;
      this.onChange();
    }
  }

  /** Return where on the canvas an event was, which may be shown larger or smaller. */
  place(event) {
    const shown = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / shown.width;
    return [(event.clientX - shown.left) * scale, (event.clientY - shown.top) * scale];
  }

  /** Return a canvas with the drawing; if centred, in the middle and as large as those learned. */
  render(isCentred) {
    const { width, height } = this.canvas;
    const made = document.createElement("canvas");
    Object.assign(made, { width, height });
    if (!isCentred) {
      this.paint(made, 1, 0, 0);
      return made;
    }
    const places = this.lines.flatMap((line) => line.places);
    const [[left, right], [top, bottom]] = [0, 1].map((axis) => {
      const values = places.map((place) => place[axis]);
      return [Math.min(...values), Math.max(...values)];
    });
    const pen = Math.max(...this.lines.map((line) => line.width));
    const scale = Math.min(
      MAX_SCALE,
      Math.max(1, this.extent * width - pen) / Math.max(1, right - left),
      Math.max(1, this.extent * height - pen) / Math.max(1, bottom - top),
    );
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    this.paint(made, scale, width / 2 - scale * x, height / 2 - scale * y);
    return made;
  }

  /** Draw the lines on a canvas, scaled and moved; their widths stay. */
  paint(canvas, scale, x, y) {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = this.paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(context, { strokeStyle: this.ink, lineCap: "round", lineJoin: "round" });
    for (const { width, places } of this.lines) {
      context.lineWidth = width;
      context.beginPath();
      for (const place of places) {
        context.lineTo(scale * place[0] + x, scale * place[1] + y);
      }
      context.stroke();
    }
  }
}

/** Return the pixels of a canvas that holds greys alone. */
export function readGreys(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const grey = Uint8Array.from({ length: width * height }, (_, at) => data[4 * at]);
  return { width, height, channels: 1, data: grey };
}
