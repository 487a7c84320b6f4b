// Generates tokens greedily: reads the prompt at once with prefill, and goes on token by token with decode.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "decoder.hpp"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::int64_t most_likely(const aotbuild::Tensor<float, 2>& logits) {
  const float* const first = logits.data();
  return std::max_element(first, first + logits.size(1)) - first;
}

struct Generated {
  std::vector<std::int64_t> tokens;
  double tokens_per_second;  // of decode
};

Generated generate(const Decoder& session, const std::vector<std::int64_t>& prompt, int count) {
  Generated generated{};
  const auto length = static_cast<std::int64_t>(prompt.size());
  std::int64_t token = most_likely(session.prefill({{prompt.data(), {1, length}}}).output);
  generated.tokens.push_back(token);
  const Clock::time_point start = Clock::now();
  for (int step = 1; step < count; ++step) {
    token = most_likely(session.decode({{&token, {1, 1}}}).output);
    generated.tokens.push_back(token);
  }
  generated.tokens_per_second = (count - 1) / seconds_since(start);
  return generated;
}

}  // namespace

int main(int argc, char** argv) try {
  int count = 32;
  int users = 1;
  aotbuild::Options options;
  std::vector<std::int64_t> prompt;
  for (int i = 1; i < argc; ++i) {
    const bool has_value = i + 1 < argc;
    if (std::strcmp(argv[i], "--tokens") == 0 && has_value) {
      count = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--users") == 0 && has_value) {
      users = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--threads") == 0 && has_value) {
      options.num_threads = std::atoi(argv[++i]);
    } else {
      prompt.push_back(std::atoll(argv[i]));
    }
  }
  if (prompt.empty() || count < 1 || users < 1) {
    std::fprintf(stderr, "usage: %s [--tokens n] [--users n] [--threads n] <token>...\n", argv[0]);
    return 2;
  }

  const Decoder model(options);
  for (int user = 0; user < users; ++user) {
    // Each user has a cache of its own; the weights are there once.
    const Generated generated = generate(model.new_session(), prompt, count);
    for (const std::int64_t token : generated.tokens) std::printf("%lld ", static_cast<long long>(token));
    std::printf("\n");
    std::fprintf(stderr, "%.1f tokens per second\n", generated.tokens_per_second);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "generate: %s\n", error.what());
  return 1;
}
