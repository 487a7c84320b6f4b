"""Values that are written as text: one grammar for PARAMS, OPTIONS, CONFIG and the keywords of kernels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from aotbuild.capture import load_source
from aotbuild.spec.config import read_config
from aotbuild.spec.launcher import parse_signature
from aotbuild.spec.values import parse

pytestmark = pytest.mark.quick

VALUES: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE", "on", "ON", "On"), True),
    **dict.fromkeys(("false", "False", "FALSE", "off", "OFF"), False),
    **dict.fromkeys(("none", "None", "NONE"), None),
    "0": 0,
    "-3": -3,
    "+3": 3,
    "1_000": 1000,
    "0x10": 16,
    "1.5": 1.5,
    "-1e-5": -1e-5,
    ".5": 0.5,
    "1.": 1.0,
    "2E3": 2000.0,
    "inf": math.inf,
    "-inf": -math.inf,
    "[]": [],
    "[1,2]": [1, 2],
    "[1, 2.5, true, None, a b]": [1, 2.5, True, None, "a b"],
    "[[1, 2], [3]]": [[1, 2], [3]],
    "['a', \"b,c\", 'it\\'s']": ["a", "b,c", "it's"],
    "()": (),
    "(1,)": (1,),
    "(1, off)": (1, False),
    "((1, 2),)": ((1, 2),),
    "{}": {},
    "{a: 1, 'b': [true]}": {"a": 1, "b": [True]},
    "'true'": "true",
    '"1"': "1",
    "''": "",
}
# What reads as nothing else is a string, as it stands.
TEXTS = (
    "",
    "a",
    "yes",
    "no",
    "y",
    "truely",
    "007",
    "1_",
    "1e",
    "1.2.3",
    "0xg",
    "-",
    ".",
    "1 2",
    "v1.0",
    " a ",
    "'a",
    "a'",
    "[1",
    "1]",
    "[1}",
    "[,]",
    "[1,,2]",
    "(1)",
    "(a)",
    "{1}",
    "{a: 1: 2}",
    "b'a'",
    "1j",
    "f(1)",
    "a=b",
    "None!",
    "((1, 2))",
    "{[1]: 2}",
)


@pytest.mark.parametrize("text", VALUES)
def test_values(text: str) -> None:
    value = parse(text)
    assert (value, type(value)) == (VALUES[text], type(VALUES[text]))
    assert math.isnan(parse("nan"))


@pytest.mark.parametrize("text", TEXTS)
def test_strings(text: str) -> None:
    assert parse(text) == text


@pytest.mark.parametrize("text", VALUES)
def test_what_python_writes_is_read_as_the_same(text: str) -> None:
    """CONFIG, a TOML file, and `aotbuild.compile` go through it."""
    value = VALUES[text]
    assert parse(repr(value)) == value
    assert type(parse(repr(value))) is type(value)
    assert parse(repr(text)) == text


def test_params_and_constants_of_kernels_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import torch\nSEEN = {}\n\ndef build(**given):\n"
                                       "    SEEN.update(given)\n    raise RuntimeError(repr(given))\n")  # fmt: skip
    values = {f"p{index}": text for index, text in enumerate([*VALUES, *TEXTS])}
    expected = {name: parse(text) for name, text in values.items()}
    with pytest.raises(Exception, match="build") as raised:
        load_source("model.py:build", values, tmp_path)
    assert repr(expected) in str(raised.value)
    texts = {name: text for name, text in values.items() if text}
    _, constants = parse_signature([f"{name}={text}" for name, text in texts.items() if not text.startswith("*")])
    assert constants == {name: expected[name] for name in texts}


def test_config_keeps_strings_strings(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("a = 'true'\nb = true\nc = [1, 'off']\nd = -inf\ne = 'none'\n[t]\nf = 8\n")
    read = {name: parse(text) for name, text in read_config(path).items()}
    assert read == {"a": "true", "b": True, "c": [1, "off"], "d": -math.inf, "e": "none", "t.f": 8}
