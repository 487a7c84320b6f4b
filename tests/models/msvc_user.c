// A program of MSVC's ABI that uses a model's DLL made by MinGW-w64. It has no headers but Clang's and aotbuild's, and
// no libraries but Windows'. MODEL_API is the model's function that gives its table.
#include "aotbuild/c_api.h"

__declspec(dllimport) const aotbuild_api* MODEL_API(void);
__declspec(dllimport) void* GetStdHandle(unsigned long which);
__declspec(dllimport) int WriteFile(void* file, const void* data, unsigned long size, unsigned long* done, void* how);
__declspec(dllimport) void ExitProcess(unsigned int status);

int _fltused;  // MSVC's objects with floating-point numbers refer to it

enum { kMost = 16, kBytes = 1 << 20 };
static aotbuild_options options;
static aotbuild_tensor inputs[kMost], outputs[kMost];
static int64_t sizes[kMost][kMost];
static char data[kMost][kBytes];

static void print(const char* text) {
  unsigned long size = 0, done = 0;
  while (text[size] != 0) ++size;
  void* const output = GetStdHandle((unsigned long)-11);
  WriteFile(output, text, size, &done, 0);
  WriteFile(output, "\n", 1, &done, 0);
}

static void check(const aotbuild_api* api, aotbuild_status status) {
  if (status == AOTBUILD_OK) return;
  print(api->last_error());
  ExitProcess(1);
}

void start(void) {
  const aotbuild_api* const api = MODEL_API();
  const aotbuild_method_info* const method = api->describe()->methods[0];
  aotbuild_model* model = 0;
  aotbuild_result* result = 0;
  options.struct_size = sizeof options;
  check(api, api->create(&options, &model));
  for (size_t i = 0; i < method->input_count; ++i) {
    const aotbuild_tensor_info* const info = method->inputs[i];
    inputs[i].data = data[i];
    inputs[i].device = info->device;
    inputs[i].dtype = info->dtype;
    inputs[i].ndim = info->ndim;
    inputs[i].shape = sizes[i];
    for (int d = 0; d < info->ndim; ++d) sizes[i][d] = info->dims[d]->min;
  }
  check(api, api->run(model, 0, 0, inputs, method->input_count, outputs, method->output_count, &result));
  print(method->outputs[0]->name);
  print(outputs[0].data != 0 ? "is there" : "is absent");
  api->destroy_result(result);
  if (api->run(model, 0, 0, 0, 0, outputs, method->output_count, &result) != AOTBUILD_OK) print(api->last_error());
  api->destroy(model);
  ExitProcess(0);
}
