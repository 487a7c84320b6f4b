// One run over a bundle's kernels, from where the results file has got to.
#ifndef AOTBUILD_TOOLS_TUNE_RUN_HPP_
#define AOTBUILD_TOOLS_TUNE_RUN_HPP_

#include <string>

namespace aotbuild::tune {

struct RunOptions {
  std::string bundle;
  std::string results;
  int device = 0;
  unsigned shard = 0;  // takes every `shards`-th kernel
  unsigned shards = 1;
  double time_limit = 0;   // seconds; 0: none
  double hang_limit = 60;  // seconds without a result until a candidate counts as hanging
};

// Measures what has no result yet. Whatever ends a process that measures, a candidate that crashes, hangs or loses the
// device, another takes over behind it. Returns the exit status.
int run(const RunOptions& options);

}  // namespace aotbuild::tune

#endif  // AOTBUILD_TOOLS_TUNE_RUN_HPP_
