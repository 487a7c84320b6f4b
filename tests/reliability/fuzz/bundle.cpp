// A tuning bundle and a file of results, as `aotbuild-tune` reads them on the machine with the device: the first byte
// says which of both the others are. They are read, or refused with a message that names the file.
#include "bundle.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/error.hpp"
#include "compare.hpp"
#include "promises.hpp"
#include "results.hpp"

namespace {

using namespace aotbuild::fuzz;
using namespace aotbuild::tune;

constexpr std::size_t kMostBytes = 1U << 16;

void write_file(const std::string& path, const void* data, std::size_t size) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
}

template <typename Read>
void attempt(const std::string& path, const Read& read) {
  try {
    read();
  } catch (const aotbuild::detail::Error& error) {
    require(std::strstr(error.what(), path.c_str()) != nullptr,
            std::string("the message names the file: ") + error.what());
  }
}

// A folder of this process in memory.
const std::string& folder() {
  static const std::string path = [] {
    std::string made = "/dev/shm/aotbuild_fuzz_XXXXXX";
    require(mkdtemp(made.data()) != nullptr, "a folder can be made");
    return made;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const bool is_ready = [] {
    const std::string images(256, 'i'), values(256, 'v');
    write_file(folder() + "/images.bin", images.data(), images.size());
    write_file(folder() + "/data.bin", values.data(), values.size());
    return true;
  }();
  require(is_ready, "the other files of a bundle");
  const std::string bundle_path = folder() + "/bundle.json", results_path = folder() + "/results.jsonl";
  if (data[0] % 2 == 0) {
    write_file(bundle_path, data + 1, size - 1);
    attempt(bundle_path, [&] {
      const Bundle bundle = read_bundle(folder());
      std::mt19937_64 random;
      for (const Kernel& kernel : bundle.kernels) {
        for (const auto& arguments : kernel.cases) {
          for (const Argument& argument : arguments) {
            if (!argument.is_buffer || argument.nbytes > kMostBytes) continue;
            const std::vector<unsigned char> value = initial_value(argument, bundle, random);
            require(value.size() == argument.nbytes, "a buffer's value has its size");
            require(difference(argument.dtype, value, value).empty() || argument.dtype.empty(),
                    "a value equals itself");
          }
        }
        for (const Candidate& candidate : kernel.candidates) {
          require(candidate.image.offset + candidate.image.size <= bundle.images.size(), "an image lies in its file");
        }
      }
    });
    return 0;
  }
  write_file(results_path, data + 1, size - 1);
  Bundle bundle;
  bundle.id = "id";
  bool was_written = false;
  attempt(results_path, [&] {
    Results results(results_path, bundle);
    results.begin({"device", 90, 12040});
    results.start("kernel", 0);
    results.finish("kernel", 0, {});
    require(results.find("kernel", 0) != nullptr, "what was added is found");
    was_written = true;
  });
  // What this run has added is what the next one finds.
  attempt(results_path, [&] {
    const Results again(results_path, bundle);
    require(!was_written || again.find("kernel", 0) != nullptr, "what was written is read");
  });
  return 0;
}
