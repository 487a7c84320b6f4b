#include "fake_cublaslt.hpp"

#include <cstdint>
#include <cstring>
#include <map>
#include <set>

#include "fake_cuda.hpp"

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 7;
constexpr int kNotSupported = 15;
constexpr std::uint64_t kAlgorithm = 0x1234;

struct Description {
  int transpose_a = 0;
  int transpose_b = 0;
  int epilogue = 1;
  const float* bias = nullptr;
};
struct Layout {
  std::uint64_t rows;
  std::uint64_t columns;
  std::int64_t leading;
  std::int32_t batch = 1;
  std::int64_t batch_stride = 0;
  const float* at(const void* data, int q, std::uint64_t row, std::uint64_t column) const {
    return static_cast<const float*>(data) + q * batch_stride + static_cast<std::int64_t>(row) +
           static_cast<std::int64_t>(column) * leading;
  }
};
struct Preference {
  std::set<int> aligned;
};
struct Heuristic {
  std::uint64_t algorithm[8];
  std::size_t workspace_size;
  int state;
  float waves;
  int reserved[4];
};

struct State {
  double microseconds = 0;
  bool supports = true;
  int products = 0;
  int live = 0;
};
State& state() {
  static State instance;
  return instance;
}

// Every function that can fail begins with it: the error that a test has asked for.
#define ENTER \
  if (const int error = fake_cuda::enter_library(__func__)) return error

template <typename T, typename... Arguments>
int create(void** made, Arguments... arguments) {
  *made = new T{arguments...};
  ++state().live;
  return kSuccess;
}

template <typename T>
int destroy(void* object) {
  delete static_cast<T*>(object);
  --state().live;
  return kSuccess;
}

template <typename T>
int take(T* value, const void* data, std::size_t size) {
  if (size != sizeof *value) return kInvalidValue;
  std::memcpy(value, data, size);
  return kSuccess;
}

}  // namespace

namespace fake_cublaslt {
void reset() { state() = State(); }
void set_microseconds(double of_a_product) { state().microseconds = of_a_product; }
void support_nothing() { state().supports = false; }
int products() { return state().products; }
int live() { return state().live; }
}  // namespace fake_cublaslt

extern "C" {

int cublasLtCreate(void** handle) {
  ENTER;
  return create<int>(handle);
}
int cublasLtDestroy(void* handle) { return destroy<int>(handle); }
int cublasLtMatmulDescCreate(void** made, int compute, int scale) {
  ENTER;
  return compute == 68 && scale == 0 ? create<Description>(made) : kInvalidValue;
}
int cublasLtMatmulDescDestroy(void* object) { return destroy<Description>(object); }
int cublasLtMatmulDescSetAttribute(void* object, int attribute, const void* data, std::size_t size) {
  ENTER;
  auto& description = *static_cast<Description*>(object);
  switch (attribute) {
    case 3:
      return take(&description.transpose_a, data, size);
    case 4:
      return take(&description.transpose_b, data, size);
    case 7:
      return take(&description.epilogue, data, size);
    case 8:
      return take(&description.bias, data, size);
    default:
      return kInvalidValue;
  }
}
int cublasLtMatrixLayoutCreate(void** made, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
  ENTER;
  if (type != 0 || leading < static_cast<std::int64_t>(rows)) return kInvalidValue;
  return create<Layout>(made, rows, columns, leading);
}
int cublasLtMatrixLayoutDestroy(void* object) { return destroy<Layout>(object); }
int cublasLtMatrixLayoutSetAttribute(void* object, int attribute, const void* data, std::size_t size) {
  ENTER;
  auto& layout = *static_cast<Layout*>(object);
  if (attribute == 5) return take(&layout.batch, data, size);
  return attribute == 6 ? take(&layout.batch_stride, data, size) : kInvalidValue;
}
int cublasLtMatmulPreferenceCreate(void** made) {
  ENTER;
  return create<Preference>(made);
}
int cublasLtMatmulPreferenceDestroy(void* object) { return destroy<Preference>(object); }
int cublasLtMatmulPreferenceSetAttribute(void* object, int attribute, const void* data, std::size_t size) {
  ENTER;
  std::uint32_t alignment = 0;
  if (attribute < 5 || attribute > 8 || take(&alignment, data, size) != kSuccess || alignment != 16) {
    return kInvalidValue;
  }
  static_cast<Preference*>(object)->aligned.insert(attribute);
  return kSuccess;
}
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void* preference, int wanted,
                                   Heuristic* results, int* found) {
  ENTER;
  // The library expects pointers that are multiples of 256 unless it is told otherwise.
  if (wanted != 1 || static_cast<Preference*>(preference)->aligned.size() != 4) return kInvalidValue;
  *found = state().supports ? 1 : 0;
  if (!state().supports) return kNotSupported;
  results[0] = {{kAlgorithm}, 0, kSuccess, 1, {}};
  return kSuccess;
}
int cublasLtMatmul(void*, void* described, const void* alpha, const void* a, void* a_layout, const void* b,
                   void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                   const std::uint64_t* algorithm, void* workspace, std::size_t workspace_size, void* stream) {
  ENTER;
  const Description description = *static_cast<Description*>(described);
  const Layout left = *static_cast<Layout*>(a_layout);
  const Layout right = *static_cast<Layout*>(b_layout);
  const Layout result = *static_cast<Layout*>(d_layout);
  const std::uint64_t depth = description.transpose_a != 0 ? left.rows : left.columns;
  const bool fits = (description.transpose_a != 0 ? left.columns : left.rows) == result.rows &&
                    (description.transpose_b != 0 ? right.columns : right.rows) == depth &&
                    (description.transpose_b != 0 ? right.rows : right.columns) == result.columns &&
                    left.batch == result.batch && right.batch == result.batch;
  if (!fits || algorithm[0] != kAlgorithm || workspace != nullptr || workspace_size != 0 || c != d ||
      c_layout != d_layout || *static_cast<const float*>(alpha) != 1 || *static_cast<const float*>(beta) != 0 ||
      (description.epilogue == 4) != (description.bias != nullptr)) {
    return kInvalidValue;
  }
  ++state().products;
  return fake_cuda::queue(stream, [=] {
    fake_cuda::advance(state().microseconds);
    for (int q = 0; q < result.batch; ++q) {
      for (std::uint64_t i = 0; i < result.rows; ++i) {
        for (std::uint64_t j = 0; j < result.columns; ++j) {
          float sum = description.bias != nullptr ? description.bias[i] : 0;
          for (std::uint64_t k = 0; k < depth; ++k) {
            sum += *(description.transpose_a != 0 ? left.at(a, q, k, i) : left.at(a, q, i, k)) *
                   *(description.transpose_b != 0 ? right.at(b, q, j, k) : right.at(b, q, k, j));
          }
          *const_cast<float*>(result.at(d, q, i, j)) = sum;
        }
      }
    }
  });
}
}
