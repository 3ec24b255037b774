// Run the classifier: pixels in, probabilities and the score of "none of these" out.

/**
 * Start the classifier, and return a function from a picture to {probabilities, oodScore}.
 *
 * `about` is what the exported file says about itself; `load(name)` returns the bytes of a file of
 * the page, or null where it is fetched by its name.
 */
export async function startClassifier(about, load) {
  const [script, wasm, model] = await Promise.all(
    ["onnxruntime-web.js", "onnxruntime-web.wasm", "model.onnx"].map(load),
  );
  const ort = await import(script ? toUrl(script) : "./onnxruntime-web.js");
  ort.env.wasm.numThreads = 1; // more need headers that only a server can send
  ort.env.logLevel = "error";
  if (wasm) {
    ort.env.wasm.wasmBinary = wasm;
  } else {
    const url = new URL("onnxruntime-web.wasm", document.baseURI);
    ort.env.wasm.wasmPaths = { wasm: url.href };
  }
  const source = model ?? new URL("model.onnx", document.baseURI).href;
  const session = await ort.InferenceSession.create(source, { executionProviders: ["wasm"] });
  const run = async (picture) => {
    const images = new ort.Tensor(about.input_dtype, toPixels(picture, about), shapeOf(picture, about));
    const outputs = await session.run({ images });
    return {
      probabilities: Array.from(outputs.probabilities.data),
      oodScore: about.has_ood_score ? outputs.ood_score.data[0] : null,
    };
  };
  const [height, width, channels = 1] = about.input_shape.slice(1);
  if (height && width) {
    const data = new Uint8Array(height * width * channels);
    await run({ height, width, channels, data }); // the first run prepares the next ones
  }
  return run;
}

function toUrl(script) {
  return URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
}

function shapeOf(picture, about) {
  const shape = [1, picture.height, picture.width, picture.channels];
  return shape.slice(0, about.input_shape.length);
}

/** Return the values that the classifier takes for black, white and all between. */
function toPixels(picture, about) {
  const [low, high] = about.value_range ?? [0, 255];
  if (low === 0 && high === 255) {
    return about.input_dtype === "uint8" ? picture.data : Float32Array.from(picture.data);
  }
  const step = Math.fround((high - low) / 255);
  return Float32Array.from(picture.data, (value) => low + Math.fround(value * step));
}
