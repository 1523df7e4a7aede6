"use strict";

// The generator: its files are read and checked, ONNX Runtime Web is started, and pictures are drawn one at a time.

/** What was exported, as index.html tells it. */
const facts = JSON.parse(document.getElementById("facts").textContent);

/** A fault with a sentence for the page. */
class Fault extends Error {}

/** Where index.html was opened from disk, files of `disk/` hand over their content by this: base64 of gzip. */
const handedOver = new Map();
function handOver(name, base64) {
  handedOver.set(name, base64);
}

let session;
let queue = Promise.resolve();

/** Start the runtime and load the model. Throws a Fault. */
async function loadGenerator() {
  const { model, runtime } = facts;
  if (typeof WebAssembly === "undefined") {
    throw new Fault("This browser has no WebAssembly, or it is switched off; open the page in a current browser.");
  }
  if (typeof ort === "undefined") {
    const remedy = runtime.base ? "connect to the network, or export with --wasm" : "copy the whole folder";
    throw new Fault(`ONNX Runtime Web could not be loaded from ${runtime.base || "this folder"}; ${remedy}.`);
  }
  const [glue, wasm, weights] = await Promise.all([
    readChecked(runtime.glue, runtime.base),
    readChecked(runtime.wasm, runtime.base),
    readChecked(model, ""),
  ]);
  const glueUrl = URL.createObjectURL(new Blob([glue], { type: "text/javascript" }));
  ort.env.wasm.numThreads = 1; // more of them need response headers, which a static folder cannot ask for
  ort.env.wasm.wasmPaths = { mjs: glueUrl };
  ort.env.wasm.wasmBinary = wasm;
  try {
    session = await ort.InferenceSession.create(new Uint8Array(weights), { executionProviders: ["wasm"] });
  } catch (error) {
    throw new Fault(`ONNX Runtime Web ${runtime.version} did not start (${error.message}); try a current browser.`);
  } finally {
    URL.revokeObjectURL(glueUrl);
  }
  await draw(new Float32Array(facts.latent), 0); // the first picture takes several times as long as the others
}

/** The bytes of a file, whose SHA-256 is that of the export. Throws a Fault. */
async function readChecked(file, base) {
  const fromDisk = !base && location.protocol === "file:";
  const bytes = fromDisk ? await readFromDisk(file) : await readFromServer(file, base);
  const got = globalThis.crypto.subtle ? hex(await crypto.subtle.digest("SHA-256", bytes)) : file.sha256;
  if (got !== file.sha256) {
    throw new Fault(
      `${file.name} is not the file that was exported (its SHA-256 begins with ${got.slice(0, 12)}, expected ` +
        `${file.sha256.slice(0, 12)}); export the page again and copy the whole folder.`,
    );
  }
  return bytes;
}

async function readFromServer(file, base) {
  // Without https the browser has no crypto.subtle; there it checks what it fetches by itself, in fewer words.
  const integrity = globalThis.crypto.subtle ? "" : file.integrity;
  const response = await fetch(base + file.name, { integrity, cache: "no-cache" }).catch((error) => {
    throw new Fault(`${file.name} could not be read (${error.message}); check the connection, and that it is unchanged.`);
  });
  if (!response.ok) {
    throw new Fault(`${file.name} is missing (${response.status}); export the page again and copy the whole folder.`);
  }
  return response.arrayBuffer();
}

/** A page opened from disk may run scripts beside it, but not read files: each file lies in `disk/` as a script too. */
async function readFromDisk(file) {
  const script = document.createElement("script");
  script.src = `disk/${file.name}.js`;
  const done = new Promise((resolve) => script.addEventListener("load", resolve, { once: true }));
  const failed = new Promise((resolve) => script.addEventListener("error", resolve, { once: true }));
  document.head.append(script);
  await Promise.race([done, failed]);
  if (!handedOver.has(file.name)) {
    throw new Fault(`disk/${file.name}.js is missing or cut short; export the page again and copy the whole folder.`);
  }
  const packed = Uint8Array.from(atob(handedOver.get(file.name)), (character) => character.charCodeAt(0));
  handedOver.delete(file.name);
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function hex(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Draw one picture: {pixels: ImageData, ms}. Calls wait for each other. `chosen` is the label where there are labels. */
function draw(z, chosen) {
  const next = queue.then(() => drawNow(z, chosen));
  queue = next.catch(() => {});
  return next;
}

async function drawNow(z, chosen) {
  const feed = { z: new ort.Tensor("float32", z, [1, facts.latent]) };
  if (facts.classes) feed.label = new ort.Tensor("int64", BigInt64Array.of(BigInt(chosen)), [1]);
  const start = performance.now();
  const { images } = await session.run(feed);
  const ms = performance.now() - start;
  return { pixels: toPixels(images.data), ms };
}

/** float32 (channels, height, width) in [-1, 1] as 8-bit pixels: (x + 1) * 127.5, halves to the even neighbour. */
function toPixels(values) {
  const { channels, height, width } = facts;
  const area = height * width;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      const x = values[(channels === 3 ? c * area : 0) + i];
      pixels.data[4 * i + c] = Math.fround(Math.fround(x + 1) * 127.5); // clamped, and rounded to even
    }
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}
