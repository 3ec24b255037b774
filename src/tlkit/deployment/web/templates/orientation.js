// How a picture has to be turned to be upright, as its EXIF data say.

const TAG = 0x0112;

/** Return {value, at}: the orientation, 1 to 8, in a JPEG or WebP file, and where it is stored. */
export function findOrientation(bytes) {
  const start = findExif(bytes);
  return start === null ? { value: 1, at: null } : readOrientation(bytes, start);
}

/** Return the same for EXIF data that begin at `start`. */
export function readOrientation(bytes, start) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const none = { value: 1, at: null };
  try {
    const little = view.getUint16(start) === 0x4949;
    const list = start + view.getUint32(start + 4, little);
    for (let number = 0; number < view.getUint16(list, little); number++) {
      const entry = list + 2 + 12 * number;
      if (view.getUint16(entry, little) === TAG) {
        const value = view.getUint16(entry + 8, little);
        return { value, at: entry + 8 + (little ? 0 : 1) };
      }
    }
  } catch {
    return none; // damaged EXIF data
  }
  return none;
}

function findExif(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
  if (isJpeg(bytes)) {
    for (let at = 2; at + 4 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
      if (bytes[at + 1] === 0xe1 && text(at + 4, 6) === "Exif\0\0") {
        return at + 10;
      }
      at += 2 + view.getUint16(at + 2);
    }
  } else if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") {
    for (let at = 12; at + 8 < bytes.length; ) {
      const length = view.getUint32(at + 4, true);
      if (text(at, 4) === "EXIF") {
        return at + 8 + (text(at + 8, 6) === "Exif\0\0" ? 6 : 0);
      }
      at += 8 + length + (length % 2);
    }
  }
  return null;
}

export function isJpeg(bytes) {
  return bytes[0] === 0xff && bytes[1] === 0xd8;
}

/** Return a picture turned upright. */
export function turnUpright(picture, orientation) {
  const { width: w, height: h, channels, data } = picture;
  const places = {
    2: (x, y) => [w - 1 - x, y],
    3: (x, y) => [w - 1 - x, h - 1 - y],
    4: (x, y) => [x, h - 1 - y],
    5: (x, y) => [y, x],
    6: (x, y) => [y, h - 1 - x],
    7: (x, y) => [w - 1 - y, h - 1 - x],
    8: (x, y) => [w - 1 - y, x],
  };
  const place = places[orientation];
  if (!place) {
    return picture;
  }
  const [width, height] = orientation > 4 ? [h, w] : [w, h];
  const turned = { width, height, channels, data: new Uint8Array(data.length) };
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [fromX, fromY] = place(x, y);
      const from = (fromY * w + fromX) * channels;
      for (let c = 0; c < channels; c++) {
        turned.data[to++] = data[from + c];
      }
    }
  }
  return turned;
}
