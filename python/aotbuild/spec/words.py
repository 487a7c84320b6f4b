"""The words of a call of CMake: which belong to which keyword, and what is wrong with them."""

from __future__ import annotations

from aotbuild.spec.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OF_KEYWORDS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@record
class Keywords:
    """The keywords of a function: those without a value, with one value, and with several."""

    flags: tuple[str, ...] = ()
    single: tuple[str, ...] = ()
    multiple: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        return self.flags + self.single + self.multiple


class Call:
    """A call's words by keyword, and its ``problems``, each a sentence for the user.

    ``given``: the keywords that were written, misspelt ones as what they stand for.
    """

    def __init__(self, words: Sequence[str], keywords: Keywords, *, has_target: bool = True) -> None:
        self.keywords = keywords
        self.given: list[str] = []
        self.problems: list[str] = []
        self._values: dict[str, list[str]] = {name: [] for name in keywords.all()}
        self._current = ""
        self._is_full = False  # a flag, or a keyword of one value that has it
        self._empty: set[str] = set()
        self._corrected: set[str] = set()
        self.target = ""
        for word in self._after_target(words) if has_target else words:
            self._take(word)
        for name in self.given:
            if not self._values[name] and name not in keywords.flags and name not in self._empty | self._corrected:
                self.problem(f"{name} needs a value; give it one, or leave it out")

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def has(self, keyword: str) -> bool:
        return keyword in self.given

    def one(self, keyword: str, default: str = "") -> str:
        """The value of a keyword that takes one."""
        values = self._values.get(keyword)
        return values[0] if values else default

    def many(self, keyword: str) -> list[str]:
        return self._values.get(keyword, [])

    def _after_target(self, words: Sequence[str]) -> Sequence[str]:
        first = words[0] if words else ""
        if first in self._values:
            self.problem(f"the target's name is missing before {first}; write it first")
            return words
        if not first:
            self.problem("the target's name is missing; write it first")
        self.target = first
        return words[1:]

    def _take(self, word: str) -> None:
        if word in self._values:
            if word in self.given:
                self.problem(f"{word} is given more than once; keep one of them")
            self._open(word)
            self._values[word] = []
            return
        suggestion = self._misspelt(word)
        if suggestion:
            self.problem(f'unknown keyword "{word}"; did you mean {suggestion}?')
            # What follows belongs to the misspelt keyword: read it as such, so that one slip is one problem.
            self._corrected.add(suggestion)
            self._open(suggestion)
        elif not self._current:
            self.problem(f'unexpected argument "{word}" before the first keyword; remove it, or write its keyword')
        elif not word:
            self._take_nothing()
        elif self._is_full:
            self._refuse_more(word)
        else:
            self._values[self._current].append(word)
            self._is_full = self._current in self.keywords.single

    def _open(self, keyword: str) -> None:
        self._current = keyword
        self._is_full = keyword in self.keywords.flags
        if keyword not in self.given:
            self.given.append(keyword)

    def _misspelt(self, word: str) -> str:
        takes_no_value = not self._current or self._is_full
        if _looks_like_keyword(word) and (takes_no_value or self._current not in self.keywords.single):
            return nearest(word, self.keywords.all())
        return word.upper() if word.upper() in self._values and takes_no_value else ""

    def _take_nothing(self) -> None:
        if self._is_full:
            self.problem(f"unexpected empty argument after {self._current}; remove it (a variable without a value?)")
            return
        self.problem(f"{self._current} has an empty value; give it one, or leave it out (a variable without a value?)")
        self._empty.add(self._current)
        self._is_full = self._current in self.keywords.single

    def _refuse_more(self, word: str) -> None:
        if _looks_like_keyword(word):
            self.problem(f'unknown keyword "{word}"; use one of the keywords below')
        elif self._current in self.keywords.flags:
            self.problem(f'{self._current} takes no value, got "{word}"; remove it, or write its keyword')
        else:
            self.problem(f'{self._current} takes one value, got also "{word}"; keep one of them, or write its keyword')


def _looks_like_keyword(word: str) -> bool:
    return len(word) > 1 and word[0].isalpha() and _OF_KEYWORDS.issuperset(word)


def words_of(text: str) -> list[str]:
    """The elements of a list of CMake's: semicolons part them, but behind a backslash and in square brackets."""
    if not text:
        return []
    words = [""]
    depth = 0
    characters = iter(text)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            words[-1] += following if following == ";" else character + following
            continue
        depth += (character == "[") - (character == "]")
        if character == ";" and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return words


def nearest(word: str, words: Iterable[str]) -> str:
    """The word that is meant: under a third of the longer one's characters differ, and at most three; or none."""
    best, found = 4, ""
    for candidate in words:
        if abs(len(word) - len(candidate)) > 3:
            continue
        distance = _edit_distance(word, candidate)
        if distance < best and 3 * distance < max(len(word), len(candidate)):
            best, found = distance, candidate
    return found


def _edit_distance(a: str, b: str) -> int:
    """Single characters that are to be changed, left out or added; a swap of neighbours counts as one."""
    rows = [list(range(len(b) + 1))]
    for i, left in enumerate(a):
        row = [i + 1]
        for j, right in enumerate(b):
            best = min(rows[i][j] + (left != right), rows[i][j + 1] + 1, row[j] + 1)
            if i and j and left == b[j - 1] and a[i - 1] == right:
                best = min(best, rows[i - 1][j - 1] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
