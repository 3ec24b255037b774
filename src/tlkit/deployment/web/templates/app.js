// The page: takes an image or a drawing, and shows what the classifier says about it.

import { startClassifier } from "./classifier.js";
import { Drawing, readGreys } from "./drawing.js";
import { fitPicture, readFile } from "./pictures.js";

const SHOWN = 5; // classes, until all are asked for
const settings = JSON.parse(document.getElementById("settings").textContent);
const { about } = settings;
const [height, width, channels = 1] = about.input_shape.slice(1);
const isOpen = height === null || width === null;
const how = {
  width: isOpen ? null : width,
  height: isOpen ? null : height,
  channels,
  fit: about.fit,
  white: about.white,
  maxPixels: settings.max_pixels,
};
const find = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

/** Return the bytes that the page holds under a name, which are compressed; null if it holds none. */
async function load(name) {
  const holder = document.querySelector(`script[data-file="${name}"]`);
  if (!holder) {
    return null;
  }
  const packed = decodeBase64(holder.textContent.trim());
  holder.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function decodeBase64(text) {
  if (Uint8Array.fromBase64) {
    return Uint8Array.fromBase64(text);
  }
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) {
    bytes[at] = letters.charCodeAt(at);
  }
  return bytes;
}

const started = startClassifier(about, load);
let clearDrawing = () => {}; // once there is a surface to draw on
let latest = 0; // a later image's answer is never replaced by an earlier one's

/** Return {classes, probabilities, oodScore, pixels} of an image file. */
async function classifyFile(file) {
  return classifyPicture(await readFile(file, how));
}

async function classifyPicture(picture) {
  const run = await started;
  const found = await run(picture);
  const order = found.probabilities.map((_, at) => at);
  order.sort((a, b) => found.probabilities[b] - found.probabilities[a]);
  const classes = order.map((at) => ({
    name: about.class_names[at],
    probability: found.probabilities[at],
    isFound: about.multi_label && found.probabilities[at] >= about.thresholds[at],
  }));
  return { ...found, classes, picture };
}

async function show(classify) {
  const number = ++latest;
  find("headline").textContent = "Classifying\u2026";
  await new Promise((resolve) => setTimeout(resolve)); // let the page say so
  try {
    const start = performance.now();
    const answer = await classify();
    if (number === latest) {
      render(answer, performance.now() - start);
    }
  } catch (error) {
    if (number === latest) {
      clearAnswer(`Not classified: ${error.message ?? error}.`);
      find("headline").classList.add("error");
    }
  }
}

function clearAnswer(text) {
  find("headline").textContent = text;
  find("headline").classList.remove("error");
  find("classes").replaceChildren();
  find("details").hidden = true;
  find("all").hidden = true;
  find("unlike").hidden = true;
}

function render(answer, milliseconds) {
  clearAnswer(describe(answer.classes));
  renderClasses(answer.classes, find("all").getAttribute("aria-pressed") === "true");
  find("all").hidden = answer.classes.length <= SHOWN;
  find("all").onclick = () => {
    const isAll = find("all").getAttribute("aria-pressed") !== "true";
    find("all").setAttribute("aria-pressed", String(isAll));
    renderClasses(answer.classes, isAll);
  };
  if (answer.oodScore !== null) {
    const isUnlike = answer.oodScore > about.ood_threshold;
    find("unlike").hidden = false;
    find("unlike").classList.toggle("warning", isUnlike);
    find("score").textContent = percent(answer.oodScore);
    find("verdict").textContent = isUnlike
      ? "Unlike the training images: probably none of these classes."
      : "Not unusual among the training images.";
  }
  find("details").hidden = false;
  find("time").textContent = `${Math.max(1, Math.round(milliseconds))} ms`;
  drawSeen(answer.picture);
}

function describe(classes) {
  if (!about.multi_label) {
    return `${classes[0].name}, ${percent(classes[0].probability)}`;
  }
  const names = classes.filter((each) => each.isFound).map((each) => each.name);
  return names.length ? names.join(", ") : "No class";
}

function renderClasses(classes, isAll) {
  const rows = classes.slice(0, isAll ? classes.length : SHOWN).map((each, at) => {
    const row = document.createElement("li");
    row.classList.toggle("best", about.multi_label ? each.isFound : at === 0);
    const [name, bar, share] = ["name", "bar", "share"].map((kind) => {
      const part = document.createElement("span");
      part.className = kind;
      return row.appendChild(part);
    });
    name.textContent = each.name;
    share.textContent = percent(each.probability);
    bar.setAttribute("aria-hidden", "true");
    bar.appendChild(document.createElement("span")).style.width = `${100 * each.probability}%`;
    return row;
  });
  find("classes").replaceChildren(...rows);
}

/** Show the pixels that the classifier was given. */
function drawSeen(picture) {
  const canvas = find("seen");
  Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.classList.toggle("tiny", picture.width < 128);
  const shown = new ImageData(picture.width, picture.height);
  for (let pixel = 0; pixel < picture.width * picture.height; pixel++) {
    for (let c = 0; c < 3; c++) {
      const from = picture.channels === 3 ? 3 * pixel + c : pixel;
      shown.data[4 * pixel + c] = picture.data[from];
    }
    shown.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

function takeFiles(files) {
  const [file] = files;
  if (!file) {
    return;
  }
  clearDrawing();
  const more = files.length > 1 ? ` (the first of ${files.length} files)` : "";
  find("file-name").textContent = `${file.name || "pasted image"}${more}`;
  const preview = find("preview");
  URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.hidden = false;
  show(() => classifyFile(file));
}

function listenForFiles() {
  const drop = find("drop");
  find("file").addEventListener("change", (event) => {
    takeFiles([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  find("preview").addEventListener("error", () => (find("preview").hidden = true));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    takeFiles([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => takeFiles([...event.clipboardData.files]));
}

function listenForDrawing() {
  const idle = () => clearAnswer("Draw, or choose an image.");
  const change = () => {
    find("save").disabled = drawing.isEmpty;
    if (drawing.isEmpty) {
      idle();
      return;
    }
    find("preview").hidden = true;
    find("file-name").textContent = "";
    const canvas = drawing.render(find("centre").checked);
    show(() => classifyPicture(fitPicture(readGreys(canvas), how)));
  };
  const drawing = new Drawing(
    find("pad"),
    { ...settings.drawing, aspect: width / height },
    change,
  );
  clearDrawing = () => drawing.clear();
  find("clear").addEventListener("click", clearDrawing);
  find("centre").addEventListener("change", change);
  find("dark").addEventListener("change", (event) => drawing.setDark(event.target.checked));
  find("pen").value = drawing.pen;
  find("pen").addEventListener("input", (event) => (drawing.pen = Number(event.target.value)));
  find("save").addEventListener("click", () => save(drawing.render(find("centre").checked)));
  idle();
}

function save(canvas) {
  canvas.toBlob((file) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "drawing.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}

/** Show the licences that the page holds, which are long. */
async function showNotices() {
  const text = await load("ThirdPartyNotices.txt");
  if (text) {
    find("notices").querySelector("pre").textContent = new TextDecoder().decode(text);
  }
}

find("notices")?.addEventListener("toggle", showNotices);
listenForFiles();
if (settings.drawing) {
  listenForDrawing();
}
started.then(
  () => document.documentElement.classList.add("ready"),
  (error) => {
    clearAnswer(`The classifier can't be started in this browser: ${error.message ?? error}`);
    find("headline").classList.add("error");
  },
);
globalThis.tlkit = { about, ready: started.then(() => true), classify: classifyFile };
