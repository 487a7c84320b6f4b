// Compares a module of WebAssembly with the golden file of its model:
// node module_test.mjs <module.mjs> <class> <golden file>
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [path, name, goldenPath] = process.argv.slice(2);
const { [name]: Model } = await import(pathToFileURL(path));
const file = readFileSync(goldenPath);
const headerSize = Number(file.readBigUInt64LE(0));
const header = JSON.parse(file.subarray(8, 8 + headerSize));
const ARRAYS = {
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

function tensor(key) {
  const { dtype, shape, data_offsets: [begin, end] } = header[key];
  const bytes = Uint8Array.from(file.subarray(8 + headerSize + begin, 8 + headerSize + end));
  return { data: new ARRAYS[dtype](bytes.buffer), shape };
}

function valuesOf(test, kind) {
  const prefix = `${test}/${kind}/`;
  const keys = Object.keys(header).filter((key) => key.startsWith(prefix));
  return Object.fromEntries(keys.map((key) => [key.slice(prefix.length), tensor(key)]));
}

const model = await Model.load();
const tests = [...new Set(Object.keys(header).filter((key) => key.includes("/output/") && !key.startsWith("tolerance/"))
  .map((key) => key.split("/output/")[0]))];
let compared = 0;
for (const test of tests) {
  const outputs = model.run(valuesOf(test, "input"));
  for (const [output, expected] of Object.entries(valuesOf(test, "output"))) {
    const [rtol, atol] = tensor(`tolerance/${test}/output/${output}`).data;
    const { data, shape } = outputs[output];
    if (String(shape) !== String(expected.shape)) throw new Error(`${test} ${output}: shape [${shape}]`);
    data.forEach((value, i) => {
      const wanted = Number(expected.data[i]);
      const isSame = Object.is(Number(value), wanted); // NaN, infinities
      if (!isSame && !(Math.abs(Number(value) - wanted) <= atol + rtol * Math.abs(wanted))) {
        throw new Error(`${test} ${output}: element ${i} is ${value}, expected ${wanted}`);
      }
    });
    compared += data.length;
  }
}
model.free();
console.log(`${tests.length} passed, 0 failed: ${compared} values`);
