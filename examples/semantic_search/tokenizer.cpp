#include "tokenizer.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace search {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

struct Fold {
  char32_t from;
  char32_t to[4];
};

#include "unicode_tables.inc"

constexpr char32_t kReplacement = 0xFFFD;
constexpr std::size_t kMaxWordLength = 100;  // BERT's: longer words are unknown

template <std::size_t Count>
bool contains(const Range (&ranges)[Count], char32_t code) {
  const Range* const after = std::upper_bound(std::begin(ranges), std::end(ranges), code,
                                              [](char32_t value, const Range& range) { return value < range.first; });
  return after != std::begin(ranges) && code <= std::prev(after)->last;
}

// The next code point of UTF-8 text; U+FFFD for what is none.
char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(position++);
  if (lead < 0x80) return lead;
  const std::size_t continuation = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (lead < 0xC2 || lead > 0xF4) return kReplacement;
  char32_t code = lead & (0x3FU >> continuation);
  for (std::size_t i = 0; i < continuation; ++i) {
    if (position >= text.size() || (byte(position) & 0xC0U) != 0x80) return kReplacement;
    code = (code << 6) | (byte(position++) & 0x3FU);
  }
  constexpr char32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code < kSmallest[continuation] || surrogate || code > 0x10FFFF ? kReplacement : code;
}

void append_utf8(char32_t code, std::string& out) {
  const auto push = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    push(code);
  } else if (code < 0x800) {
    push(0xC0 | (code >> 6));
    push(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    push(0xE0 | (code >> 12));
    push(0x80 | ((code >> 6) & 0x3F));
    push(0x80 | (code & 0x3F));
  } else {
    push(0xF0 | (code >> 18));
    push(0x80 | ((code >> 12) & 0x3F));
    push(0x80 | ((code >> 6) & 0x3F));
    push(0x80 | (code & 0x3F));
  }
}

bool is_removed(char32_t code) {
  const bool ascii_control = (code < 0x20 && code != '\t' && code != '\n' && code != '\r') || code == 0x7F;
  return ascii_control || code == kReplacement || contains(kControls, code);
}

bool is_space(char32_t code) {
  return code == ' ' || code == '\t' || code == '\n' || code == '\r' || contains(kSpaces, code);
}

bool is_punctuation(char32_t code) {
  const bool ascii = (code >= 33 && code <= 47) || (code >= 58 && code <= 64) || (code >= 91 && code <= 96) ||
                     (code >= 123 && code <= 126);
  return ascii || contains(kPunctuation, code);
}

// The blocks of CJK ideographs that BERT sets apart. Hangul and kana are written with spaces, or treated so.
bool is_cjk(char32_t code) {
  static constexpr Range kBlocks[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},   {0x20000, 0x2A6DF},
                                      {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
  return contains(kBlocks, code);
}

// Without accents and in lower case: the canonical decomposition less its nonspacing marks.
void append_folded(char32_t code, std::u32string& out) {
  if (code < 0x80) {
    out.push_back(code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code);
    return;
  }
  if (contains(kMarks, code)) return;
  if (code >= 0xAC00 && code <= 0xD7A3) {  // Hangul syllables, by the rule of the Unicode standard, 3.12
    const char32_t index = code - 0xAC00;
    out.push_back(0x1100 + index / 588);
    out.push_back(0x1161 + index % 588 / 28);
    if (index % 28 != 0) out.push_back(0x11A7 + index % 28);
    return;
  }
  const Fold* const fold = std::lower_bound(std::begin(kFolds), std::end(kFolds), code,
                                            [](const Fold& entry, char32_t value) { return entry.from < value; });
  if (fold == std::end(kFolds) || fold->from != code) {
    out.push_back(code);
  } else {
    out += fold->to;
  }
}

std::vector<std::u32string> words_of(std::string_view text) {
  std::vector<std::u32string> words;
  std::u32string word;
  const auto finish = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  std::u32string folded;
  for (std::size_t position = 0; position < text.size();) {
    const char32_t code = next_code_point(text, position);
    if (is_removed(code)) continue;
    if (is_space(code)) {
      finish();
      continue;
    }
    folded.clear();
    append_folded(code, folded);
    const bool apart = is_cjk(code);
    if (apart) finish();
    for (const char32_t part : folded) {
      // Folding may give a space or punctuation, as U+037E gives a semicolon.
      if (is_space(part)) {
        finish();
      } else if (is_punctuation(part)) {
        finish();
        words.push_back({part});
      } else {
        word.push_back(part);
      }
    }
    if (apart) finish();
  }
  finish();
  return words;
}

}  // namespace

WordPieceTokenizer::WordPieceTokenizer(const std::string& vocabulary_file) {
  std::ifstream stream(vocabulary_file);
  if (!stream) throw std::runtime_error("cannot open the vocabulary " + vocabulary_file);
  std::string piece;
  for (std::int64_t id = 0; std::getline(stream, piece); ++id) {
    if (!piece.empty() && piece.back() == '\r') piece.pop_back();
    vocabulary_.emplace(piece, id);
  }
  unknown_ = special("[UNK]", vocabulary_file);
  begin_ = special("[CLS]", vocabulary_file);
  end_ = special("[SEP]", vocabulary_file);
}

std::int64_t WordPieceTokenizer::special(const std::string& token, const std::string& vocabulary_file) const {
  const auto found = vocabulary_.find(token);
  if (found == vocabulary_.end()) {
    throw std::runtime_error(vocabulary_file + " is no BERT vocabulary: it has no " + token);
  }
  return found->second;
}

std::vector<std::int64_t> WordPieceTokenizer::encode(std::string_view text, std::size_t max_length) const {
  std::vector<std::int64_t> ids = {begin_};
  for (const std::u32string& word : words_of(text)) {
    if (ids.size() >= max_length) break;
    append_word(word, ids);
  }
  if (ids.size() > max_length - 1) ids.resize(max_length - 1);
  ids.push_back(end_);
  return ids;
}

void WordPieceTokenizer::append_word(const std::u32string& word, std::vector<std::int64_t>& ids) const {
  if (word.size() > kMaxWordLength) {
    ids.push_back(unknown_);
    return;
  }
  // The word in UTF-8, with the byte offset of each character.
  std::string bytes;
  std::vector<std::size_t> offsets;
  for (const char32_t code : word) {
    offsets.push_back(bytes.size());
    append_utf8(code, bytes);
  }
  offsets.push_back(bytes.size());

  const std::size_t first_id = ids.size();
  std::string piece;
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t end = word.size();
    for (; end > begin; --end) {
      piece.assign(begin > 0 ? "##" : "");
      piece.append(bytes, offsets[begin], offsets[end] - offsets[begin]);
      const auto found = vocabulary_.find(piece);
      if (found == vocabulary_.end()) continue;
      ids.push_back(found->second);
      break;
    }
    if (end == begin) {  // one piece is unknown, so the word is
      ids.resize(first_id);
      ids.push_back(unknown_);
      return;
    }
    begin = end;
  }
}

}  // namespace search
