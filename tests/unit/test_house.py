"""The layout that docs/architecture.md describes: which folder may use which, and how long files and functions are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "python/aotbuild"
RUNTIME = REPOSITORY / "cpp/src"
# A folder uses itself and those before it.
PYTHON_FOLDERS = (
    "spec",
    "tuning",
    "capture",
    "cache",
    "lower/common",
    "lower/cpu",
    "lower/cuda/graph",
    "lower/cuda/compile",
    "lower/cuda/tune",
    "emit",
    "serve",
    "web",
    "generate",
    "api",
    "commands",
)
CPP_FOLDERS = ("base", "tensor", "kernels", "weights", "operators", "model", "cuda")
MOST_LINES = 450
MOST_LINES_OF_A_FUNCTION = 60  # without its docstring

LONG_FILES: dict[str, str] = {
    "cpp/include/aotbuild/detail/shim.h": "one declaration after another",
}
LONG_FUNCTIONS: dict[str, str] = {
    "python/aotbuild/lower/cuda/graph/attention_kernel.py: _attend": "one Triton kernel",
    "python/aotbuild/lower/cuda/graph/attention_kernel.py: attention": "one Triton kernel",
    "python/aotbuild/lower/cuda/graph/split_attention_kernel.py: attend_part": "one Triton kernel",
}

# Modules of lower/ and emit/ that take text apart, whose it is, and why.
TEXT_READERS = {
    "emit/render.py": "puts the comments of a C++ table in one column, whatever they say",
    "lower/cpu/custom_kernels.py": "the user's: the declaration of a registered kernel",
    "lower/cpu/environment.py": "TorchInductor's: errors that name an operator in prose",
    "lower/cpu/wrapper_code.py": "TorchInductor's: its statements are indented by their braces",
    "lower/cuda/compile/choices.py": "TorchInductor's: the tiles that a candidate notes for its log",
    "lower/cuda/compile/dependent.py": "Triton's: kernels get a first statement, and PTX says what is first",
    "lower/cuda/compile/epilogues.py": "TorchInductor's: loops as it prints them, without names, are part of a key",
    "lower/cuda/compile/indexing.py": "TorchInductor's: assertions of Triton kernels become reports",
    "lower/cuda/compile/kernels.py": "TorchInductor's: grids; kernels line by line, for Triton's messages",
    "lower/cuda/compile/templates.py": "TorchInductor's: tile sizes of Triton kernels are replaced",
    "lower/cuda/compile/wrapper.py": "TorchInductor's: grids, names of sizes, and Triton kernels as Python literals",
    "lower/cuda/graph/graph.py": "PyTorch's: errors that name an operator in prose",
    "lower/cuda/tune/candidates.py": "TorchInductor's: sizes in Triton kernels",
}


def folder_of(path: str, folders: tuple[str, ...]) -> str:
    """The one of ``folders`` that holds ``path``; empty for none."""
    return next((folder for folder in folders if f"{path}/".startswith(f"{folder}/")), "")


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, anywhere in it, as paths below the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aotbuild"):
            module = str(node.module).replace(".", "/")
            for alias in node.names:
                below = f"{module}/{alias.name}".removeprefix("aotbuild/")
                exists = (PACKAGE / below).is_dir() or (PACKAGE / f"{below}.py").exists()
                yield below if exists else module.removeprefix("aotbuild").removeprefix("/")
        elif isinstance(node, ast.Import):
            yield from (alias.name[9:].replace(".", "/") for alias in node.names if alias.name.startswith("aotbuild."))


def test_python_folders_use_only_those_before_them() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if "/" not in name:  # the package itself, which loads what users name when they do, and its __main__
            continue
        folder = folder_of(name, PYTHON_FOLDERS)
        if not folder and path.name == "__init__.py":
            assert not list(imports(path)), name
            continue
        assert folder, f"{name} lies in no folder of the list"
        for used in imports(path):
            target = folder_of(used, PYTHON_FOLDERS)
            # The version is the package's own, and the compiled module is told apart by its name.
            if used not in ("", "_runner") and (
                not target or PYTHON_FOLDERS.index(target) > PYTHON_FOLDERS.index(folder)
            ):
                wrong.append(f"{name} imports {used}")
    assert not wrong, "\n".join(wrong)


def test_only_lowering_knows_torchinductor() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if not path.relative_to(PACKAGE).as_posix().startswith("lower/"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                assert not any(name.startswith("torch._inductor") for name in names), path


def test_cpp_folders_use_only_those_before_them() -> None:
    wrong = []
    for path in sorted([*RUNTIME.rglob("*.hpp"), *RUNTIME.rglob("*.cpp")]):
        name = path.relative_to(RUNTIME).as_posix()
        if name.startswith("without_onednn/"):
            continue
        folder = folder_of(name, CPP_FOLDERS)
        assert folder, f"{name} lies in no folder of the list"
        for used in re.findall(r'^#include "(?!aotbuild/)([^"]+)"', path.read_text(), re.MULTILINE):
            target = folder_of(used, CPP_FOLDERS)
            assert target, f"{name}: {used} is not named from the runtime's folder on"
            if CPP_FOLDERS.index(target) > CPP_FOLDERS.index(folder):
                wrong.append(f"{name} includes {used}")
    assert not wrong, "\n".join(wrong)


def takes_text_apart(text: str) -> bool:
    """Whether a module imports ``re``, parses Python, or goes through the lines or parts of a text."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import) and any(alias.name == "re" for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of_ast = isinstance(node.func.value, ast.Name) and node.func.value.id == "ast"
            if node.func.attr == "splitlines" or (of_ast and node.func.attr in ("parse", "literal_eval")):
                return True
    return False


