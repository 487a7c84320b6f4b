"""What holds of the repository as a whole: one version, no traces of a machine, complete documentation links."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from aotbuild.spec import abi

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]

# Written in pieces, so that this file may hold what no file may hold.
FORBIDDEN = {
    "a path of somebody's machine": re.compile(r"(?<![\w.$}])/" + r"(?:home/[a-z]|root/|work/|Users/|opt/[a-z])"),
    "the address of a package registry": re.compile(
        "|".join(
            (
                "py" + r"pi\.org",
                "python" + r"hosted",
                "download\\.py" + r"torch\.org",
                "npm" + r"js\.",
                "crates" + r"\.io",
            )
        )
    ),
    "an unfinished part": re.compile("|".join(("TO" + "DO", "FIX" + "ME", r"\bXX" + "X\b"))),
}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.quick
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str) -> None:
    found = []
    for path in tracked_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if FORBIDDEN[what].search(line)
        ]
    assert not found, f"{what}:\n" + "\n".join(found)


@pytest.mark.quick
def test_no_tracked_file_is_large() -> None:
    large = [path.relative_to(ROOT) for path in tracked_files() if path.stat().st_size > 512 * 1024]
    assert not large


@pytest.mark.quick
def test_version_is_the_same_everywhere() -> None:
    def version(file: str, pattern: str) -> str:
        found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
        assert found, f"{file} has no version"
        return found[1]

    versions = {
        "pyproject.toml": version("pyproject.toml", r'^version = "(.+)"'),
        "Python package": version("python/aotbuild/__init__.py", r'^__version__ = "(.+)"'),
        "CMake package": version("cmake/aotbuildConfigVersion.cmake", r'PACKAGE_VERSION "(.+)"'),
        "changelog": version("CHANGELOG.md", r"^## (\d\S*)"),
    }
    assert len(set(versions.values())) == 1, versions
    major, minor, patch = (int(number) for number in versions["changelog"].split("."))
    header = "cpp/include/aotbuild/detail/version.h"
    assert version(header, r"^#define AOTBUILD_RELEASE (\d+)$") == str(10000 * major + 100 * minor + patch)
    assert version(header, r"^#define AOTBUILD_NAMESPACE (\w+)$") == f"v{major}_{minor}_{patch}"
    assert abi.release() == 10000 * major + 100 * minor + patch
    assert version("cpp/include/aotbuild/c_api.h", r"^#define AOTBUILD_ABI_VERSION (\d+)$") == str(abi.ABI_VERSION)


@pytest.mark.quick
def test_documentation_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
        for target in re.findall(
            r"\]\(([^)#]+)[^)]*\)", re.sub(r"(?m)^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.S)
        )
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not broken


@pytest.mark.quick
def test_documentation_has_no_line_over_120_columns() -> None:
    """Tables apart, as a row cannot be broken, and the page that the sweep writes of errors as they are."""
    long = [
        f"{page.name}:{number}"
        for page in PAGES
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert not long


@pytest.mark.quick
def test_documentation_says_what_things_are_not_with_not() -> None:
    """ "is not a model", and never "is no model"; that there is no such thing is another matter."""
    found = [
        f"{page.name}: {match[0]}"
        for page in PAGES
        if page.name != "coverage.md"  # errors as they are
        for match in re.finditer(r"(?<!\bthere )\b(?:is|are|was|were) no\b(?! longer).*", page.read_text())
    ]
    assert not found


@pytest.mark.quick
def test_commits_of_the_page_about_extending_change_at_most_five_files() -> None:
    def git(*words: str) -> list[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()

    if git("rev-parse", "--is-shallow-repository") == ["true"]:
        pytest.skip("a clone without its history")
    commits = re.findall(r"\| `([0-9a-f]{7,})` \|$", (ROOT / "docs/extending.md").read_text(), re.MULTILINE)
    assert len(commits) == 5
    for commit in commits:
        assert 1 <= len(git("diff-tree", "--no-commit-id", "--name-only", "-r", commit)) <= 5, commit


@pytest.mark.quick
def test_every_dependency_is_pinned_and_documented() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(
        r"^(?:dependencies|requires|examples|test|lint|benchmark) = \[(.*?)\]$", pyproject, re.MULTILINE | re.DOTALL
    )
    names = {re.split(r"[<>=!;\[]", entry)[0] for group in lists for entry in re.findall(r'"(.+?)"', group)} - {
        "aotbuild"
    }
    assert len(names) > 10
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    documented = (ROOT / "docs" / "dependencies.md").read_text()
    assert not names - pinned
    assert not [name for name in names if name not in documented]


@pytest.mark.quick
def test_presets_of_every_kind_have_the_same_names() -> None:
    presets = json.loads((ROOT / "CMakePresets.json").read_text())
    names = [
        {preset["name"] for preset in presets[kind] if not preset.get("hidden")}
        for kind in ("configurePresets", "buildPresets", "testPresets")
    ]
    assert names[0] == names[1] == names[2]
