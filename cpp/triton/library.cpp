#include "library.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <filesystem>
#include <optional>
#include <vector>

#include "support.hpp"

namespace aotbuild::triton {

namespace fs = std::filesystem;

namespace {

// The linker takes a name that it knows for the library that it opened before, also when another file has that name by
// now. Each spelling of a path is a new name, and the same file is known by its inode.
std::string new_spelling(const std::string& path) {
  static std::atomic<unsigned> count{0};
  const std::string name = fs::path(path).filename().string();
  std::string folder = fs::path(path).parent_path().string();
  for (unsigned rest = count.fetch_add(1) % 1000; rest > 0; --rest) folder += "/.";
  return folder + "/" + name;
}

bool is_library(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.rfind("lib", 0) == 0 && path.extension() == ".so";
}

// The one file of a folder that `is_wanted` takes; several are an error, and a folder that is missing has none.
template <typename Predicate>
std::optional<fs::path> only_file(const std::string& model, const fs::path& folder, const char* what,
                                  Predicate&& is_wanted) {
  std::vector<fs::path> found;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, missing)) {
    if (is_wanted(entry.path())) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  if (found.size() > 1) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model, ": ", folder.string(), " has more than one ", what, ", ",
         found[0].filename().string(), " and ", found[1].filename().string(),
         "; leave one of them, or name the library as default_model_filename in config.pbtxt");
  }
  if (found.empty()) return std::nullopt;
  return found[0];
}

std::optional<fs::path> library_in(const std::string& model, const fs::path& folder, const std::string& name) {
  if (name.empty()) return only_file(model, folder, "library lib*.so", is_library);
  const fs::path path = folder / name;
  if (fs::exists(path)) return path;
  return std::nullopt;
}

std::vector<std::uint64_t> versions_before(const fs::path& folder, std::uint64_t version) {
  std::vector<std::uint64_t> versions;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool is_number = !name.empty() && name.size() < 19 &&
                           std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (is_number && entry.is_directory() && std::stoull(name) < version) versions.push_back(std::stoull(name));
  }
  std::sort(versions.rbegin(), versions.rend());
  return versions;
}

}  // namespace

Library::Library(const std::string& model, const std::string& path) {
  void* const handle = dlopen(new_spelling(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model, ": the library ", path, " cannot be loaded: ", dlerror(),
         "; its version folder has to hold all that it needs, as aotbuild_add_triton_model() makes it");
  }
  handle_.reset(handle, [](void* opened) { dlclose(opened); });
  api_ = static_cast<const aotbuild_api*>(dlsym(handle, "aotbuild_model_api"));
  if (api_ == nullptr) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model, ": ", path,
         " is no model of aotbuild, or a static one: it has no symbol aotbuild_model_api; build it SHARED");
  }
  if (api_->abi_version != AOTBUILD_ABI_VERSION) {
    fail(TRITONSERVER_ERROR_UNSUPPORTED, model, ": ", path, " has version ", api_->abi_version,
         " of aotbuild's C ABI, this backend version ", AOTBUILD_ABI_VERSION,
         "; build the model and libtriton_aotbuild.so with the same release of aotbuild");
  }
}

VersionFiles find_files(const std::string& model, const std::string& folder, std::uint64_t version,
                        const std::string& library_name) {
  const fs::path own = fs::path(folder) / std::to_string(version);
  if (const auto library = library_in(model, own, library_name)) return {library->string(), ""};
  const auto weights =
      only_file(model, own, "weights file", [](const fs::path& path) { return path.extension() == ".safetensors"; });
  if (!weights) {
    fail(TRITONSERVER_ERROR_NOT_FOUND, model, ": ", own.string(), " has neither the library ",
         library_name.empty() ? "lib*.so" : library_name, " nor a weights file *.safetensors");
  }
  for (const std::uint64_t earlier : versions_before(folder, version)) {
    const auto library = library_in(model, fs::path(folder) / std::to_string(earlier), library_name);
    if (library) return {library->string(), weights->string()};
  }
  fail(TRITONSERVER_ERROR_NOT_FOUND, model, ": ", own.string(),
       " has a weights file alone, and no version before it has the library ",
       library_name.empty() ? "lib*.so" : library_name, "; put the library into this version's folder");
}

}  // namespace aotbuild::triton
