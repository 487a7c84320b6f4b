"""Objects of the static runtime: those of the shared one, with what it exports hidden, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cpp" / "python" / "hide_symbols.py"

SOURCE = r"""
#include <string>
#include <vector>
#define EXPORTED __attribute__((visibility("default")))
namespace aotbuild::detail {
EXPORTED int twice(int value) { return 2 * value; }
struct EXPORTED Shape { virtual ~Shape(); };
Shape::~Shape() = default;
}
extern "C" EXPORTED int aoti_torch_one() { return 1; }
extern "C" EXPORTED int aotbuild_two() { return aotbuild::detail::twice(aoti_torch_one()); }
extern "C" EXPORTED int of_another() { std::vector<std::string> all(2, "x"); all.insert(all.begin(), "y"); return 3; }
static __attribute__((noinline, used)) int aotbuild_local() { return 4; }
"""


def visibility(path: Path) -> dict[str, str]:
    """The visibility of each symbol that a file defines, but for local ones."""
    listing = subprocess.run(["readelf", "--syms", "--wide", path], check=True, capture_output=True, text=True).stdout
    rows = [line.split() for line in listing.splitlines()]
    return {row[7]: row[5] for row in rows if len(row) == 8 and row[6] != "UND" and row[4] in ("GLOBAL", "WEAK")}


def hide(folder: Path, *objects: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, folder, *objects], capture_output=True, text=True, check=False)


def test_symbols_of_the_runtime_are_hidden_and_others_stay(tmp_path: Path) -> None:
    source, made = tmp_path / "runtime.cpp", tmp_path / "runtime.o"
    source.write_text(SOURCE)
    flags = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ffunction-sections"]
    subprocess.run(["c++", *flags, "-c", source, "-o", made], check=True)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "of_a_removed_source.o").touch()
    done = hide(tmp_path / "static", made)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "static").iterdir()] == ["runtime.o"]
    before, after = visibility(made), visibility(tmp_path / "static" / "runtime.o")
    ours = {name for name in before if "aotbuild" in name or name.startswith("aoti_torch")}
    assert {"aoti_torch_one", "aotbuild_two", "_ZTVN8aotbuild6detail5ShapeE"} <= ours
    assert {before[name] for name in ours} == {"DEFAULT"}
    assert {after[name] for name in ours} == {"HIDDEN"}
    assert {name: after[name] for name in before if name not in ours} == {
        name: before[name] for name in before if name not in ours
    }
    program = tmp_path / "program.cpp"
    program.write_text('extern "C" int aotbuild_two(); int main() { return aotbuild_two(); }\n')
    subprocess.run(["c++", program, tmp_path / "static" / "runtime.o", "-o", tmp_path / "program"], check=True)
    assert subprocess.run([tmp_path / "program"], check=False).returncode == 2


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    other = tmp_path / "runtime.o"
    other.write_bytes(b"not an object")
    done = hide(tmp_path / "static", other)
    assert done.returncode != 0
    assert f"{other}: not a 64-bit little-endian ELF file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_installed_static_runtime_exports_nothing() -> None:
    import aotbuild

    (folder,) = (Path(path) / "runtime" / "static" for path in aotbuild.__path__ if (Path(path) / "runtime").is_dir())
    exported = [
        name
        for path in folder.glob("*.o")
        for name, kind in visibility(path).items()
        if kind == "DEFAULT" and ("aotbuild" in name or name.startswith("aoti_torch"))
    ]
    assert len(list(folder.glob("*.o"))) == len(list((folder.parent / "shared").glob("*.o"))) > 10
    assert exported == []
