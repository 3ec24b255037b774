// Decode PNG files. A browser's own decoder multiplies colours by their transparency, and cuts 16
// bits to 8; both would change what the classifier sees.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }; // by the type of colour
const PASSES = [
  [0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2],
]; // of interlaced files: first column and row, and their steps

export function isPng(bytes) {
  return SIGNATURE.every((value, at) => bytes[at] === value);
}

/**
 * Return {width, height, depth, colour, samples, palette, transparent, exif}: one value for
 * each sample of each pixel, of 8 or 16 bits, before palette and transparency are applied.
 */
export async function decodePng(bytes, maxPixels) {
  const { header, chunks } = readChunks(bytes);
  const image = readHeader(header);
  if (image.width * image.height > maxPixels) {
    throw new RangeError(`the image has more than ${maxPixels.toLocaleString("en")} pixels`);
  }
  const packed = new Blob(chunks.IDAT ?? []).stream();
  const stream = packed.pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const Samples = image.depth === 16 ? Uint16Array : Uint8Array;
  const samples = new Samples(image.width * image.height * SAMPLES[image.colour]);
  let at = 0;
  for (const [left, top, across, down] of image.interlaced ? PASSES : [[0, 0, 1, 1]]) {
    const width = Math.ceil((image.width - left) / across);
    const height = Math.ceil((image.height - top) / down);
    if (width > 0 && height > 0) {
      at = readPass(image, raw, at, samples, { left, top, across, down, width, height });
    }
  }
  return { ...image, samples, palette: chunks.PLTE?.[0], transparent: chunks.tRNS?.[0],
    exif: chunks.eXIf?.[0] };
}

function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = {};
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    (chunks[name] ??= []).push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  if (!chunks.IHDR || !chunks.IDAT) {
    throw new Error("the PNG file is damaged");
  }
  return { header: chunks.IHDR[0], chunks };
}

function readHeader(header) {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [depth, colour, , , interlaced] = header.subarray(8);
  if (!(colour in SAMPLES)) {
    throw new Error("the PNG file is damaged");
  }
  return { width: view.getUint32(0), height: view.getUint32(4), depth, colour, interlaced };
}

/** Put the pixels of one pass where they belong; return where the next pass begins. */
function readPass(image, raw, start, samples, pass) {
  const count = SAMPLES[image.colour];
  const step = Math.max(1, (count * image.depth) >> 3); // bytes from a pixel to the one before
  const length = Math.ceil((pass.width * count * image.depth) / 8);
  if (start + pass.height * (length + 1) > raw.length) {
    throw new Error("the PNG file is cut short");
  }
  let before = new Uint8Array(length);
  for (let y = 0; y < pass.height; y++) {
    const at = start + y * (length + 1);
    const row = raw.subarray(at + 1, at + 1 + length);
    undoFilter(raw[at], row, before, step);
    const to = (pass.top + y * pass.down) * image.width + pass.left;
    if (image.depth === 8 && pass.across === 1) {
      samples.set(row, to * count);
    } else {
      readRow(row, image.depth, pass.width * count, (number, value) => {
        const pixel = to + Math.floor(number / count) * pass.across;
        samples[pixel * count + (number % count)] = value;
      });
    }
    before = row;
  }
  return start + pass.height * (length + 1);
}

function readRow(row, depth, count, put) {
  for (let number = 0; number < count; number++) {
    if (depth === 8) {
      put(number, row[number]);
    } else if (depth === 16) {
      put(number, (row[2 * number] << 8) | row[2 * number + 1]);
    } else {
      const bit = number * depth;
      put(number, (row[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1));
    }
  }
}

function undoFilter(kind, row, before, step) {
  const undo = FILTERS[kind];
  for (let at = 0; undo && at < row.length; at++) {
    const [left, corner] = at < step ? [0, 0] : [row[at - step], before[at - step]];
    row[at] += undo(left, before[at], corner);
  }
}

const FILTERS = {
  1: (left) => left,
  2: (left, above) => above,
  3: (left, above) => (left + above) >> 1,
  4: predict,
};

/** Return the neighbour that is nearest to left + above - corner. */
function predict(left, above, corner) {
  const guess = left + above - corner;
  const a = Math.abs(guess - left);
  const b = Math.abs(guess - above);
  const c = Math.abs(guess - corner);
  if (a <= b && a <= c) {
    return left;
  }
  return b <= c ? above : corner;
}
