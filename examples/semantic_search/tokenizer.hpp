// The tokenizer of uncased BERT models: text to token ids.
#ifndef SEMANTIC_SEARCH_TOKENIZER_HPP_
#define SEMANTIC_SEARCH_TOKENIZER_HPP_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace search {

// WordPiece with BERT's normalisation (https://github.com/google-research/bert, tokenization.py): control characters
// are left out, accents and case dropped, punctuation and CJK ideographs become words of their own, and each word is
// cut greedily into the longest pieces that the vocabulary has.
//
// The tables cover the Basic Multilingual Plane, Unicode 14; characters above it keep their marks and their case. Text
// that looks like a special token ("[SEP]") is text.
class WordPieceTokenizer {
 public:
  // `vocabulary_file` has one piece a line; the line's number is the id. Throws std::runtime_error.
  explicit WordPieceTokenizer(const std::string& vocabulary_file);

  // [CLS], the pieces of `text` (UTF-8), [SEP]: at most `max_length` ids.
  std::vector<std::int64_t> encode(std::string_view text, std::size_t max_length = 512) const;

 private:
  void append_word(const std::u32string& word, std::vector<std::int64_t>& ids) const;
  std::int64_t special(const std::string& token, const std::string& vocabulary_file) const;

  std::unordered_map<std::string, std::int64_t> vocabulary_;
  std::int64_t unknown_;
  std::int64_t begin_;
  std::int64_t end_;
};

}  // namespace search

#endif  // SEMANTIC_SEARCH_TOKENIZER_HPP_
