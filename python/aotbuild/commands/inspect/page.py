"""What was read of a model as one HTML page that refers to nothing outside itself, for light and dark screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jinja2

from aotbuild.commands.inspect.read import Inspected
from aotbuild.commands.inspect.text import facts

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("aotbuild.commands.inspect", "templates"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def as_html(about: Inspected) -> str:
    return _ENVIRONMENT.get_template("inspect.html.j2").render(
        name=about.name,
        size=f"{about.size:,}",
        models=[(model.target, facts(model)) for model in about.models],
        charts=[
            (title, _bars(sizes))
            for title, sizes in (("Bytes of the file", about.parts), ("Bytes of its functions", about.kernels))
            if sizes
        ],
    )


def _bars(sizes: Mapping[str, int]) -> Sequence[tuple[str, str, str]]:
    """Name, bytes, and the length of the bar in percent."""
    most = max(sizes.values())
    return [(name, f"{size:,}", f"{100 * size / most:.2f}") for name, size in sizes.items()]
