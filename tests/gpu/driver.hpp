// The few functions of NVIDIA's driver that a program with its own tensors on the GPU needs.
#ifndef AOTBUILD_TESTS_GPU_DRIVER_HPP_
#define AOTBUILD_TESTS_GPU_DRIVER_HPP_

#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

// Device 0. Its primary context is current on the thread that makes this.
class Driver {
 public:
  Driver() : library_(dlopen("libcuda.so.1", RTLD_NOW)) {
    if (library_ == nullptr) throw std::runtime_error("no libcuda.so.1");
    call<unsigned>("cuInit", 0);
    call<void**, int>("cuDevicePrimaryCtxRetain", &context_, 0);
    use();
    stream_ = create_stream();
  }

  // Makes the context current on this thread.
  void use() const { call<void*>("cuCtxPushCurrent_v2", context_); }

  void* stream() const { return stream_; }
  void synchronize() const { synchronize(stream_); }
  void synchronize(void* stream) const { call<void*>("cuStreamSynchronize", stream); }
  void* create_stream() const {
    void* stream = nullptr;
    call<void**, unsigned>("cuStreamCreate", &stream, 1);
    return stream;
  }

  void* allocate(std::size_t nbytes) const {
    void* const memory = try_allocate(nbytes);
    if (memory == nullptr) throw std::runtime_error("no memory for " + std::to_string(nbytes) + " bytes");
    return memory;
  }
  // Null: there is not that much.
  void* try_allocate(std::size_t nbytes) const {
    std::uint64_t memory = 0;
    const int result = raw<std::uint64_t*, std::size_t>("cuMemAlloc_v2", &memory, std::max<std::size_t>(nbytes, 1));
    return result == 0 ? reinterpret_cast<void*>(memory) : nullptr;
  }
  // Of the device's memory, by all processes.
  std::size_t used_bytes() const {
    std::size_t available = 0, total = 0;
    call<std::size_t*, std::size_t*>("cuMemGetInfo_v2", &available, &total);
    return total - available;
  }
  void free(void* memory) const { call<std::uint64_t>("cuMemFree_v2", reinterpret_cast<std::uint64_t>(memory)); }

  void* upload(const void* data, std::size_t nbytes) const {
    void* const memory = allocate(nbytes);
    call<std::uint64_t, const void*, std::size_t>("cuMemcpyHtoD_v2", reinterpret_cast<std::uint64_t>(memory), data,
                                                  nbytes);
    return memory;
  }
  // Queued on the stream.
  void fill(void* memory, unsigned char byte, std::size_t nbytes, void* stream) const {
    call<std::uint64_t, unsigned char, std::size_t, void*>("cuMemsetD8Async", reinterpret_cast<std::uint64_t>(memory),
                                                           byte, nbytes, stream);
  }
  // Whether all that was queued there has ended.
  bool is_idle(void* stream) const { return raw<void*>("cuStreamQuery", stream) == 0; }
  void download(void* data, const void* memory, std::size_t nbytes) const {
    call<void*, std::uint64_t, std::size_t>("cuMemcpyDtoH_v2", data, reinterpret_cast<std::uint64_t>(memory), nbytes);
  }

 private:
  template <typename... Parameters>
  int raw(const char* name, Parameters... arguments) const {
    const auto function = reinterpret_cast<int (*)(Parameters...)>(dlsym(library_, name));
    if (function == nullptr) throw std::runtime_error(std::string("the driver has no ") + name);
    return function(arguments...);
  }
  template <typename... Parameters>
  void call(const char* name, Parameters... arguments) const {
    const int result = raw<Parameters...>(name, arguments...);
    if (result != 0) throw std::runtime_error(std::string(name) + ": error " + std::to_string(result));
  }

  void* library_;
  void* context_ = nullptr;
  void* stream_ = nullptr;
};

#endif  // AOTBUILD_TESTS_GPU_DRIVER_HPP_
