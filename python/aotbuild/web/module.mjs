// What follows is the same in every module.

const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  float16: Uint16Array, // as bits
  bfloat16: Uint16Array,
};
// code and bits of aotbuild_dtype
const DTYPES = {
  float32: [2, 32],
  float64: [2, 64],
  int64: [0, 64],
  int32: [0, 32],
  int16: [0, 16],
  int8: [0, 8],
  uint8: [1, 8],
  bool: [6, 8],
  float16: [2, 16],
  bfloat16: [4, 16],
};
const STORED = {
  F32: "float32",
  F64: "float64",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
  F16: "float16",
  BF16: "bfloat16",
};
const TENSOR_BYTES = 40;
const NAMED_TENSOR_BYTES = 48;
const CPU = 1;

// A function of one type, whose body makes a vector of 16 bytes.
const WITH_VECTORS = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

function fail(text) {
  throw new Error(`${MODEL.name}: ${text}`);
}

async function download(url, what, size, onProgress) {
  const bytes = new Uint8Array(size);
  let loaded = 0;
  const take = (part) => {
    if (loaded + part.length <= size) bytes.set(part, loaded);
    loaded += part.length;
    onProgress?.(Math.min(loaded, size), size);
  };
  if (url.protocol === "file:") {
    const { readFile } = await import("node:fs/promises");
    take(await readFile(url));
  } else {
    const response = await fetch(url).catch((error) => {
      fail(`${what} ${url}: the server cannot be reached (${error.message}); load it again, or correct the address`);
    });
    if (!response.ok) fail(`${what} ${url}: the server answered ${response.status} ${response.statusText}`.trim());
    const reader = response.body.getReader();
    const read = () =>
      reader.read().catch((error) => {
        fail(`${what} ${url}: the download broke off after ${loaded} of ${size} bytes (${error.message}); load it again`);
      });
    for (let part = await read(); !part.done; part = await read()) take(part.value);
  }
  if (loaded !== size) {
    fail(`${what} ${url} has ${loaded} bytes in the place of ${size}; load it again, or copy the file that was built`);
  }
  return bytes;
}

class Memory {
  #core;
  #blocks = [];

  constructor(core) {
    this.#core = core;
  }

  take(size) {
    const block = this.#core._malloc(Math.max(size, 1));
    if (block === 0) fail("out of memory");
    this.#blocks.push(block);
    return block;
  }

  copy(bytes) {
    const block = this.take(bytes.length);
    this.#core.HEAPU8.set(bytes, block);
    return block;
  }

  view() {
    return new DataView(this.#core.HEAPU8.buffer);
  }

  // Writes an aotbuild_tensor; without data, one that asks for memory.
  tensor(at, dtype, shape, data) {
    const sizes = this.take(8 * shape.length);
    const view = this.view();
    this.#core.HEAPU8.fill(0, at, at + TENSOR_BYTES);
    view.setUint32(at, data, true);
    view.setInt32(at + 4, CPU, true);
    view.setInt32(at + 12, shape.length, true);
    const [code, bits] = DTYPES[dtype];
    view.setUint8(at + 16, code);
    view.setUint8(at + 17, bits);
    view.setUint16(at + 18, 1, true);
    view.setUint32(at + 20, sizes, true);
    shape.forEach((size, i) => view.setBigInt64(sizes + 8 * i, BigInt(size), true));
  }

  free() {
    for (const block of this.#blocks) this.#core._free(block);
    this.#blocks = [];
  }
}

// The tensors of a safetensors file as an array of aotbuild_named_tensor.
function weightsIn(file, memory) {
  const headerSize = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerSize)));
  const named = Object.entries(header).filter(([name]) => name !== "__metadata__");
  const list = memory.take(named.length * NAMED_TENSOR_BYTES);
  named.forEach(([name, entry], i) => {
    const [begin, end] = entry.data_offsets;
    const data = memory.copy(file.subarray(8 + headerSize + begin, 8 + headerSize + end));
    const text = memory.copy(new TextEncoder().encode(`${name}\0`));
    const at = list + i * NAMED_TENSOR_BYTES;
    memory.tensor(at + 8, STORED[entry.dtype], entry.shape, data);
    memory.view().setUint32(at, NAMED_TENSOR_BYTES, true);
    memory.view().setUint32(at + 4, text, true);
  });
  return [list, named.length];
}

class Model {
  #core;
  #memory;
  #model;

  constructor(core, memory, model) {
    this.#core = core;
    this.#memory = memory;
    this.#model = model;
  }

  static async load({ base = new URL(".", import.meta.url), onProgress } = {}) {
    if (!WebAssembly.validate(WITH_VECTORS)) {
      fail("this browser has no vectors of WebAssembly (SIMD); use Chrome 91, Firefox 89, Safari 16.4 or later");
    }
    const at = (file) => new URL(file, base);
    const wasmBinary = await download(at(MODEL.wasm.file), "the module", MODEL.wasm.bytes);
    const core = await createCore({ wasmBinary });
    const memory = new Memory(core);
    let weights = [0, 0];
    if (MODEL.weights !== null) {
      weights = weightsIn(await download(at(MODEL.weights.file), "the weights", MODEL.weights.bytes, onProgress), memory);
    }
    const model = core._module_create(...weights);
    if (model === 0) throw new Error(core.UTF8ToString(core._module_error()));
    return new this(core, memory, model);
  }

  call(index, method, inputs) {
    if (this.#model === 0) fail("it was freed");
    const memory = new Memory(this.#core);
    try {
      const given = memory.take(method.inputs.length * TENSOR_BYTES);
      method.inputs.forEach(({ name, dtype }, i) => {
        const tensor = inputs[name];
        const array = ARRAYS[dtype];
        if (!(tensor?.data instanceof array)) fail(`input "${name}" needs data, a ${array.name} of ${dtype}`);
        const count = tensor.shape.reduce((product, size) => product * size, 1);
        if (count !== tensor.data.length) {
          fail(`input "${name}" has ${tensor.data.length} elements, and its shape [${tensor.shape}] ${count}`);
        }
        const bytes = new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
        memory.tensor(given + i * TENSOR_BYTES, dtype, tensor.shape, memory.copy(bytes));
      });
      const made = memory.take(method.outputs.length * TENSOR_BYTES);
      method.outputs.forEach(({ dtype }, i) => memory.tensor(made + i * TENSOR_BYTES, dtype, [], 0));
      const result = this.#core._module_run(
        this.#model, index, given, method.inputs.length, made, method.outputs.length,
      );
      if (result === 0) throw new Error(this.#core.UTF8ToString(this.#core._module_error()));
      const outputs = method.outputs.map(({ name, dtype }, i) => [name, this.#output(made + i * TENSOR_BYTES, dtype)]);
      this.#core._module_destroy_result(result);
      return Object.fromEntries(outputs);
    } finally {
      memory.free();
    }
  }

  #output(at, dtype) {
    const view = new DataView(this.#core.HEAPU8.buffer);
    const [data, sizes] = [view.getUint32(at, true), view.getUint32(at + 20, true)];
    const shape = Array.from({ length: view.getInt32(at + 12, true) }, (_, d) =>
      Number(view.getBigInt64(sizes + 8 * d, true)),
    );
    const count = shape.reduce((product, size) => product * size, 1);
    return { data: new ARRAYS[dtype](view.buffer, data, count).slice(), shape };
  }

  free() {
    if (this.#model !== 0) this.#core._module_destroy(this.#model);
    this.#memory.free();
    this.#model = 0;
  }
}
