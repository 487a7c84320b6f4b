"""Makes the site of `make docs` in build/docs/site: stages the pages, lets MkDocs build them, and checks every link.

python docs/make_site.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "docs" / "pages"
SITE = ROOT / "build" / "docs" / "site"
# Files of the repository's top that are pages of the site.
OTHER_PAGES = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "security-policy.md", "CHANGELOG.md": "changes.md"}
# A picture that follows the system's scheme; that of the site can be chosen.
PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="(.*?)">\s*<img src="(.*?)"\s+alt="(.*?)">\s*</picture>', re.DOTALL
)
REFERENCE = """\
# Python reference

[From Python](python.md) shows how these are used.

::: aotbuild.api.compile.compile

::: aotbuild.api.compile.Compiled

::: aotbuild.api.runner.load

::: aotbuild.spec.model.Model

::: aotbuild.spec.model.Method
"""


def stage() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    shutil.copytree(ROOT / "docs" / "images", PAGES / "images")
    shutil.copy(ROOT / "docs" / "site.css", PAGES)
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = PICTURE.sub(r"![\3](\2#only-light)\n![\3](\1#only-dark)", page.read_text())
        (PAGES / page.name).write_text(_links_of_the_site(text, "../", ""))
    for name, page_name in OTHER_PAGES.items():
        (PAGES / page_name).write_text(_links_of_the_site((ROOT / name).read_text(), "", "docs/"))
    (PAGES / "python-reference.md").write_text(REFERENCE)


def _links_of_the_site(text: str, to_top: str, to_docs: str) -> str:
    """Links to pages lead to pages; those to other files of the repository become the names of these files."""

    def replace(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        if to_docs and path.startswith(to_docs):
            return f"[{words}]({path.removeprefix(to_docs)}{mark}{anchor})"
        if not path.startswith(to_top):
            return match[0]
        name = path.removeprefix(to_top)
        if name in OTHER_PAGES:
            return f"[{words}]({OTHER_PAGES[name]}{mark}{anchor})"
        return f"{words} (`{name}`)" if (ROOT / name).exists() else match[0]

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", replace, text)


class _Page(HTMLParser):
    """The links and anchors of a page, and whatever it would load from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loaded.append(given["src"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next") and "href" in given:
            self.loaded.append(given["href"])


def broken_links() -> Iterator[str]:
    """Links to pages, files and anchors that the site lacks, and what a page would load from elsewhere."""
    pages: dict[Path, _Page] = {}
    for path in sorted(SITE.rglob("*.html")):
        pages[path.resolve()] = parsed = _Page()
        parsed.feed(path.read_text())
    for path, page in pages.items():
        name = path.relative_to(SITE.resolve())
        if name.name == "404.html":
            continue
        for target in [*page.links, *page.loaded]:
            if re.match(r"\w+:|//", target):
                if target in page.loaded and not target.startswith("data:"):
                    yield f"{name} loads {target}"
                continue
            file, _, anchor = target.partition("#")
            where = (path.parent / unquote(file)).resolve() if file else path
            missing = anchor and where in pages and unquote(anchor) not in pages[where].anchors
            if missing or not where.exists():
                yield f"{name}: {target}"


def doxygen_warnings() -> str:
    """What Doxygen has to say of the headers, such as a public name without a comment; MkDoxy keeps it to itself."""
    folder = ROOT / "build" / "docs" / "doxygen"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = (ROOT / "docs" / "Doxyfile").read_text()
    settings += f"INPUT = cpp/include/aotbuild\nOUTPUT_DIRECTORY = {folder}\n"
    done = subprocess.run(["doxygen", "-"], input=settings, cwd=ROOT, capture_output=True, text=True, check=False)
    shutil.rmtree(folder)  # else MkDoxy takes it for its own
    return done.stderr or ("" if done.returncode == 0 else f"doxygen ended with {done.returncode}")


def main() -> int:
    stage()
    warnings = doxygen_warnings()
    if warnings:
        print(warnings)
        return 1
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", "docs/mkdocs.yml"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode != 0:
        return done.returncode
    broken = list(broken_links())
    print("\n".join(broken) if broken else f"{len(list(SITE.rglob('*.html')))} pages, every link leads somewhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
