// Windows 10 and later, on x86-64.
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <malloc.h>
#include <windows.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/error.hpp"
#include "base/system.hpp"

namespace aotbuild::detail::os {

namespace {

std::wstring wide(const std::string& text) {
  const int given = static_cast<int>(text.size());
  std::wstring result(static_cast<std::size_t>(MultiByteToWideChar(CP_UTF8, 0, text.data(), given, nullptr, 0)), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), given, result.data(), static_cast<int>(result.size()));
  return result;
}

std::string narrow(const std::wstring& text) {
  const int given = static_cast<int>(text.size());
  const int length = WideCharToMultiByte(CP_UTF8, 0, text.data(), given, nullptr, 0, nullptr, nullptr);
  std::string result(static_cast<std::size_t>(length), '\0');
  WideCharToMultiByte(CP_UTF8, 0, text.data(), given, result.data(), length, nullptr, nullptr);
  return result;
}

// What the thread's last error means, without the end of its line.
std::string last_error_text() {
  const DWORD code = GetLastError();
  std::wstring text(512, L'\0');
  const DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr, code, 0,
                                      text.data(), static_cast<DWORD>(text.size()), nullptr);
  text.resize(length);
  while (!text.empty() && (text.back() == L'\r' || text.back() == L'\n' || text.back() == L'.')) text.pop_back();
  return text.empty() ? concat("error ", code) : concat(narrow(text), " (error ", code, ")");
}

struct OpenHandle {
  HANDLE value;
  ~OpenHandle() {
    if (value != nullptr && value != INVALID_HANDLE_VALUE) CloseHandle(value);
  }
};

}  // namespace

void* allocate_memory(std::size_t alignment, std::size_t nbytes) noexcept { return _aligned_malloc(nbytes, alignment); }

void free_memory(void* memory) noexcept { _aligned_free(memory); }

void prefer_huge_pages(void*, std::size_t) noexcept {}  // they need a privilege that programs do not have

Mapping map_file(const std::string& path) {
  const std::wstring name = wide(path);
  const DWORD attributes = GetFileAttributesW(name.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' is not a regular file");
  }
  const OpenHandle file{CreateFileW(name.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr)};
  if (file.value == INVALID_HANDLE_VALUE) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot open weights file '", path, "': ", last_error_text());
  }
  LARGE_INTEGER size{};
  if (GetFileSizeEx(file.value, &size) == 0) {
    fail(AOTBUILD_INVALID_WEIGHTS, "cannot read weights file '", path, "': ", last_error_text());
  }
  if (size.QuadPart == 0) fail(AOTBUILD_INVALID_WEIGHTS, "weights file '", path, "' is empty");
  const OpenHandle mapping{CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr)};
  const void* data = mapping.value == nullptr ? nullptr : MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0);
  if (data == nullptr) fail(AOTBUILD_INVALID_WEIGHTS, "cannot map weights file '", path, "': ", last_error_text());
  return {static_cast<const unsigned char*>(data), static_cast<std::size_t>(size.QuadPart)};
}

void unmap_file(const Mapping& mapping) noexcept { UnmapViewOfFile(mapping.data); }

// Pages that were never locked leave the working set, and stay in the system's cache ("VirtualUnlock", remarks).
void release_pages(const void* data, std::size_t nbytes) noexcept { VirtualUnlock(const_cast<void*>(data), nbytes); }

LoadedObject object_that_holds(const void* address) {
  MEMORY_BASIC_INFORMATION pages{};
  if (VirtualQuery(address, &pages, sizeof pages) == 0 || pages.Type != MEM_IMAGE) return {"", false};
  std::wstring path(MAX_PATH, L'\0');
  while (true) {
    const DWORD length =
        GetModuleFileNameW(static_cast<HMODULE>(pages.AllocationBase), path.data(), static_cast<DWORD>(path.size()));
    if (length < path.size()) {
      path.resize(length);
      break;
    }
    path.resize(2 * path.size());  // it did not fit
  }
  return {narrow(path), (pages.Protect & (PAGE_READONLY | PAGE_EXECUTE_READ)) != 0};
}

bool is_absolute(const std::string& path) noexcept {
  const auto is_separator = [](char c) { return c == '/' || c == '\\'; };
  return (!path.empty() && is_separator(path[0])) || (path.size() > 2 && path[1] == ':' && is_separator(path[2]));
}

std::string folder_of(const std::string& path) { return path.substr(0, path.find_last_of("/\\:") + 1); }

void* open_library(const char* path, std::string* why) {
  HMODULE const library = LoadLibraryW(wide(path).c_str());
  if (library == nullptr) *why = concat(path, ": ", last_error_text());
  return reinterpret_cast<void*>(library);
}

void* find_symbol(void* library, const char* name) noexcept {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}

const char* cuda_driver() noexcept { return "nvcuda.dll"; }

const char* nccl_library() noexcept { return "nccl.dll"; }

std::array<const char*, 2> cublaslt_libraries() noexcept { return {"cublasLt64_13.dll", "cublasLt64_12.dll"}; }

const char* trusted_variable(const char* name) noexcept { return std::getenv(name); }

bool allows_tiles() noexcept { return false; }  // not seen to work there

bool has_dot_products() noexcept { return false; }

}  // namespace aotbuild::detail::os
