// What the page shows of its worker's work.
const at = (id) => document.getElementById(id);
const MIB = 1 << 20;
let worker;

function show(id, isShown = true) {
  at(id).hidden = !isShown;
}

function status(text) {
  at("status").textContent = text;
}

// A row of the results: the score as a bar and a number, and the line.
function row({ line, score }) {
  const item = document.createElement("li");
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.append(document.createElement("span"));
  bar.firstChild.style.width = `${100 * Math.max(0, score)}%`;
  const number = document.createElement("span");
  number.className = "score";
  number.textContent = score.toFixed(3);
  const text = document.createElement("span");
  text.className = "line";
  text.textContent = line;
  item.append(bar, number, text);
  return item;
}

const TAKES = {
  progress({ loaded, total }) {
    at("progress").value = loaded / total;
    status(`Weights: ${(loaded / MIB).toFixed(1)} of ${(total / MIB).toFixed(1)} MiB`);
  },
  embedded({ count, total }) {
    at("progress").value = count / total;
    status(`Lines: ${count} of ${total}`);
  },
  async ready({ count }) {
    show("progress", false);
    status(`${count} lines are ready.`);
    at("query").disabled = false;
    at("query").focus();
    const peer = await fetch("encoder.onnx", { method: "HEAD" }).catch(() => null);
    show("compare", peer?.ok ?? false);
  },
  found({ query, found, milliseconds }) {
    if (query !== at("query").value.trim()) return; // a later one is on its way
    at("results").replaceChildren(...found.map(row));
    at("results").dataset.query = query;
    status(`Answered in ${milliseconds.toFixed(1)} ms.`);
  },
  compared({ version, measured }) {
    at("compare").disabled = false;
    at("peer").textContent = `onnxruntime-web ${version}`.trim();
    at("measured").replaceChildren(
      ...measured.map(({ length, module, onnxruntime, difference }) => {
        const line = document.createElement("tr");
        for (const text of [`1x${length}`, module.toFixed(2), onnxruntime.toFixed(2), (module / onnxruntime).toFixed(3)]) {
          line.append(Object.assign(document.createElement("td"), { textContent: text }));
        }
        line.title = `largest difference ${difference.toExponential(1)}`;
        return line;
      }),
    );
    document.body.dataset.measured = JSON.stringify(measured);
    show("comparison");
    status("Compared.");
  },
  failed({ text }) {
    at("compare").disabled = false;
    show("progress", false);
    at("message").textContent = text;
    show("error");
  },
};

function start() {
  worker?.terminate();
  show("error", false);
  show("progress");
  at("progress").removeAttribute("value");
  status("Loading.");
  worker = new Worker("worker.mjs", { type: "module" });
  worker.onmessage = ({ data }) => TAKES[data.kind](data);
  worker.onerror = () => TAKES.failed({ text: "The worker did not start; this browser may be too old." });
  worker.postMessage({ kind: "load" });
}

at("query").addEventListener("input", () => {
  const query = at("query").value.trim();
  if (query !== "") worker.postMessage({ kind: "search", query });
  else at("results").replaceChildren();
});
at("search").addEventListener("submit", (event) => event.preventDefault());
at("again").addEventListener("click", start);
at("compare").addEventListener("click", () => {
  at("compare").disabled = true;
  status("Measuring: some seconds.");
  worker.postMessage({ kind: "compare" });
});
start();
