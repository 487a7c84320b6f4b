// A tuning bundle as `aotbuild tune bundle` writes it: the candidates of each kernel, and the launches to time.
#ifndef AOTBUILD_TOOLS_TUNE_BUNDLE_HPP_
#define AOTBUILD_TOOLS_TUNE_BUNDLE_HPP_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace aotbuild::tune {

// The version of the files; another is refused.
inline constexpr int kFormat = 3;

struct Range {
  std::size_t offset = 0;
  std::size_t size = 0;
};

// One argument of a launch: memory, or a number.
struct Argument {
  bool is_buffer = false;
  std::size_t nbytes = 0;
  std::string dtype;
  bool rotates = false;   // a launch finds other memory than the one before, so that none of it is in the cache
  bool has_data = false;  // else it is filled by its element type
  Range data;
  double number = 0;
  std::int64_t integer = 0;
};

struct Candidate {
  std::string config;  // JSON
  Range image;
  std::string symbol;
  unsigned threads = 0;
  unsigned shared_bytes = 0;
  unsigned cluster_blocks = 1;
  bool cooperative = false;
  std::size_t scratch_bytes = 0;  // a block; the last parameter but one is their address
  struct Grid {
    unsigned x, y, z;
  };
  std::vector<Grid> grids;  // of each case
};

struct Kernel {
  std::string key;
  std::string name;
  std::vector<std::string> parameters;       // "pointer", "null", or Triton's name of a type
  std::vector<std::vector<Argument>> cases;  // of the parameters that are not "null"
  std::vector<Candidate> candidates;         // the first is the choice without tuning
};

struct Bundle {
  std::string id;
  std::string target;
  std::string architecture;  // "sm_90"
  std::string versions;
  std::vector<Kernel> kernels;
  std::vector<unsigned char> images;
  std::vector<unsigned char> data;
};

// Throws Error, naming the file, for what is missing, of another version or inconsistent.
Bundle read_bundle(const std::string& folder);

}  // namespace aotbuild::tune

#endif  // AOTBUILD_TOOLS_TUNE_BUNDLE_HPP_
