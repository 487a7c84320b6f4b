// Runs the models of the sweep (tests/models/sweep_cuda.py) on a GPU and writes their outputs to a file.
//
//   sweep_runner <library> <plan> <inputs> <outputs>
//
// The plan says which models of the library to call with what: a line `model <name> <repeats>`, followed by a line
// `call` for each of its calls and in it a line `input <offset> <rank> <sizes>... <strides>...` for each input, whose
// values are at that offset in the file of inputs. A process of its own runs the models one after another. Whatever
// fails ends it, because the fault of a kernel takes the device's context with it; the next goes on behind that model.
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "aotbuild/c_api.h"

namespace {

constexpr unsigned kSecondsEach = 60;

struct Input {
  std::size_t offset;
  std::vector<std::int64_t> sizes, strides;
};

struct PlannedModel {
  std::string name;
  int repeats;
  std::vector<std::vector<Input>> calls;
};

std::vector<PlannedModel> read_plan(const char* path) {
  std::ifstream file(path);
  std::vector<PlannedModel> plan;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "model") {
      plan.emplace_back();
      words >> plan.back().name >> plan.back().repeats;
    } else if (kind == "call") {
      plan.back().calls.emplace_back();
    } else {
      Input input;
      std::size_t rank = 0;
      words >> input.offset >> rank;
      input.sizes.resize(rank);
      input.strides.resize(rank);
      for (std::int64_t& size : input.sizes) words >> size;
      for (std::int64_t& stride : input.strides) words >> stride;
      plan.back().calls.back().push_back(std::move(input));
    }
    if (!words) throw std::runtime_error("cannot read the plan: " + line);
  }
  return plan;
}

std::vector<char> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_elements(std::FILE* file, const aotbuild_tensor& tensor, int dim, const char* data) {
  const std::size_t size = tensor.dtype.bits / 8;
  if (dim == tensor.ndim) {
    std::fwrite(data, size, 1, file);
    return;
  }
  for (std::int64_t i = 0; i < tensor.shape[dim]; ++i) {
    write_elements(file, tensor, dim + 1, data + i * tensor.strides[dim] * static_cast<std::int64_t>(size));
  }
}

void write_output(std::FILE* file, const aotbuild_tensor& tensor) {
  std::fprintf(file, "output %d %d %d", tensor.dtype.code, tensor.dtype.bits, tensor.ndim);
  for (int dim = 0; dim < tensor.ndim; ++dim) std::fprintf(file, " %lld", static_cast<long long>(tensor.shape[dim]));
  std::fputc('\n', file);
  write_elements(file, tensor, 0, static_cast<const char*>(tensor.data) + tensor.byte_offset);
}

struct LastModel {
  const aotbuild_api* api = nullptr;
  aotbuild_model* model = nullptr;
};

class Runner {
 public:
  Runner(void* library, const PlannedModel& planned, std::vector<char>* data, std::FILE* file)
      : planned_(planned), data_(*data), file_(file) {
    const auto function = dlsym(library, (planned.name + "_api").c_str());
    if (function == nullptr) throw std::runtime_error(dlerror());
    api_ = reinterpret_cast<const aotbuild_api* (*)()>(function)();
    if (api_->abi_version != AOTBUILD_ABI_VERSION) throw std::runtime_error("the library has another ABI");
  }

  // The model that ran before lives until this one does: with none, the device's context would be made anew.
  void run(LastModel* last) {
    aotbuild_model* model = nullptr;
    check(api_->create(nullptr, &model));
    if (last->model != nullptr) last->api->destroy(last->model);
    *last = {api_, model};
    for (const std::vector<Input>& call : planned_.calls) {
      for (int repeat = 0; repeat < planned_.repeats; ++repeat) this->call(model, call);
    }
  }

 private:
  void call(aotbuild_model* model, const std::vector<Input>& call) {
    const aotbuild_method_info& info = *api_->describe()->methods[0];
    if (call.size() != info.input_count) throw std::runtime_error("the plan has another number of inputs");
    std::vector<aotbuild_tensor> inputs, outputs(info.output_count);
    for (std::size_t i = 0; i < call.size(); ++i) {
      auto& [offset, sizes, strides] = const_cast<Input&>(call[i]);
      inputs.push_back({data_.data() + offset,
                        {AOTBUILD_CPU, 0},
                        static_cast<std::int32_t>(sizes.size()),
                        info.inputs[i]->dtype,
                        sizes.data(),
                        strides.data(),
                        0});
    }
    aotbuild_result* result = nullptr;
    check(api_->run(model, 0, nullptr, inputs.data(), inputs.size(), outputs.data(), outputs.size(), &result));
    for (const aotbuild_tensor& output : outputs) write_output(file_, output);
    api_->destroy_result(result);
  }

  void check(aotbuild_status status) const {
    if (status != AOTBUILD_OK) throw std::runtime_error(api_->last_error());
  }

  const PlannedModel& planned_;
  std::vector<char>& data_;
  std::FILE* file_;
  const aotbuild_api* api_;
};

// Never returns.
void run_from(std::size_t first, const std::vector<PlannedModel>& plan, char** arguments, volatile std::size_t* done) {
  std::vector<char> data = read_file(arguments[3]);
  void* const library = dlopen(arguments[1], RTLD_NOW);
  std::FILE* const file = std::fopen(arguments[4], "ab");
  LastModel last;
  for (std::size_t i = first; i < plan.size(); ++i) {
    std::fprintf(file, "model %s\n", plan[i].name.c_str());
    std::fflush(file);
    *done = i + 1;
    alarm(kSecondsEach);
    char* outputs = nullptr;  // kept until they are complete: a signal leaves none behind
    std::size_t nbytes = 0;
    std::FILE* const memory = open_memstream(&outputs, &nbytes);
    try {
      if (library == nullptr) throw std::runtime_error(dlerror());
      Runner(library, plan[i], &data, memory).run(&last);
    } catch (const std::exception& error) {
      std::string text = error.what();
      std::replace(text.begin(), text.end(), '\n', ' ');
      std::fprintf(file, "error %s\n", text.c_str());
      std::fflush(file);
      _exit(0);
    }
    std::fclose(memory);
    std::fwrite(outputs, nbytes, 1, file);
    std::fflush(file);
    std::free(outputs);
  }
  _exit(0);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::fprintf(stderr, "usage: %s <library> <plan> <inputs> <outputs>\n", arguments[0]);
    return 2;
  }
  const std::vector<PlannedModel> plan = read_plan(arguments[2]);
  void* const shared = mmap(nullptr, sizeof(std::size_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* const done = static_cast<volatile std::size_t*>(shared);
  for (std::size_t first = 0; first < plan.size(); first = std::max(std::size_t{*done}, first + 1)) {
    *done = first;
    const pid_t child = fork();
    if (child == 0) run_from(first, plan, arguments, done);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
      std::FILE* const file = std::fopen(arguments[4], "ab");
      std::fprintf(file, "signal %d\n", WTERMSIG(status));
      std::fclose(file);
    }
  }
}
