"""What an editor shows of a generated header, by clangd over its protocol: `make editor-test`.

python tests/editor/check_hovers.py <folder of the project>
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from aotbuild.commands import cli
from aotbuild.spec.paths import cmake_directory

# A program's file; where `^` stands, the pointer rests, and what the hover has to say there.
PROGRAM = """\
#include "classifier.hpp"

int main() {
  const ^Classifier classifier;
  Classifier::Inputs inputs;
  (void)inputs.^features;
  const auto outputs = classifier.^run(inputs);
  return outputs.^probabilities.^size(0) == 2 ? 0 : 1;
}
"""
EXPECTED = {
    "Classifier": ["class Classifier"],
    "features": ["TensorView<const float, 2>", "[batch, 4]"],
    "run": [
        "Classifier::Outputs run(const Classifier::Inputs& inputs) const",
        "Takes features: float32 [batch, 4]; gives probabilities: float32 [batch, 3].",
    ],
    "probabilities": ["Tensor<float, 2>", "[batch, 3]"],
    "size": ["std::int64_t size(std::size_t dim) const"],
}


class Clangd:
    """A language server over the files of a project."""

    def __init__(self, folder: Path) -> None:
        command = ["clangd", f"--compile-commands-dir={folder / 'build'}", "--log=error", "--background-index=false"]
        self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._last = 0
        self.ask("initialize", {"processId": os.getpid(), "rootUri": folder.as_uri(), "capabilities": {}})
        self.tell("initialized", {})

    def tell(self, method: str, parameters: Any, **fields: Any) -> None:
        message = json.dumps({"jsonrpc": "2.0", "method": method, "params": parameters, **fields}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(message), message))
        self._process.stdin.flush()

    def ask(self, method: str, parameters: Any) -> Any:
        self._last += 1
        self.tell(method, parameters, id=self._last)
        while True:
            message = self._read()
            if message.get("id") == self._last and "method" not in message:
                return message["result"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name == b"Content-Length" else length
        if not length:
            raise SystemExit("clangd ended")
        return dict(json.loads(self._process.stdout.read(length)))

    def close(self) -> None:
        self.ask("shutdown", None)
        self.tell("exit", None)
        self._process.wait(60)


def project(folder: Path) -> Path:
    """A built project of `aotbuild init`."""
    shutil.rmtree(folder, ignore_errors=True)
    if cli.main(["init", str(folder)]) != 0:
        raise SystemExit("aotbuild init failed")
    found = [f"-Daotbuild_DIR={cmake_directory()}", f"-DAOTBUILD_PYTHON={sys.executable}", "-G", "Ninja"]
    for command in (["cmake", "--preset", "release", *found], ["cmake", "--build", "--preset", "release"]):
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def check_compile_commands(folder: Path) -> None:
    """Generated sources have commands, so that an editor can open them, and their files are there."""
    entries = json.loads((folder / "build/compile_commands.json").read_text())
    generated = [entry["file"] for entry in entries if "classifier.aotbuild" in entry["file"]]
    missing = [file for file in generated if not Path(file).exists()]
    if not any("_run_" in file for file in generated) or missing:
        raise SystemExit(f"compile_commands.json: generated sources {generated}, missing {missing}")
    print(f"compile_commands.json has {len(generated)} generated sources")


def main() -> None:
    folder = project(Path(sys.argv[1]).resolve())
    check_compile_commands(folder)
    lines = PROGRAM.splitlines()
    file = folder / "main.cpp"
    text = PROGRAM.replace("^", "")
    clangd = Clangd(folder)
    document = {"uri": file.as_uri(), "languageId": "cpp", "version": 1, "text": text}
    clangd.tell("textDocument/didOpen", {"textDocument": document})
    wrong = []
    for number, line in enumerate(lines):
        for index, part in enumerate(line.split("^")[1:]):
            word = part.split("(")[0].split(" ")[0].split(".")[0].split(";")[0].split(")")[0]
            column = len("".join(line.split("^")[: index + 1]))
            place = {"textDocument": {"uri": file.as_uri()}, "position": {"line": number, "character": column}}
            hover = clangd.ask("textDocument/hover", place)
            shown = hover["contents"]["value"] if hover else ""
            print(f"--- {word}\n{shown}")
            wrong += [f"{word}: {expected!r} is not shown" for expected in EXPECTED[word] if expected not in shown]
    clangd.close()
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{len(EXPECTED)} hovers show types and shapes")


if __name__ == "__main__":
    main()