def test_lowering_and_emission_take_no_generated_text_apart() -> None:
    """What the code that follows has to know is recorded where text is written."""
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for folder in ("lower", "emit")
        for path in (PACKAGE / folder).rglob("*.py")
        if takes_text_apart(path.read_text())
    }
    assert readers == TEXT_READERS.keys(), readers ^ TEXT_READERS.keys()


@pytest.mark.parametrize("text", ["import re", "from re import sub", "x = body.splitlines()", "ast.parse(source)"])
def test_taking_text_apart_is_seen(text: str) -> None:
    assert takes_text_apart(f"def f(body):\n    {text}\n")
    assert not takes_text_apart("import ast\nwords = name.split('.')\n")


def product() -> Iterator[Path]:
    for folder, patterns in {
        "python": ("*.py", "*.j2"),
        "cpp": ("*.hpp", "*.h", "*.cpp"),
        "cmake": ("*.cmake", "*.py"),
    }.items():
        for pattern in patterns:
            yield from sorted((REPOSITORY / folder).rglob(pattern))


def test_files_are_short() -> None:
    long = {}
    for path in product():
        lines = len(path.read_text().splitlines())
        if lines > MOST_LINES:
            long[path.relative_to(REPOSITORY).as_posix()] = lines
    assert long.keys() == LONG_FILES.keys(), long


def test_functions_are_short() -> None:
    long = {}
    for path in product():
        name = path.relative_to(REPOSITORY).as_posix()
        if path.suffix in (".py", ".cpp", ".hpp", ".cmake"):
            for function, lines in functions(path):
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long[f"{name}: {function}"] = lines
    assert long.keys() == LONG_FUNCTIONS.keys(), long


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """The functions of a file, with their lines."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                first = node.body[0]
                has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
                yield node.name, node.end_lineno - node.lineno + 1 - docstring
        return
    # As clang-format leaves it: from a line that begins at the margin to the one that ends it. CMake's functions alike.
    begin, end = (
        (r"(?:function|macro)\((\w+)", r"end(?:function|macro)\(\)")
        if path.suffix == ".cmake"
        else (r"(?!(?:inline )?namespace|class|struct|enum|extern|union|#|//)(\S.*)\{", r"\}")
    )
    opened: tuple[str, int] | None = None
    for number, line in enumerate(text.splitlines()):
        if opened is None:
            match = re.match(begin, line)
            opened = (match[1].strip(), number) if match and not line.rstrip().endswith("}") else None
        elif re.match(end, line):
            yield opened[0].partition("(")[0].split(" ")[-1], number - opened[1] + 1
            opened = None
