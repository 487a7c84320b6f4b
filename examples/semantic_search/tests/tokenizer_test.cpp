// Compares the tokenizer with ids that the Python package `tokenizers` gave: see record_tokenizer_cases.py.
#include "tokenizer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::string vocabulary_file;
std::string cases_file;

TEST(Tokenizer, GivesTheIdsOfTheReference) {
  const search::WordPieceTokenizer tokenizer(vocabulary_file);
  std::ifstream stream(cases_file);
  int count = 0;
  for (std::string text, ids; std::getline(stream, text) && std::getline(stream, ids); ++count) {
    std::istringstream numbers(ids);
    std::vector<std::int64_t> expected;
    for (std::int64_t id = 0; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(tokenizer.encode(nlohmann::json::parse(text).get<std::string>()), expected) << "text: " << text;
  }
  EXPECT_GE(count, 200);
}

TEST(Tokenizer, CutsLongTextsAndKeepsTheLastToken) {
  const search::WordPieceTokenizer tokenizer(vocabulary_file);
  const std::vector<std::int64_t> all = tokenizer.encode("one two three four five six seven");
  const std::vector<std::int64_t> cut = tokenizer.encode("one two three four five six seven", 5);
  EXPECT_EQ(cut, (std::vector<std::int64_t>{all[0], all[1], all[2], all[3], all.back()}));
}

TEST(Tokenizer, LeavesOutWhatIsNoUtf8) {
  const search::WordPieceTokenizer tokenizer(vocabulary_file);
  EXPECT_EQ(tokenizer.encode("he\xFFllo\xC0\xAF \xED\xA0\x80world\xE2\x82"), tokenizer.encode("hello world"));
}

TEST(Tokenizer, NamesAVocabularyThatItCannotUse) {
  EXPECT_THROW(search::WordPieceTokenizer("does-not-exist.txt"), std::runtime_error);
  EXPECT_THROW(search::WordPieceTokenizer{cases_file}, std::runtime_error);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc != 3) return 2;
  vocabulary_file = argv[1];
  cases_file = argv[2];
  return RUN_ALL_TESTS();
}
