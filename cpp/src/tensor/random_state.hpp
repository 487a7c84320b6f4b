// The state of a model's random numbers on the CPU.
#ifndef AOTBUILD_SRC_TENSOR_RANDOM_STATE_HPP_
#define AOTBUILD_SRC_TENSOR_RANDOM_STATE_HPP_

#include <cstdint>
#include <memory>
#include <mutex>

namespace aotbuild::detail {

// torch's seed before torch.manual_seed is called (c10::detail default_rng_seed_val).
inline constexpr std::uint64_t kDefaultSeed = 67280421310721;

// Calls that draw at the same time take turns. The generator itself is made, and known, by shim_cpu_random.cpp alone:
// programs whose models draw nothing are linked without it.
struct RandomState {
  void manual_seed(std::uint64_t value) {
    const std::lock_guard<std::mutex> lock(mutex);
    seed = value;
    generator.reset();
  }

  std::mutex mutex;
  std::uint64_t seed = kDefaultSeed;
  std::shared_ptr<void> generator;  // null: none was asked for since the seed was set
};

}  // namespace aotbuild::detail

#endif  // AOTBUILD_SRC_TENSOR_RANDOM_STATE_HPP_
