// What both cold-start programs share: token ids from a file, the answer to standard output, the peak memory.
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace cold_start {

constexpr std::int64_t kBatch = 1;

struct Tokens {
  std::vector<std::int64_t> ids;
  std::vector<std::int64_t> mask;

  std::int64_t length() const { return static_cast<std::int64_t>(ids.size()) / kBatch; }
};

// The file holds the ids and then the mask, int64.
inline Tokens read_tokens(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto count = static_cast<std::size_t>(file.tellg()) / sizeof(std::int64_t) / 2;
  file.seekg(0);
  Tokens tokens{std::vector<std::int64_t>(count), std::vector<std::int64_t>(count)};
  for (std::vector<std::int64_t>* part : {&tokens.ids, &tokens.mask}) {
    file.read(reinterpret_cast<char*>(part->data()), static_cast<std::streamsize>(part->size() * sizeof(std::int64_t)));
  }
  if (!file) throw std::runtime_error(std::string(path) + " does not hold the tokens of one call");
  return tokens;
}

// Writes the embeddings and then, for the harness, the largest resident memory of this process so far.
inline void answer(const float* embeddings, std::size_t count) {
  std::fwrite(embeddings, sizeof(float), count, stdout);
  std::fflush(stdout);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) std::cerr << line << '\n';
  }
}

}  // namespace cold_start
