"""What a plan is made of: the modules that it loads, records, and the forms of names and values."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from aotbuild.spec.ascii_names import ascii_identifier, is_ascii_identifier
from aotbuild.spec.checks import is_number
from aotbuild.spec.dynamic import dynamic_shape_problems
from aotbuild.spec.functions import FUNCTIONS, PLANNED
from aotbuild.spec.place import Place
from aotbuild.spec.plan import plan
from aotbuild.spec.record import record

pytestmark = pytest.mark.quick
REPOSITORY = Path(__file__).parents[2]
# Each takes longer to load than a plan takes to make.
SLOW = {"collections", "dataclasses", "enum", "functools", "inspect", "json", "pathlib", "re", "typing"}


@record
class Point:
    x: int
    y: int = 2
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("add_aot_model", "net MODEL net.py:build METHODS a b DYNAMIC_SHAPES x:0=1..8 PARAMS n=1 CPU_ISA avx2 avx512"),
        ("add_aot_model", "net MODEL net.py:build DEVICE cuda CUDA_ARCHITECTURES 80 90 RTOL 1e-3 NAMESPACE a::b"),
        ("add_aot_kernel", "net KERNEL net.py:f SIGNATURE x=*fp32 GRID n CONFIGS b=1 CUDA_ARCHITECTURES 90"),
        ("aotbuild_install", "TARGETS net PACKAGE nets"),
    ],
)
def test_a_plan_loads_little(function: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").touch()
    script, package = REPOSITORY / "cmake/private/plan.py", REPOSITORY / "python"
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-X", "importtime", script, package, function),
            *(f"source_dir={tmp_path}", "form=cmake", "--", *words.split()),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("set(plan_"), done.stdout
    assert "set(plan_message [=[\n]=])" in done.stdout or "set(plan_problems [=[\n]=])" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "aotbuild.spec.plan" in loaded
    assert SLOW & loaded == set()


@pytest.mark.parametrize("function", sorted(PLANNED))
@pytest.mark.parametrize("values", [(), ("",)])
def test_a_keyword_without_values_is_a_problem(function: str, values: tuple[str, ...], tmp_path: Path) -> None:
    """Also one of several values that its own check reads: no check takes a value for there."""
    (tmp_path / "net.py").touch()
    place = Place(str(tmp_path), str(tmp_path / "build"), str(tmp_path), "x86_64", ("90",))
    keywords = FUNCTIONS[function]
    needed = {"MODEL": "net.py:build", "KERNEL": "net.py:f", "SIGNATURE": "x=*fp32", "GRID": "n"}
    for keyword in keywords.all():
        for device in ("cpu", "cuda"):
            others = {name: value for name, value in {**needed, "DEVICE": device}.items() if name in keywords.all()}
            words = [word for name, value in others.items() if name != keyword for word in (name, value)]
            message = plan(function, ["net", *words, keyword, *values], place)["message"]
            if keyword not in keywords.flags:
                assert f"  - {keyword} " in message, (keyword, message)


def test_a_record_is_a_frozen_dataclass() -> None:
    point = Point(1, names=("a",))
    assert (point.x, point.y, point.names) == (1, 2, ("a",))
    assert repr(point) == "Point(x=1, y=2, names=('a',))"
    assert point == Point(names=("a",), y=2, x=1) == pickle.loads(pickle.dumps(point))
    assert len({point, Point(1, 2, ("a",)), Point(1), Point(1, 3)}) == 3
    with pytest.raises(AttributeError, match="Point is read only: x"):
        setattr(point, "x", 3)  # noqa: B010 - mypy refuses the statement
    with pytest.raises(AttributeError, match="Point is read only: x"):
        delattr(point, "x")


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, (), 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"z": 1})]
)
def test_a_record_takes_its_fields_alone(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point takes x, y, names"):
        Point(*values, **named)  # type: ignore[arg-type]


def test_names_of_ascii() -> None:
    assert [is_ascii_identifier(text) for text in ("a1_", "_", "", "1a", "a-b", "é", "a.b")] == [True] * 2 + [False] * 5
    assert [is_ascii_identifier(text, also=".-") for text in ("a.b-", "a", ".a", "-", "a+")] == [True] * 2 + [False] * 3
    assert [ascii_identifier(text) for text in ("a.b", "1a", "é²", "", "a_1")] == ["a_b", "_1a", "__", "_", "a_1"]


@pytest.mark.parametrize("text", ["1", "1.", ".5", "1.5", "1e-4", "1E+4", "0.e1"])
def test_numbers(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["-1", "+1", ".", "e1", "1e", "inf", "nan", "1_0", " 1", "0x1", "1.5.2", "٣"])
def test_no_numbers(text: str) -> None:
    assert not is_number(text)


@pytest.mark.parametrize("entry", ["x:0=1..2", "größe:10=0..", "a b:1=1..2"])
def test_entries_of_dynamic_shapes(entry: str) -> None:
    assert list(dynamic_shape_problems([entry])) == []


@pytest.mark.parametrize(
    "entry", ["x", "x:0", "x:0=1", "x:0=1.2", "x:0=1...2", ":0=1..2", "x:y:0=1..2", "x:01=1..2", "x:²=1..2", "x:0=..2"]
)
def test_no_entries_of_dynamic_shapes(entry: str) -> None:
    assert [f'"{entry}" is not input:dim=min..max' in problem for problem in dynamic_shape_problems([entry])] == [True]
