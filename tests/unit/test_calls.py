"""A model's call in Python: what the runner takes and returns is what the function that was compiled does."""

from __future__ import annotations

import collections
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import aotbuild
from aotbuild.spec.calls import Call, Node, Parameter

pytest.importorskip("aotbuild._runner", reason="aotbuild is not installed: run `make bootstrap`")

X = np.arange(3, dtype=np.float32)
TENSORS = Node("tensor"), Node("tensor", index=1)
RESULT = Node("tuple", items=(Node("tensor"), Node("number", index=1, value="int")))
Load = Callable[..., Any]


def constant(value: Any) -> Node:
    return Node("constant", value=value)


def either(name: str, value: Node | None, default: Node | None = None) -> Parameter:
    return Parameter(name, "positional_or_keyword", value, default)


@pytest.fixture
def load(echo_library: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """The model that multiplies its two tensors and tells the size of the first one, called as ``call`` says."""

    def load(parameters: tuple[Parameter, ...], result: Node = RESULT, **options: Any) -> Any:
        monkeypatch.setenv("ECHO_CALL", json.dumps(Call(parameters, result).as_json()))
        if "classes" in options:
            from aotbuild._runner import Runner

            return Runner(str(echo_library), **options)
        return aotbuild.load(echo_library, **options)

    return load


@dataclass
class Batch:
    x: Any
    scale: Any
    names: Any = None


class Pair(NamedTuple):
    x: Any
    scale: Any


TWO = Node("object", name="Batch", keys=("x", "scale", "names"), items=(*TENSORS, constant(None)))


@pytest.mark.parametrize(
    ("node", "values"),
    [
        (Node("tuple", items=TENSORS), [(X, 2.0), [X, 2.0], Pair(X, 2.0)]),
        (Node("list", items=TENSORS), [[X, 2.0], (X, 2.0), collections.deque([X, 2.0])]),
        (Node("dict", keys=(7, "a.b"), items=TENSORS), [{7: X, "a.b": 2.0}, {"a.b": 2.0, 7: X}]),
        (Node("dict", keys=((0, 1), None), items=TENSORS), [{(0, 1): X, None: 2.0}]),
        (Node("namedtuple", name="Pair", keys=("x", "scale"), items=TENSORS), [Pair(X, 2.0), (X, 2.0), Batch(X, 2.0)]),
        (TWO, [Batch(X, 2.0), {"x": X, "scale": 2.0}, {"x": X, "scale": 2.0, "names": None}, Pair(X, 2.0)]),
        (
            Node(
                "tuple",
                items=(Node("list", items=(TENSORS[0], constant(3))), Node("dict", keys=("s",), items=TENSORS[1:])),
            ),
            [([X, 3], {"s": np.float32(2)})],
        ),
    ],
)
def test_containers_of_tensors_are_arguments(load: Load, node: Node, values: list[Any]) -> None:
    model = load((either("both", node),))
    for value in values:
        scaled, size = model(value)
        np.testing.assert_array_equal(scaled, 2 * X)
        assert type(size) is int
        assert size == 3


@pytest.mark.parametrize(
    ("node", "value", "message"),
    [
        (Node("tuple", items=TENSORS), (X,), "input 'both' has 1 elements; the model was compiled with 2"),
        (
            Node("tuple", items=TENSORS),
            X,
            "input 'both' is of type ndarray; the model was compiled with a tuple of 2 there",
        ),
        (Node("list", items=TENSORS), None, "input 'both' is None; the model was compiled with a list of 2 there"),
        (Node("dict", keys=(7, "a.b"), items=TENSORS), {7: X}, r"misses the input 'both\['a.b'\]'"),
        (Node("dict", keys=(7, "a.b"), items=TENSORS), {"7": X, "a.b": X}, r"misses the input 'both\[7\]'"),
        (
            Node("dict", keys=("x", "s"), items=TENSORS),
            {"x": X, "s": X, "z": X},
            "input 'both.z' is an item that the model",
        ),
        (TWO, Batch(X, 2.0, "ab"), "input 'both.names' is 'ab', but the model was compiled with None"),
        (TWO, Batch(None, 2.0), "input 'both.x' is None, but the model was compiled with a tensor there"),
    ],
)
def test_other_containers_are_refused_by_their_path(load: Load, node: Node, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        load((either("both", node),))(value)


@pytest.mark.parametrize("value", [None, True, False, 0, 3, 2.0, "mode", math.inf, math.nan, 2**70])
def test_constants_have_to_be_those_that_were_compiled(load: Load, value: Any) -> None:
    model = load((either("x", TENSORS[0]), either("scale", TENSORS[1]), either("k", constant(value))))
    assert model(X, 1.0, value)[1] == model(X, 1.0, k=value)[1] == 3
    for other in (None, True, False, 0, 1, 0.0, 3, 3.0, 2, "other", [value]):
        if type(other) is type(value) and other == value:
            continue
        shown = "of type list" if isinstance(other, list) else repr(other)
        message = f"input 'k' is {shown}, but the model was compiled with {value!r}"
        with pytest.raises(TypeError) as error:
            model(X, 1.0, other)
        assert message in str(error.value)
    with pytest.raises(TypeError, match=r"misses the input 'k': echo\(x: float32\[n=1..1000\], options.scale: .*, k="):
        model(X, 1.0)


def test_numpy_scalars_are_the_numbers_that_they_hold(load: Load) -> None:
    model = load(
        (either("x", TENSORS[0]), either("s", TENSORS[1]), either("k", constant(3)), either("f", constant(0.5)))
    )
    assert model(X, 1.0, np.int64(3), np.float32(0.5))[1] == 3
    with pytest.raises(TypeError, match="input 'k' is of type int64, but the model was compiled with 3"):
        model(X, 1.0, np.int64(4), 0.5)


def test_a_default_that_was_compiled_may_be_left_out(load: Load) -> None:
    tensors = either("x", TENSORS[0]), either("scale", TENSORS[1], constant(None))
    same, other, unknown = (
        either("a", constant(2), constant(2)),
        either("b", constant(2), constant(3)),
        either("c", None),
    )
    model = load((*tensors, same, unknown))
    assert model(X, 1.0)[1] == model(X, 1.0, 2)[1] == 3
    assert model.signature.startswith("echo(x: float32[n=1..1000], options.scale: float32[]) -> (")
    with pytest.raises(TypeError, match="misses the input 'scale'"):
        model(X)
    with pytest.raises(TypeError, match="input 'c' was left out when the model was compiled; leave it out"):
        model(X, 1.0, c=object())
    model = load((*tensors, other))
    assert model(X, 1.0, 2)[1] == 3
    with pytest.raises(TypeError, match="input 'b' is left out, which is 3, but the model was compiled with 2"):
        model(X, 1.0)


def test_arguments_find_their_parameters_as_python_has_it(load: Load) -> None:
    rest = Parameter("rest", "var_positional", Node("tuple", items=TENSORS[1:]))
    more = Parameter("more", "var_keyword", Node("dict", keys=("k",), items=(constant(3),)))
    model = load((Parameter("x", "positional_only", TENSORS[0]), rest, more))
    assert model(X, 1.0, k=3)[1] == 3
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: model(x=X), "has no input 'x'"),
        (lambda: model(X, 1.0, 2.0, k=3), "input 'rest' has 2 elements; the model was compiled with 1"),
        (lambda: model(X, k=3), "misses the input 'rest'"),
        (lambda: model(X, 1.0), "misses the input 'k'"),
        (lambda: model(X, 1.0, k=3, j=3), "has no input 'j'"),
        (lambda: model(X, 1.0, k=4), "input 'k' is 4, but the model was compiled with 3"),
    ]
    for call, message in calls:
        with pytest.raises(TypeError, match=message):
            call()
    keyword = Parameter("scale", "keyword_only", TENSORS[1])
    none = Parameter("rest", "var_positional"), Parameter("more", "var_keyword")
    model = load((either("x", TENSORS[0]), none[0], keyword, none[1]))
    assert model(X, scale=1.0)[1] == model(scale=1.0, x=X)[1] == 3
    calls = [
        (lambda: model(X, 1.0), "takes 1 inputs in position, got 2"),
        (lambda: model(X, scale=1.0, z=1), "has no input 'z'"),
    ]
    for call, message in calls:
        with pytest.raises(TypeError, match=message):
            call()


