"""Names of ASCII characters alone, as targets, C identifiers and files have them."""

from __future__ import annotations


def is_ascii_identifier(text: str, also: str = "") -> bool:
    """Whether ``text`` is letters, digits and underscores with no digit first, as a namespace, class or prefix of
    functions has to be. Characters of ``also`` may follow the first."""
    rest = "".join(character for character in text[1:] if character not in also)
    return text.isascii() and (text[:1] + rest).isidentifier()


def ascii_identifier(text: str) -> str:
    """``text`` as a C identifier: other characters become underscores, a leading digit gets one before it."""
    name = "".join(character if character.isascii() and character.isalnum() else "_" for character in text)
    return f"_{name}" if not name or name[0].isdigit() else name
