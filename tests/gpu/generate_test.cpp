// Text generation on a GPU: a decoder whose cache is a session's state gives eager PyTorch's tokens, and how fast.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "generator.hpp"

namespace {

using gpu::generator::Model;
using Tokens = std::vector<std::int64_t>;
using Logits = aotbuild::Tensor<float, 2>;
using Clock = std::chrono::steady_clock;

struct Sequence {
  Tokens prompt;
  Tokens tokens;  // that eager PyTorch generates
};

std::string folder_of_program;  // NOLINT: set by main

Tokens next_line(std::ifstream& file) {
  std::string line;
  std::getline(file, line);
  std::istringstream numbers(line);
  Tokens tokens;
  for (std::int64_t token = 0; numbers >> token;) tokens.push_back(token);
  return tokens;
}

const std::vector<Sequence>& sequences() {
  static const std::vector<Sequence> read = [] {
    std::ifstream file(folder_of_program + "generator.tokens");
    std::vector<Sequence> sequences;
    while (file.peek() != std::ifstream::traits_type::eof()) {
      Tokens prompt = next_line(file);
      sequences.push_back({prompt, next_line(file)});
    }
    if (sequences.size() < 2) throw std::runtime_error("generator.tokens is not beside the program");
    return sequences;
  }();
  return read;
}

// The weights and kernels of all tests.
const Model& model() {
  static const Model instance;
  return instance;
}

std::int64_t most_likely(const Logits& logits) {
  const float* const first = logits.data();
  return std::max_element(first, first + logits.size(1)) - first;
}

Logits prefill(const Model& session, const Tokens& prompt) {
  return session.prefill({{prompt.data(), {1, prompt.size()}}}).output;
}
Logits decode(const Model& session, std::int64_t token) { return session.decode({{&token, {1, 1}}}).output; }
Logits decode_sliced(const Model& session, std::int64_t token) {
  return session.decode_sliced({{&token, {1, 1}}}).output;
}
using Decode = Logits (*)(const Model&, std::int64_t);

Tokens generate(const Model& session, const Sequence& sequence, Decode next) {
  Tokens tokens = {most_likely(prefill(session, sequence.prompt))};
  while (tokens.size() < sequence.tokens.size()) tokens.push_back(most_likely(next(session, tokens.back())));
  return tokens;
}

TEST(Generate, TheTokensOfEagerPyTorchWhicheverWayThePositionGoes) {
  for (const Sequence& sequence : sequences()) {
    EXPECT_EQ(generate(model().new_session(), sequence, decode), sequence.tokens);
    EXPECT_EQ(generate(model().new_session(), sequence, decode_sliced), sequence.tokens);
  }
}

TEST(Generate, SessionsInTurnsDoNotDisturbEachOther) {
  std::vector<Model> sessions;
  std::vector<Tokens> made;
  for (const Sequence& sequence : sequences()) {
    sessions.push_back(model().new_session());
    made.push_back({most_likely(prefill(sessions.back(), sequence.prompt))});
  }
  for (std::size_t step = 1; step < sequences()[0].tokens.size(); ++step) {
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      made[i].push_back(most_likely(decode(sessions[i], made[i].back())));
    }
  }
  for (std::size_t i = 0; i < sessions.size(); ++i) EXPECT_EQ(made[i], sequences()[i].tokens) << i;
}

TEST(Generate, NextSequencesAllocateNothing) {
  const Model session = model().new_session();
  const Sequence& sequence = sequences()[0];
  for (int round = 0; round < 2; ++round) generate(session, sequence, decode);
  const aotbuild_statistics before = session.statistics();
  EXPECT_EQ(generate(session, sequence, decode), sequence.tokens);
  const aotbuild_statistics after = session.statistics();
  EXPECT_EQ(after.driver_allocations, before.driver_allocations);
  EXPECT_EQ(after.graph_captures, before.graph_captures);
  EXPECT_EQ(after.graph_replays - before.graph_replays, sequence.tokens.size());
}

TEST(Generate, ASessionWhoseCacheIsFullSaysSoAndOthersGoOn) {
  const Model session = model().new_session();
  prefill(session, {1});
  for (int i = 1; i < 256; ++i) decode_sliced(session, i);
  EXPECT_THROW(decode_sliced(session, 1), aotbuild::Error);
  EXPECT_EQ(generate(model().new_session(), sequences()[0], decode), sequences()[0].tokens);
}

// Not a test of speed: prints the median of some sequences.
TEST(Generate, TokensPerSecond) {
  aotbuild::Options without_graphs;
  without_graphs.cuda_graphs = -1;
  const Model launching(without_graphs);
  const struct {
    const char* name;
    const Model& model;
    Decode next;
  } ways[] = {{"position on the GPU, CUDA graphs", model(), decode},
              {"position on the GPU, kernels launched", launching, decode},
              {"position read by the host", model(), decode_sliced}};
  for (const auto& way : ways) {
    const Model session = way.model.new_session();
    std::vector<double> rates;
    for (int round = 0; round < 7; ++round) {
      std::int64_t token = most_likely(prefill(session, sequences()[0].prompt));
      const Clock::time_point start = Clock::now();
      const std::size_t count = sequences()[0].tokens.size() - 1;
      for (std::size_t i = 0; i < count; ++i) token = most_likely(way.next(session, token));
      rates.push_back(static_cast<double>(count) / std::chrono::duration<double>(Clock::now() - start).count());
      EXPECT_EQ(token, sequences()[0].tokens.back());
    }
    std::sort(rates.begin(), rates.end());
    std::printf("%-40s %8.0f tokens per second\n", way.name, rates[rates.size() / 2]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::string program = argv[0];
  folder_of_program = program.substr(0, program.rfind('/') + 1);
  return RUN_ALL_TESTS();
}