SCALED, SIZE = Node("tensor"), Node("number", index=1, value="int")


def named(kind: str, name: str = "Out") -> Node:
    return Node(kind, name=name, keys=("scaled", "size"), items=(SCALED, SIZE))


def test_results_are_what_the_function_returned(load: Load) -> None:
    parameters = either("x", TENSORS[0]), either("scale", TENSORS[1])

    def result(node: Node) -> Any:
        return load(parameters, node)(X, 2.0)

    assert result(SIZE) == 3
    np.testing.assert_array_equal(result(SCALED), 2 * X)
    single = result(Node("tuple", items=(SCALED,)))
    assert type(single) is tuple
    assert len(single) == 1
    deep = result(
        Node(
            "list",
            items=(
                Node(
                    "tuple",
                    items=(SCALED, Node("list", items=(SIZE, constant(None)))),
                ),
                constant("s"),
            ),
        )
    )
    assert type(deep) is list
    assert type(deep[0]) is tuple
    assert deep[0][1:] == ([3, None],)
    assert deep[1] == "s"
    plain = result(Node("dict", keys=(1, "a.b"), items=(SCALED, SIZE)))
    assert type(plain) is dict
    assert list(plain) == [1, "a.b"]
    assert plain["a.b"] == 3
    assert result(Node("tuple")) == ()
    assert result(constant(None)) is None
    assert type(result(named("ordered_dict", ""))) is collections.OrderedDict
    assert type(result(Node("deque", items=(SCALED, SIZE)))) is collections.deque
    assert type(result(Node("opaque", name="Own", items=(SCALED, SIZE)))) is list


