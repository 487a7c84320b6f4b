#include "base/sha256.hpp"

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace aotbuild::detail {

namespace {

constexpr std::size_t kBlock = 64, kRounds = 64, kWords = 8;
using Words = std::array<std::uint32_t, kWords>;

constexpr std::uint32_t rotated(std::uint32_t value, int count) { return value >> count | value << (32 - count); }

// The first 32 bits of the fractions of the cube roots of the first 64 primes, and of the square roots of the first 8.
struct Constants {
  std::array<std::uint32_t, kRounds> rounds;
  Words begin;
};

Constants constants() {
  Constants made{};
  std::size_t count = 0;
  for (std::uint32_t number = 2; count < kRounds; ++number) {
    bool is_prime = true;
    for (std::uint32_t factor = 2; factor * factor <= number; ++factor) is_prime = is_prime && number % factor != 0;
    if (!is_prime) continue;
    const auto bits = [](double root) { return static_cast<std::uint32_t>((root - std::floor(root)) * 4294967296.0); };
    made.rounds[count] = bits(std::cbrt(static_cast<double>(number)));
    if (count < kWords) made.begin[count] = bits(std::sqrt(static_cast<double>(number)));
    ++count;
  }
  return made;
}

void add_block(const Constants& constant, const unsigned char* block, Words* state) {
  std::array<std::uint32_t, kRounds> schedule;
  for (std::size_t i = 0; i < 16; ++i) {
    schedule[i] = std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 |
                  std::uint32_t{block[4 * i + 2]} << 8 | std::uint32_t{block[4 * i + 3]};
  }
  for (std::size_t i = 16; i < kRounds; ++i) {
    const std::uint32_t a = schedule[i - 15], b = schedule[i - 2];
    schedule[i] = schedule[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + schedule[i - 7] +
                  (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
  }
  auto [a, b, c, d, e, f, g, h] = *state;
  for (std::size_t i = 0; i < kRounds; ++i) {
    const std::uint32_t first =
        h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + constant.rounds[i] + schedule[i];
    const std::uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  const Words mixed = {a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < kWords; ++i) (*state)[i] += mixed[i];
}

}  // namespace

std::string sha256_of(const unsigned char* data, std::size_t size) {
  const Constants constant = constants();
  Words state = constant.begin;
  std::size_t at = 0;
  for (; size - at >= kBlock; at += kBlock) add_block(constant, data + at, &state);
  // The rest, a bit that is set, zeros and the number of bits.
  std::array<unsigned char, 2 * kBlock> last{};
  const std::size_t rest = size - at;
  if (rest != 0) std::memcpy(last.data(), data + at, rest);
  last[rest] = 0x80;
  const std::size_t blocks = rest + 9 > kBlock ? 2 : 1;
  const std::uint64_t bits = std::uint64_t{size} * 8;
  for (std::size_t i = 0; i < 8; ++i) last[blocks * kBlock - 1 - i] = static_cast<unsigned char>(bits >> (8 * i));
  for (std::size_t i = 0; i < blocks; ++i) add_block(constant, last.data() + i * kBlock, &state);
  std::string digits;
  for (const std::uint32_t word : state) {
    for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[word >> shift & 15U];
  }
  return digits;
}

}  // namespace aotbuild::detail
