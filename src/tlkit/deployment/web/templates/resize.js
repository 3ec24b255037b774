// Fit a picture into the classifier's size as Pillow does, to the last bit.
//
// A picture is {width, height, channels, data}: 8-bit pixels row by row, channels interleaved.
// Pillow weighs the pixels around each new pixel by a triangle, in whole numbers with 22 bits after
// the point, first along the rows and then along the columns, and rounds to 8 bits after each.
// Before that, "squash" shrinks a large picture to at least twice the new size by averages of blocks.

const PRECISION = 22;
const ONE = 2 ** PRECISION;

/** Return a picture in a new size; `fit` is "squash", "crop" or "pad". */
export function fitInto(picture, width, height, fit) {
  if (fit === "crop") {
    return resample(picture, width, height, cropBox(picture, width, height));
  }
  if (fit === "pad") {
    return pad(picture, width, height);
  }
  const factors = [picture.width / width, picture.height / height];
  const [across, down] = factors.map((factor) => Math.trunc(factor / 2) || 1);
  const box = [0, 0, picture.width / across, picture.height / down];
  return resample(reduce(picture, across, down), width, height, box);
}

/** Return the part of a picture, as left, top, right and bottom, that has another aspect ratio. */
function cropBox(picture, width, height) {
  const [have, want] = [picture.width / picture.height, width / height];
  let [across, down] = [picture.width, picture.height];
  if (have > want) {
    across = want * picture.height;
  } else if (have < want) {
    down = picture.width / want;
  }
  const left = (picture.width - across) * 0.5;
  const top = (picture.height - down) * 0.5;
  return [left, top, left + across, top + down];
}

/** Return a picture as large as fits, in the middle of a black one. */
function pad(picture, width, height) {
  const [have, want] = [picture.width / picture.height, width / height];
  let [across, down] = [width, height];
  if (have > want) {
    down = roundHalfToEven((picture.height / picture.width) * width);
  } else if (have < want) {
    across = roundHalfToEven((picture.width / picture.height) * height);
  }
  if (across < 1 || down < 1) {
    throw new Error("the image is too narrow for this classifier");
  }
  const inner = resample(picture, across, down, [0, 0, picture.width, picture.height]);
  const padded = blank(width, height, picture.channels);
  const left = roundHalfToEven((width - across) * 0.5);
  const top = roundHalfToEven((height - down) * 0.5);
  const row = across * picture.channels;
  for (let y = 0; y < down; y++) {
    const at = ((top + y) * width + left) * picture.channels;
    padded.data.set(inner.data.subarray(y * row, (y + 1) * row), at);
  }
  return padded;
}

function blank(width, height, channels) {
  return { width, height, channels, data: new Uint8Array(width * height * channels) };
}

export function roundHalfToEven(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) {
    return Math.round(value);
  }
  return low % 2 === 0 ? low : low + 1;
}

/** Return a picture whose pixels are the averages of blocks; those at the far edges are smaller. */
function reduce(picture, across, down) {
  if (across === 1 && down === 1) {
    return picture;
  }
  const { width, height, channels, data } = picture;
  const small = blank(Math.ceil(width / across), Math.ceil(height / down), channels);
  const sums = new Float64Array(small.width * channels);
  for (let y = 0; y < small.height; y++) {
    const end = Math.min(height, (y + 1) * down);
    sums.fill(0);
    for (let row = y * down; row < end; row++) {
      addRow(sums, data, row * width * channels, width, channels, across);
    }
    const rows = end - y * down;
    for (let x = 0; x < small.width; x++) {
      const count = rows * (Math.min(width, (x + 1) * across) - x * across);
      const factor = Math.trunc(Math.fround(2 ** 32 / Math.fround(256 * count)));
      for (let c = 0; c < channels; c++) {
        const sum = sums[x * channels + c] + (count >> 1);
        small.data[(y * small.width + x) * channels + c] = Math.floor((sum * factor) / 2 ** 24);
      }
    }
  }
  return small;
}

function addRow(sums, data, start, width, channels, across) {
  let at = start;
  for (let x = 0, block = 0; x < width; block += channels) {
    const end = Math.min(width, x + across);
    for (; x < end; x++) {
      for (let c = 0; c < channels; c++) {
        sums[block + c] += data[at++];
      }
    }
  }
}

/** Return the part of a picture in a box, in a new size. */
function resample(picture, width, height, box) {
  const [left, top, right, bottom] = box.map(Math.fround);
  const across = width !== picture.width || left !== 0 || right !== width;
  const down = height !== picture.height || top !== 0 || bottom !== height;
  const steps = [
    (from) => (across ? resampleRows(from, weigh(from.width, left, right, width)) : from),
    (from) => (down ? resampleColumns(from, weigh(from.height, top, bottom, height)) : from),
  ];
  if (picture.height > picture.width * 100 && height < picture.height) {
    steps.reverse(); // Pillow does so to save time
  }
  return steps.reduce((from, step) => step(from), picture);
}

/** Return for each new pixel where its old pixels begin, and their weights. */
function weigh(size, start, end, newSize) {
  const scale = Math.fround(end - start) / newSize;
  const reach = Math.max(scale, 1);
  return Array.from({ length: newSize }, (_, number) => {
    const centre = start + (number + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(size, Math.trunc(centre + reach + 0.5));
    const weights = [];
    let sum = 0;
    for (let at = first; at < last; at++) {
      const weight = Math.max(0, 1 - Math.abs((at - centre + 0.5) * (1 / reach)));
      weights.push(weight);
      sum += weight;
    }
    const whole = weights.map((weight) => Math.trunc(0.5 + (sum ? weight / sum : weight) * ONE));
    return { first, weights: Int32Array.from(whole) };
  });
}

function toByte(sum) {
  return Math.max(0, Math.min(255, sum >> PRECISION));
}

function resampleRows(picture, table) {
  const { width, height, channels, data } = picture;
  const made = blank(table.length, height, channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < table.length; x++) {
      const { first, weights } = table[x];
      for (let c = 0; c < channels; c++) {
        let sum = ONE / 2;
        let at = (y * width + first) * channels + c;
        for (let k = 0; k < weights.length; k++, at += channels) {
          sum += data[at] * weights[k];
        }
        made.data[(y * made.width + x) * channels + c] = toByte(sum);
      }
    }
  }
  return made;
}

function resampleColumns(picture, table) {
  const { width, channels, data } = picture;
  const made = blank(width, table.length, channels);
  const row = width * channels;
  for (let y = 0; y < table.length; y++) {
    const { first, weights } = table[y];
    for (let x = 0; x < row; x++) {
      let sum = ONE / 2;
      for (let k = 0, at = first * row + x; k < weights.length; k++, at += row) {
        sum += data[at] * weights[k];
      }
      made.data[y * row + x] = toByte(sum);
    }
  }
  return made;
}
