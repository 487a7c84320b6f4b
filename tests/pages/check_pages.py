"""Looks at pages of reports as headless Chromium lays them out: `make page-test`.

python tests/pages/check_pages.py <folder of the pages> [further pages ...]
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

from aotbuild.commands.report import cpu_text
from aotbuild.commands.report.cpu_data import CpuReport, CpuRow, Machine
from aotbuild.commands.report.data import gather
from aotbuild.commands.report.page import as_html

WIDTHS = (1280, 420)
# Blink's numbers of the schemes that a page may prefer.
SCHEMES = {"light": 1, "dark": 0}
# What the WCAG ask of text at least.
LEAST_CONTRAST = 4.5

# Leaves behind, as JSON: how wide the page is, the contrast of each text, and the places of a chart's labels.
SCRIPT = """\
<script>
const channel = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = colour => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(value => channel(value / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
const ground = getComputedStyle(document.body).backgroundColor;
const texts = [...document.querySelectorAll("body *")].filter(
  one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && one.tagName !== "SCRIPT" &&
         one.tagName !== "title");
const colour = one => one.namespaceURI.endsWith("svg") ? getComputedStyle(one).fill : getComputedStyle(one).color;
const measured = {
  ground: ground,
  width: document.documentElement.scrollWidth,
  window: document.documentElement.clientWidth,
  contrasts: texts.map(one => [one.textContent.trim().slice(0, 40),
                               contrast(luminance(colour(one)), luminance(ground))]),
  charts: [...document.querySelectorAll("svg")].map(svg => ({
    box: svg.getBoundingClientRect().toJSON(),
    labels: [...svg.querySelectorAll("text")].map(one => [one.textContent, one.getBoundingClientRect().toJSON()]),
    circles: [...svg.querySelectorAll("circle")].map(one => one.getBoundingClientRect().toJSON()),
  })),
};
const place = document.createElement("pre");
place.id = "measured";
place.textContent = JSON.stringify(measured);
document.body.append(place);
</script>
"""


def cpu_page() -> str:
    lines = (
        ("modeling_bert.py:175 in forward: query_layer = self.query(hidden_states).view(*hidden_shape)", ("linear",)),
        (
            "modeling_bert.py:292 in forward: hidden_states = self.LayerNorm(hidden_states)",
            ("native_layer_norm", "add"),
        ),
    )
    weights = [f"transformer.encoder.layer.{n}.attention.self.query.weight" for n in range(6)]
    rows = (
        CpuRow("pair of linear layers with gelu between", 6, 17000.0, lines, weights, 31_000_000, 1_800_000_000),
        CpuRow("3 linear layers in one product", 6, 6000.0, lines[:1], weights, 12_000_000, 680_000_000),
        CpuRow("attention", 6, 2400.0, lines, (), 3_500_000, 150_000_000),
        CpuRow("cpp_fused_add_native_layer_norm_2", 12, 240.0, lines[1:], (), 7_000_000, 1_200_000),
        CpuRow("cpp_fused__to_copy_add_arange_bitwise_and_ge_index_new_ones_unsqueeze_1", 1, 5.0, (), (), 40_000, 0),
    )
    machine = Machine(memory=14.5e9, cache=69.8e9, flops=176e9)
    return cpu_text.as_html(CpuReport("minilm_model.py:build", "avx512", 1, 25800.0, 26000.0, rows, machine))


def cuda_page(folder: Path) -> str:
    kernel: dict[str, Any] = {
        "architecture": "sm_90",
        "code_bytes": 20000,
        "config": {"BLOCK_M": 64, "BLOCK_N": 128, "num_warps": 4},
        "flops": 4_000_000_000,
        "kernel": "triton_tem_fused_addmm_relu_transpose_view_0",
        "key": "0123456789abcdef",
        "launches": 2,
        "lines": ["net.py:12 in forward: return torch.relu(self.layer(rows)) + self.bias"],
        "measured": True,
        "nbytes": 20_000_000,
        "registers": 128,
        "shared_bytes": 36864,
        "tensor_cores": True,
        "threads": 128,
    }
    other = {**kernel, "kernel": "triton_per_fused_1", "key": "fedcba9876543210", "tensor_cores": False, "flops": 9e6}
    made = folder / "net.aotbuild"
    made.mkdir(exist_ok=True)
    content = {"kernels_version": 2, "target": "net", "kernels": [kernel, other], "epilogues": []}
    (made / "net.kernels.json").write_text(json.dumps(content))
    times = folder / "times.jsonl"
    times.write_text(
        "".join(json.dumps({"kernel": each["kernel"], "microseconds": 9.0}) + "\n" for each in (kernel, other))
    )
    return as_html(gather(made, None, times))


def measured(page: Path, width: int, scheme: str) -> dict[str, Any]:
    """What the script found of a page, in a window of that width."""
    instrumented = page.with_suffix(".measured.html")
    instrumented.write_text(page.read_text().replace("</body>", f"{SCRIPT}</body>"))
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=3000",
    ]
    command += [f"--window-size={width},900", f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", "--dump-dom"]
    done = subprocess.run([*command, instrumented.resolve().as_uri()], capture_output=True, text=True, check=True)
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    if found is None:
        raise SystemExit(f"{page.name}: Chromium did not run the script")
    return dict(json.loads(unescape(found[1])))


def faults(page: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a page: wider than its window, text that is hard to read, labels of charts that are not."""
    if page["width"] > page["window"]:
        yield f"is {page['width']} pixels wide in a window of {page['window']}"
    if not page["contrasts"]:
        yield "has no text"
    for text, contrast in page["contrasts"]:
        if contrast < LEAST_CONTRAST:
            yield f"{text!r} has a contrast of {contrast:.1f}"
    for chart in page["charts"]:
        box = chart["box"]
        if not chart["circles"]:
            yield "a chart has no circles"
        for label, place in chart["labels"]:
            if place["left"] < box["left"] - 1 or place["right"] > box["right"] + 1:
                yield f"the label {label!r} leaves its chart"
        for number, (label, place) in enumerate(chart["labels"]):
            for other, beside in chart["labels"][:number]:
                if overlap(place, beside):
                    yield f"the labels {label!r} and {other!r} overlap"


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    across = min(one["right"], other["right"]) - max(one["left"], other["left"])
    down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
    return across > 1 and down > 3  # boxes of text have room above and below the letters


# A page with each kind of fault, for the check of the check.
BROKEN = """\
<!DOCTYPE html>
<html><body style="background: #ffffff">
<p style="color: #cccccc">pale</p>
<div style="width: 3000px">wide</div>
<svg width="100" height="50" viewBox="0 0 100 50">
<text x="10" y="20">one</text><text x="12" y="22">two</text><text x="90" y="40">outside</text>
</svg>
</body></html>
"""
BROKEN_FAULTS = ("pixels wide in a window", "'pale' has a contrast of 1.6", "no circles", "'outside' leaves", "overlap")


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broken.html").write_text(BROKEN)
    seen = "\n".join(faults(measured(folder / "broken.html", WIDTHS[0], "light")))
    unseen = [fault for fault in BROKEN_FAULTS if fault not in seen]
    if unseen:
        raise SystemExit(f"the check does not see {unseen} in:\n{seen}")
    (folder / "cpu_report.html").write_text(cpu_page())
    (folder / "cuda_report.html").write_text(cuda_page(folder))
    pages = [folder / "cpu_report.html", folder / "cuda_report.html"]
    pages += [Path(shutil.copy(page, folder)) for page in sys.argv[2:]]
    failed = 0
    for page in pages:
        grounds = set()
        for width in WIDTHS:
            for scheme in SCHEMES:
                found = measured(page, width, scheme)
                grounds.add(found["ground"])
                wrong = list(faults(found))
                failed += len(wrong)
                for fault in wrong:
                    print(f"{page.name}, {width} pixels, {scheme}: {fault}")
        if len(grounds) != len(SCHEMES):
            failed += 1
            print(f"{page.name}: light and dark have the grounds {sorted(grounds)}")
    print(f"{len(pages)} pages at {len(WIDTHS)} widths in {len(SCHEMES)} schemes: {failed} faults")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