def test_results_of_classes_that_the_process_lacks_have_their_names(load: Load) -> None:
    parameters = either("x", TENSORS[0]), either("scale", TENSORS[1])
    pair = load(parameters, named("namedtuple", "Pair"))(X, 1.0)
    assert (type(pair).__name__, type(pair)._fields) == ("Pair", ("scaled", "size"))
    assert pair[1] == pair.size == 3
    thing = load(parameters, named("object", "Batch"))(X, 1.0)
    assert (type(thing).__name__, thing.size) == ("Batch", 3)
    output = load(parameters, named("mapping", "ModelOutput"))(X, 1.0)
    assert output.size == output["size"] == output[1] == output[-1] == 3
    assert list(output) == ["scaled", "size"]
    with pytest.raises(KeyError, match="logits"):
        output["logits"]
    with pytest.raises(IndexError):
        output[2]


def test_a_process_that_has_the_classes_gets_objects_of_them(load: Load) -> None:
    def flatten(value: Any) -> tuple[list[Any], Any]:
        return [value.x, value.scale], value.names

    opaque = Node("opaque", name="Batch", items=TENSORS)
    classes = [
        (Batch, None, flatten, "kept"),
        (Pair, lambda items: Pair(*items), None, None),
        (Batch, lambda items: Batch(*items), None, None),
    ]
    result = Node(
        "namedtuple",
        name="Pair",
        keys=("x", "scale"),
        items=(SCALED, Node("object", name="Batch", keys=("x", "scale"), items=(SIZE, SIZE))),
    )
    model = load((either("batch", opaque),), result, classes=classes)
    pair = model(Batch(X, 2.0, "kept"))
    assert type(pair) is Pair
    assert pair.scale == Batch(3, 3)
    with pytest.raises(
        TypeError, match="input 'batch' is a Batch of another structure than the one that the model was"
    ):
        model(Batch(X, 2.0, "other"))


def test_results_are_of_the_kind_that_was_asked_for(load: Load) -> None:
    torch = pytest.importorskip("torch")
    parameters = either("x", TENSORS[0]), either("scale", TENSORS[1])
    assert isinstance(load(parameters, SCALED, outputs="torch")(X, 1.0), torch.Tensor)
    assert isinstance(load(parameters, SCALED, outputs="numpy")(torch.ones(2), 1.0), np.ndarray)
    assert isinstance(load(parameters, SCALED)(torch.ones(2), 1.0), torch.Tensor)
    with pytest.raises(ValueError, match="outputs: 'jax' is neither 'numpy', 'torch' nor None"):
        load(parameters, outputs="jax")


def test_a_call_with_numpy_arrays_imports_no_torch(echo_library: Path) -> None:
    code = (
        "import sys, aotbuild, numpy\n"
        "outputs = aotbuild.load(sys.argv[1])(numpy.ones(2, 'float32'), {'scale': 2.0})\n"
        "sys.exit('torch' in sys.modules or float(outputs.scaled.sum()) != 4)"
    )
    assert subprocess.run([sys.executable, "-c", code, echo_library], check=False).returncode == 0
