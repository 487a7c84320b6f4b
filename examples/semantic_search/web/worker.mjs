// The encoder in a worker, so that the page stays alive: it loads, embeds the lines, ranks them, and measures calls.
import { Encoder } from "./encoder.web/encoder.mjs";
import { Tokenizer } from "./tokenizer.mjs";

const BATCH = 16;
const TOP = 5;
const ROUNDS = 8;
const CALLS = 5;

let encoder;
let tokenizer;
let lines = [];
let rows = []; // the embedding of each line, of length one

async function text(file) {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: the server answered ${response.status}`);
  return response.text();
}

// Token ids and the mask of some texts, padded to the longest.
function inputsOf(tokens) {
  const length = Math.max(...tokens.map((ids) => ids.length));
  const shape = [tokens.length, length];
  const ids = new BigInt64Array(tokens.length * length);
  const mask = new BigInt64Array(tokens.length * length);
  tokens.forEach((row, i) => {
    row.forEach((id, k) => (ids[i * length + k] = BigInt(id)));
    mask.fill(1n, i * length, i * length + row.length);
  });
  return { input_ids: { data: ids, shape }, attention_mask: { data: mask, shape } };
}

// The embeddings of texts, each a Float32Array of length one.
function embed(tokens) {
  const { data, shape } = encoder.run(inputsOf(tokens)).output;
  return tokens.map((_, i) => data.subarray(i * shape[1], (i + 1) * shape[1]));
}

async function load() {
  const [vocabulary, corpus] = await Promise.all([text("vocab.txt"), text("corpus.txt")]);
  tokenizer = new Tokenizer(vocabulary);
  lines = corpus.split("\n").filter((line) => line !== "");
  encoder = await Encoder.load({ onProgress: (loaded, total) => postMessage({ kind: "progress", loaded, total }) });
  const tokens = lines.map((line) => tokenizer.encode(line));
  for (let first = 0; first < tokens.length; first += BATCH) {
    rows.push(...embed(tokens.slice(first, first + BATCH)));
    postMessage({ kind: "embedded", count: rows.length, total: lines.length });
  }
  postMessage({ kind: "ready", count: lines.length });
}

// The lines that are closest in meaning to a query, the closest first.
function search(query) {
  const start = performance.now();
  const [vector] = embed([tokenizer.encode(query)]);
  const scores = rows.map((row) => row.reduce((sum, value, k) => sum + value * vector[k], 0));
  const best = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a]).slice(0, TOP);
  const found = best.map((i) => ({ line: lines[i], score: scores[i] }));
  postMessage({ kind: "found", query, found, milliseconds: performance.now() - start });
}

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

// Milliseconds of a call on one thread, the median, for both in turn; the first call of a turn is not counted.
async function interleave(contenders) {
  const taken = contenders.map(() => []);
  for (let round = 0; round < ROUNDS; ++round) {
    for (let turn = 0; turn < contenders.length; ++turn) {
      const which = (round + turn) % contenders.length;
      for (let call = 0; call <= CALLS; ++call) {
        const start = performance.now();
        await contenders[which]();
        if (call > 0 && round > 0) taken[which].push(performance.now() - start);
      }
    }
  }
  return taken.map(median);
}

// Against onnxruntime-web, which the folder onnxruntime has with the same model as encoder.onnx.
async function compare() {
  const ort = await import("./onnxruntime/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("onnxruntime/", import.meta.url).href;
  const session = await ort.InferenceSession.create("encoder.onnx", { executionProviders: ["wasm"] });
  const measured = [];
  for (const length of [16, 128]) {
    const inputs = inputsOf([Array.from({ length }, (_, i) => 1000 + ((i * 7919) % 29000))]);
    const feeds = Object.fromEntries(
      session.inputNames.map((name) => [name, new ort.Tensor("int64", inputs[name].data, inputs[name].shape)]),
    );
    const ours = encoder.run(inputs).output.data;
    const theirs = (await session.run(feeds))[session.outputNames[0]].data;
    const difference = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i])), 0);
    const [module, onnxruntime] = await interleave([() => encoder.run(inputs), () => session.run(feeds)]);
    measured.push({ length, module, onnxruntime, difference });
  }
  postMessage({ kind: "compared", version: ort.env.versions?.web ?? "", measured });
}

onmessage = async ({ data: { kind, query } }) => {
  try {
    await { load, search, compare }[kind](query);
  } catch (error) {
    postMessage({ kind: "failed", during: kind, text: error.message });
  }
};
