// Read an image file of any kind as the pixels that the classifier was trained on.

import { findOrientation, isJpeg, readOrientation, turnUpright } from "./orientation.js";
import { decodePng, isPng } from "./png.js";
import { fitInto, roundHalfToEven } from "./resize.js";

const WHITES = [255, 1023, 4095, 16383, 65535]; // of cameras and scanners of 8 to 16 bits

/**
 * Return a file as a picture of the size and channels that the classifier takes.
 *
 * `how` is {width, height, channels, fit, white, maxPixels}; a width of null keeps the file's size.
 */
export async function readFile(file, how) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!bytes.length) {
    throw new Error("the file is empty");
  }
  const picture = isPng(bytes) ? await readPng(bytes, how) : await readOther(bytes, file.type, how);
  return fitPicture(picture, how);
}

/** Return a picture in the size and channels that the classifier takes. */
export function fitPicture(picture, how) {
  const coloured = toChannels(picture, how.channels);
  return how.width === null ? coloured : fitInto(coloured, how.width, how.height, how.fit);
}

async function readPng(bytes, how) {
  let png;
  try {
    png = await decodePng(bytes, how.maxPixels);
  } catch (error) {
    if (error instanceof RangeError) {
      throw error;
    }
    return readOther(bytes, "image/png", how); // what it can't read, the browser may
  }
  const picture = toPicture(png, how.white);
  return png.exif ? turnUpright(picture, readOrientation(png.exif, 0).value) : picture;
}

/** Return a decoded PNG file in 8 bits, without palette, transparent pixels white. */
function toPicture(png, white) {
  const { width, height, depth, colour, samples } = png;
  if (colour === 0 && depth === 16) {
    return { width, height, channels: 1, data: scaleTo8Bits(samples, white) };
  }
  const bytes = depth === 16 ? Uint8Array.from(samples, (value) => value >> 8) : samples;
  if (colour === 3) {
    return applyPalette(png, bytes);
  }
  const factor = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
  if (colour === 0) {
    const key = png.transparent?.[1] ?? null;
    const isSame = key === null && factor === 1;
    const whitened = (value) => (value === key ? 255 : value * factor);
    const data = isSame ? bytes : Uint8Array.from(bytes, whitened);
    return { width, height, channels: 1, data };
  }
  if (colour === 2) {
    return { width, height, channels: 3, data: whiten(bytes, depth === 8 && png.transparent) };
  }
  return { width, height, channels: colour === 4 ? 1 : 3, data: cover(bytes, colour === 4 ? 1 : 3) };
}

function scaleTo8Bits(samples, white) {
  const brightest = samples.reduce((most, value) => Math.max(most, value), 0);
  const top = white ?? WHITES.find((value) => brightest <= value);
  if (brightest > top) {
    throw new Error(`its brightest pixel, ${brightest}, is above white, ${top}`);
  }
  return Uint8Array.from(samples, (value) => roundHalfToEven(value * (255 / top)));
}

function applyPalette(png, bytes) {
  const rgba = new Uint8Array(4 * bytes.length);
  bytes.forEach((index, at) => {
    rgba.set(png.palette.subarray(3 * index, 3 * index + 3), 4 * at);
    rgba[4 * at + 3] = png.transparent?.[index] ?? 255;
  });
  return { width: png.width, height: png.height, channels: 3, data: cover(rgba, 3) };
}

/** Make the transparent colour of a PNG file white, if it has one. */
function whiten(rgb, transparent) {
  if (transparent) {
    const [red, green, blue] = [transparent[1], transparent[3], transparent[5]];
    for (let at = 0; at < rgb.length; at += 3) {
      if (rgb[at] === red && rgb[at + 1] === green && rgb[at + 2] === blue) {
        rgb.fill(255, at, at + 3);
      }
    }
  }
  return rgb;
}

/** Return colours, each followed by its opacity, on white; by whole numbers, as Pillow does. */
function cover(samples, channels) {
  const count = samples.length / (channels + 1);
  const data = new Uint8Array(count * channels);
  for (let pixel = 0, from = 0, to = 0; pixel < count; pixel++) {
    const share = samples[from + channels] * 128;
    for (let c = 0; c < channels; c++) {
      const mixed = samples[from++] * share + 255 * (32640 - share) + (128 << 7);
      data[to++] = ((mixed >> 8) + mixed) >> 15;
    }
    from++;
  }
  return data;
}

