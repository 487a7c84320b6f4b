"""MiniLM as WebAssembly, 1x16 and 1x128 tokens, against onnxruntime-web on the same page of Chromium, on one thread.

Both run in one worker and take turns; several browsers are started, one after the other. Needs the page and the package
of ``benchmarks/projects/web``, which ``tools/page.sh --peer`` has below build/page. Run alone on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from browser import Browser, served
from harness import machine, save, table

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "page"
PEER = BUILD / "peer" / "node_modules" / "onnxruntime-web"
# Of those the entry point for WebAssembly alone.
PEER_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def export_model(path: Path) -> None:
    """The same model for ONNX Runtime, its batch and length dynamic as ours are."""
    import torch

    import minilm_model

    module, inputs = minilm_model.build()
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("sequence", min=1, max=512)}
    example = tuple(tensor.repeat(2, 1) for tensor in inputs)
    torch.onnx.export(
        module,
        example,
        path,
        input_names=["input_ids", "attention_mask"],
        dynamic_shapes=(sizes, sizes),
        dynamo=True,
        optimize=True,
        external_data=False,
        verbose=False,
    )


def make_folder() -> Path:
    """What is served: the page, with onnxruntime-web and its model beside it."""
    if not (BUILD / "page/encoder.web/encoder.core.wasm").is_file() or not PEER.is_dir():
        sys.exit("web: the page or its peer is not there; run tools/page.sh --peer")
    model = BUILD / "encoder.onnx"
    if not model.is_file():
        export_model(model)
    folder = BUILD / "compared"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BUILD / "page", folder, copy_function=os.link)
    os.link(model, folder / "encoder.onnx")
    (folder / "onnxruntime").mkdir()
    for name in PEER_FILES:
        shutil.copy(PEER / "dist" / name, folder / "onnxruntime")
    return folder


def measure(address: str) -> tuple[str, list[dict[str, float]]]:
    """The browser's name, and for each length milliseconds of both and the largest difference."""
    with contextlib.closing(Browser()) as browser:
        page = browser.open(address)
        page.wait_for("!document.getElementById('compare').hidden")
        page.evaluate("document.getElementById('compare').click()")
        page.wait_for("document.body.dataset.measured || !document.getElementById('error').hidden", 600)
        if page.evaluate("!document.getElementById('error').hidden"):
            sys.exit(f"web: {page.evaluate('document.getElementById(`message`).textContent')}")
        measured: list[dict[str, float]] = json.loads(page.evaluate("document.body.dataset.measured"))
        return browser.call("Browser.getVersion")["product"], measured


def markdown(saved: dict[str, Any]) -> str:
    """The table of docs/platforms.md."""
    lines = [
        "| MiniLM, one thread of Chromium | aotbuild, ms "
        f"| onnxruntime-web {saved['machine']['onnxruntime-web']}, ms | ratio |",
        "|---|---:|---:|---:|",
    ]
    for name, row in saved["tokens"].items():
        values = f"{row['aotbuild_ms']:.1f} | {row['onnxruntime_web_ms']:.1f} | {row['ratio']:.2f}"
        lines.append(f"| {name} tokens | {values} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browsers", type=int, default=5, help="how many are started (default: %(default)s)")
    count = parser.parse_args().browsers
    folder = make_folder()
    with served(folder) as address:
        runs = [measure(address) for _ in range(count)]
    version = json.loads((PEER / "package.json").read_text())["version"]
    module = (folder / "encoder.web/encoder.core.wasm").read_bytes()
    results: dict[str, Any] = {}
    rows = []
    for i in range(len(runs[0][1])):
        taken = [run[1][i] for run in runs]
        ours, theirs = (statistics.median(entry[name] for entry in taken) for name in ("module", "onnxruntime"))
        ratios = sorted(entry["module"] / entry["onnxruntime"] for entry in taken)
        name = f"1x{taken[0]['length']:.0f}"
        results[name] = {
            "aotbuild_ms": ours,
            "onnxruntime_web_ms": theirs,
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "difference": max(entry["difference"] for entry in taken),
        }
        rows.append([name, f"{ours:.2f}", f"{theirs:.2f}", f"{statistics.median(ratios):.3f}", f"{ratios[-1]:.3f}"])
    print(table(["tokens", "aotbuild, ms", f"onnxruntime-web {version}, ms", "ratio", "largest"], rows))
    sizes = {"bytes": len(module), "gzip": len(gzip.compress(module, 9))}
    print(f"module without weights: {sizes['bytes']} bytes, {sizes['gzip']} by gzip")
    facts = {**machine(), "browser": runs[0][0], "onnxruntime-web": version}
    path = save("web", {"machine": facts, "module": sizes, "tokens": results})
    print(markdown(json.loads(path.read_text())), end="")
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
