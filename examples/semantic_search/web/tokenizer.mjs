// BERT's uncased WordPiece: text to token ids, as tokenizer.cpp has it, by the Unicode properties of JavaScript.

const REMOVED = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\uFFFD]/u; // but for tabs and ends of lines
const SPACE = /\s/u;
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/u;
const IDEOGRAPH =
  /[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/u;
const LONGEST_WORD = 100; // BERT's: longer words are unknown

// Without accents and in lower case.
function folded(character) {
  return Array.from(character.normalize("NFD").replace(/\p{Mn}/gu, ""), (part) => part.toLowerCase()).join("");
}

// The words of a text, each an array of characters.
function wordsOf(text) {
  const words = [];
  let word = [];
  const finish = () => {
    if (word.length > 0) words.push(word);
    word = [];
  };
  for (const character of text) {
    if (REMOVED.test(character) && !"\t\n\r".includes(character)) continue;
    const isApart = IDEOGRAPH.test(character);
    if (isApart || SPACE.test(character)) finish();
    for (const part of folded(character)) {
      if (SPACE.test(part)) {
        finish();
      } else if (PUNCTUATION.test(part)) {
        finish();
        words.push([part]);
      } else {
        word.push(part);
      }
    }
    if (isApart) finish();
  }
  finish();
  return words;
}

export class Tokenizer {
  #ids;

  // The vocabulary has one piece a line; the line's number is the id.
  constructor(vocabulary) {
    this.#ids = new Map(vocabulary.split("\n").map((line, id) => [line.replace(/\r$/, ""), id]));
    for (const token of ["[UNK]", "[CLS]", "[SEP]"]) {
      if (!this.#ids.has(token)) throw new Error(`the vocabulary is not one of BERT's: it has no ${token}`);
    }
  }

  // [CLS], the pieces of the text, [SEP]: at most `most` ids.
  encode(text, most = 512) {
    const ids = [this.#ids.get("[CLS]")];
    for (const word of wordsOf(text)) {
      if (ids.length >= most) break;
      ids.push(...this.#pieces(word));
    }
    return [...ids.slice(0, most - 1), this.#ids.get("[SEP]")];
  }

  // The longest pieces that the vocabulary has, from the left; a word with an unknown piece is unknown.
  #pieces(word) {
    const unknown = [this.#ids.get("[UNK]")];
    if (word.length > LONGEST_WORD) return unknown;
    const ids = [];
    for (let begin = 0, end; begin < word.length; begin = end) {
      let id;
      for (end = word.length; end > begin; --end) {
        id = this.#ids.get((begin > 0 ? "##" : "") + word.slice(begin, end).join(""));
        if (id !== undefined) break;
      }
      if (end === begin) return unknown;
      ids.push(id);
    }
    return ids;
  }
}