/** Return a picture that the browser decodes: without colour management, and upright. */
async function readOther(bytes, type, how) {
  const orientation = findOrientation(bytes);
  const level = Uint8Array.from(bytes);
  if (orientation.at !== null) {
    level[orientation.at] = 1; // not every browser can be asked to leave a picture as it is
  }
  const file = new Blob([level], { type });
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error("this browser can't read it as an image; save it as PNG or JPEG");
  }
  if (bitmap.width * bitmap.height > how.maxPixels) {
    throw new RangeError(`the image has more than ${how.maxPixels.toLocaleString("en")} pixels`);
  }
  const decoded = readBitmap(bitmap);
  const scale = isJpeg(bytes) && how.width !== null ? findScale(decoded, how) : 1;
  return turnUpright(scale === 1 ? decoded : shrinkBlocks(decoded, scale), orientation.value);
}

function readBitmap(bitmap) {
  const { width, height } = bitmap;
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, channels: 3, data: cover(data, 3) };
}

function toChannels(picture, channels) {
  if (picture.channels === channels) {
    return picture;
  }
  const { width, height, data } = picture;
  const made = new Uint8Array(width * height * channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    if (channels === 3) {
      made.fill(data[pixel], 3 * pixel, 3 * pixel + 3);
    } else {
      const at = 3 * pixel;
      const sum = data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471;
      made[pixel] = (sum + 0x8000) >> 16;
    }
  }
  return { width, height, channels, data: made };
}

// Pillow decodes a large JPEG file at a half, a quarter or an eighth of its size: of the 64 waves
// that a block of 8 x 8 pixels is stored as, it takes the lowest 16, 4 or 1. The browser has decoded
// the whole, so the blocks are taken apart into waves again.

function findScale(picture, how) {
  const [across, down] = [picture.width / (2 * how.width), picture.height / (2 * how.height)];
  const scale = Math.min(Math.floor(across), Math.floor(down));
  return [8, 4, 2, 1].find((each) => scale >= each) ?? 1;
}

function shrinkBlocks(picture, scale) {
  const along = shrinkAlong(picture, scale, "width", picture.channels);
  const both = shrinkAlong(along, scale, "height", along.width * along.channels);
  return { ...both, data: Uint8ClampedArray.from(both.data) };
}

function shrinkAlong(picture, scale, side, step) {
  const size = Math.ceil(picture[side] / scale);
  const kernels = blockWeights(8 / scale);
  const length = picture[side] * step;
  const rows = picture.data.length / length;
  const data = new Float32Array(rows * size * step);
  for (let at = 0; at < size; at++) {
    const kernel = kernels[at % kernels.length];
    const first = Math.floor(at / kernels.length) * 8;
    for (let k = 0; k < 8; k++) {
      const from = Math.min(first + k, picture[side] - 1) * step;
      addPart(data, at * step, size * step, picture.data, from, length, kernel[k], step, rows);
    }
  }
  return { ...picture, [side]: size, data };
}

/** Add a weighted part of each row of one array to a part of each row of another. */
function addPart(data, to, stride, source, from, length, weight, count, rows) {
  for (let row = 0; row < rows; row++) {
    const [target, start] = [to + row * stride, from + row * length];
    for (let at = 0; at < count; at++) {
      data[target + at] += weight * source[start + at];
    }
  }
}

/** Return the weights of 8 pixels in each of `count`, which keep their lowest waves. */
function blockWeights(count) {
  const wave = (k, at, size) => Math.cos((Math.PI * k * (2 * at + 1)) / (2 * size));
  return Array.from({ length: count }, (_, to) =>
    Array.from({ length: 8 }, (_, from) => {
      let sum = 1;
      for (let k = 1; k < count; k++) {
        sum += 2 * wave(k, to, count) * wave(k, from, 8);
      }
      return sum / 8;
    }),
  );
}
