// Timing of one kernel's candidates on a device, over the driver alone.
#ifndef AOTBUILD_TOOLS_TUNE_MEASURE_HPP_
#define AOTBUILD_TOOLS_TUNE_MEASURE_HPP_

#include <cstddef>
#include <memory>
#include <vector>

#include "bundle.hpp"
#include "cuda/device.hpp"
#include "results.hpp"

namespace aotbuild::tune {

// An error after which this process can use the device no more; another process can.
class DeviceLost : public detail::Error {
 public:
  using Error::Error;
};

// The device that candidates run on.
class Bench {
 public:
  // Throws Error, also for a device that the bundle is not for.
  Bench(const Bundle& bundle, int device);
  ~Bench();
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  Machine machine() const { return machine_; }

 private:
  friend class KernelBench;
  void check(int result, const char* function) const;
  const detail::cuda::Driver& driver() const { return device_->driver(); }

  std::shared_ptr<detail::cuda::CudaDevice> device_;
  std::unique_ptr<detail::cuda::ContextScope> scope_;
  detail::cuda::Stream stream_ = nullptr;
  detail::cuda::Event begin_ = nullptr;
  detail::cuda::Event end_ = nullptr;
  std::size_t cache_bytes_ = 0;
  Machine machine_;
};

// The memory that one kernel's candidates share, and what the first candidate computes there.
class KernelBench {
 public:
  // Throws Error, for example where there is not enough memory.
  KernelBench(Bench& bench, const Bundle& bundle, const Kernel& kernel);
  ~KernelBench();
  KernelBench(const KernelBench&) = delete;
  KernelBench& operator=(const KernelBench&) = delete;

  // Keeps the candidate's outputs as those that others have to have. Throws Error.
  void set_reference(const Candidate& candidate);
  bool has_reference() const { return has_reference_; }

  // Times a candidate, and stops early when it is clearly slower than `best`, times of each case or empty. Its outputs
  // are compared with the reference. Throws DeviceLost; other errors are the outcome.
  Outcome measure(const Candidate& candidate, const std::vector<double>& best);

 private:
  struct Case;
  class Loaded;
  void make_case(std::size_t index);
  void release() noexcept;
  void run_once(const Loaded& loaded, Case& one);
  double time(const Loaded& loaded, Case& one, double best, bool* is_slow);

  Bench& bench_;
  const Bundle& bundle_;
  const Kernel& kernel_;
  std::vector<std::unique_ptr<Case>> cases_;
  bool has_reference_ = false;
};

}  // namespace aotbuild::tune

#endif  // AOTBUILD_TOOLS_TUNE_MEASURE_HPP_
