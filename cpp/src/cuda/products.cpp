#include "cuda/products.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "base/system.hpp"
#include "cuda/workspace.hpp"
#include "tensor/dtype.hpp"

namespace aotbuild::detail::cuda {

// Numbers and signatures are those of NVIDIA's "cuBLAS" reference, chapter "Using the cuBLASLt API", releases 12
// and 13.
struct MatmulHeuristic {  // cublasLtMatmulHeuristicResult_t
  std::uint64_t algorithm[8];
  std::size_t workspace_size;
  int state;
  float waves;
  int reserved[4];
};

#define AOTBUILD_CUBLASLT_FUNCTIONS(F)                                                                                 \
  F(cublasLtCreate, create, (void**))                                                                                  \
  F(cublasLtDestroy, destroy, (void*))                                                                                 \
  F(cublasLtMatmulDescCreate, description_create, (void**, int, int))                                                  \
  F(cublasLtMatmulDescDestroy, description_destroy, (void*))                                                           \
  F(cublasLtMatmulDescSetAttribute, description_set, (void*, int, const void*, std::size_t))                           \
  F(cublasLtMatrixLayoutCreate, layout_create, (void**, int, std::uint64_t, std::uint64_t, std::int64_t))              \
  F(cublasLtMatrixLayoutDestroy, layout_destroy, (void*))                                                              \
  F(cublasLtMatrixLayoutSetAttribute, layout_set, (void*, int, const void*, std::size_t))                              \
  F(cublasLtMatmulPreferenceCreate, preference_create, (void**))                                                       \
  F(cublasLtMatmulPreferenceDestroy, preference_destroy, (void*))                                                      \
  F(cublasLtMatmulPreferenceSetAttribute, preference_set, (void*, int, const void*, std::size_t))                      \
  F(cublasLtMatmulAlgoGetHeuristic, heuristic,                                                                         \
    (void*, void*, void*, void*, void*, void*, void*, int, MatmulHeuristic*, int*))                                    \
  F(cublasLtMatmul, matmul,                                                                                            \
    (void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*, void*, void*, \
     const std::uint64_t*, void*, std::size_t, Stream))

struct BlasLibrary {
#define AOTBUILD_CUBLASLT_MEMBER(symbol, name, parameters) int(*name) parameters = nullptr;
  AOTBUILD_CUBLASLT_FUNCTIONS(AOTBUILD_CUBLASLT_MEMBER)
#undef AOTBUILD_CUBLASLT_MEMBER
};

namespace {

constexpr int kCompute32F = 68;
constexpr int kOperationTransposed = 1;
constexpr int kDescriptionTransposeA = 3;
constexpr int kDescriptionTransposeB = 4;
constexpr int kDescriptionEpilogue = 7;
constexpr int kDescriptionBias = 8;
constexpr int kEpilogueBias = 4;
constexpr int kLayoutBatchCount = 5;
constexpr int kLayoutBatchStride = 6;
constexpr int kPreferenceAlignment[] = {5, 6, 7, 8};
constexpr std::uint32_t kAlignment = 16;  // of a model's tensors, at least

constexpr int kWarmUps = 3;
constexpr int kRepetitions = 20;
// By how much the library has to be faster: its launches are none that start early.
constexpr float kAdvantage = 0.95F;

int data_type(std::int32_t dtype) {
  switch (static_cast<ScalarType>(dtype)) {
    case ScalarType::kFloat16:
      return 2;
    case ScalarType::kBFloat16:
      return 14;
    default:
      return 0;  // float32
  }
}

std::unique_ptr<BlasLibrary> open_library(const char* path) {
  std::string why;
  void* const opened = os::open_library(path, &why);
  if (opened == nullptr) return nullptr;
  auto library = std::make_unique<BlasLibrary>();
#define AOTBUILD_CUBLASLT_LOAD(symbol, name, parameters)                                 \
  library->name = reinterpret_cast<int(*) parameters>(os::find_symbol(opened, #symbol)); \
  if (library->name == nullptr) return nullptr;
  AOTBUILD_CUBLASLT_FUNCTIONS(AOTBUILD_CUBLASLT_LOAD)
#undef AOTBUILD_CUBLASLT_LOAD
  return library;
}

// The system's cuBLASLt of CUDA 13 or 12, or the file that the environment variable AOTBUILD_CUBLASLT names; null
// without one. It stays open for ever.
const BlasLibrary* find_library() {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<BlasLibrary>> libraries;
  const char* const chosen = os::trusted_variable("AOTBUILD_CUBLASLT");
  const std::string key = chosen != nullptr ? chosen : "";
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [found, is_new] = libraries.try_emplace(key);
  if (is_new && !key.empty()) found->second = open_library(key.c_str());
  if (is_new && key.empty()) {
    for (const char* name : os::cublaslt_libraries()) {
      if (found->second == nullptr) found->second = open_library(name);
    }
  }
  return found->second.get();
}

std::size_t bytes_of(const CudaProductSpec& product, std::int64_t elements) {
  return static_cast<std::size_t>(elements) * element_size(static_cast<ScalarType>(product.dtype));
}

std::int64_t extent(const std::int64_t (&strides)[3], std::int64_t batch, std::int64_t rows, std::int64_t columns) {
  return 1 + (batch - 1) * strides[0] + (rows - 1) * strides[1] + (columns - 1) * strides[2];
}

}  // namespace

// cuBLASLt's matrices have columns that follow one another, so it computes the transposed product: out' = b' @ a'.
struct CudaProducts::Plan {
  Plan(const BlasLibrary& functions, const CudaProductSpec& described) : library(functions), product(described) {}
  ~Plan() {
    for (void* layout : {left, right, result}) {
      if (layout != nullptr) library.layout_destroy(layout);
    }
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // Of a call, because it holds the pointer of the bias. Null: the library refuses it.
  void* describe(const void* bias) const {
    void* description = nullptr;
    if (library.description_create(&description, kCompute32F, 0) != 0) return nullptr;
    int status = 0;
    const auto set = [&](int attribute, const auto& value) {
      if (status == 0) status = library.description_set(description, attribute, &value, sizeof value);
    };
    if (product.b_strides[2] != 1) set(kDescriptionTransposeA, kOperationTransposed);
    if (product.a_strides[2] != 1) set(kDescriptionTransposeB, kOperationTransposed);
    if (product.bias >= 0) {
      set(kDescriptionEpilogue, kEpilogueBias);
      set(kDescriptionBias, bias);
    }
    if (status == 0) return description;
    library.description_destroy(description);
    return nullptr;
  }

  bool make_layout(void** layout, std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
                   std::int64_t column_stride, std::int64_t batch_stride) const {
    // `rows` and `columns` of the matrix as it lies in memory, whose rows follow one another.
    const std::int64_t leading = column_stride == 1 ? row_stride : column_stride;
    if (column_stride != 1) std::swap(rows, columns);
    if (library.layout_create(layout, data_type(product.dtype), static_cast<std::uint64_t>(columns),
                              static_cast<std::uint64_t>(rows), leading) != 0) {
      return false;
    }
    const auto batch = static_cast<std::int32_t>(product.sizes[0]);
    return batch == 1 || (library.layout_set(*layout, kLayoutBatchCount, &batch, sizeof batch) == 0 &&
                          library.layout_set(*layout, kLayoutBatchStride, &batch_stride, sizeof batch_stride) == 0);
  }

  const BlasLibrary& library;
  const CudaProductSpec& product;
  void* left = nullptr;
  void* right = nullptr;
  void* result = nullptr;
  MatmulHeuristic heuristic{};
};

CudaProducts::CudaProducts(const std::shared_ptr<CudaDevice>& device, const CudaVariantSpec& variant,
                           const Launch& launch)
    : device_(device), library_(variant.product_count == 0 ? nullptr : find_library()) {
  if (library_ == nullptr || library_->create(&handle_) != 0) return;
  plans_.resize(variant.kernel_count);
  try {
    time(variant, launch);
  } catch (...) {
    plans_.clear();
    library_->destroy(handle_);
    throw;
  }
}

CudaProducts::~CudaProducts() {
  plans_.clear();
  if (handle_ == nullptr) return;
  const ReleaseScope scope(*device_);
  library_->destroy(handle_);
}

std::unique_ptr<CudaProducts::Plan> CudaProducts::make_plan(const CudaProductSpec& product) const {
  auto plan = std::make_unique<Plan>(*library_, product);
  const auto [batch, m, n, k] = product.sizes;
  // Which algorithm is the best depends on how the bias is aligned, and not on where it is.
  void* const description = plan->describe(reinterpret_cast<const void*>(std::uintptr_t{kAlignment}));  // NOLINT
  void* preference = nullptr;
  int found = 0;
  bool is_made =
      description != nullptr &&
      plan->make_layout(&plan->left, k, n, product.b_strides[1], product.b_strides[2], product.b_strides[0]) &&
      plan->make_layout(&plan->right, m, k, product.a_strides[1], product.a_strides[2], product.a_strides[0]) &&
      plan->make_layout(&plan->result, m, n, n, 1, m * n) && library_->preference_create(&preference) == 0;
  for (const int attribute : kPreferenceAlignment) {
    is_made = is_made && library_->preference_set(preference, attribute, &kAlignment, sizeof kAlignment) == 0;
  }
  // Without memory of its own: calls on several streams would have to have one each.
  is_made = is_made &&
            library_->heuristic(handle_, description, plan->left, plan->right, plan->result, plan->result, preference,
                                1, &plan->heuristic, &found) == 0 &&
            found == 1 && plan->heuristic.state == 0 && plan->heuristic.workspace_size == 0;
  if (preference != nullptr) library_->preference_destroy(preference);
  if (description != nullptr) library_->description_destroy(description);
  return is_made ? std::move(plan) : nullptr;
}

void CudaProducts::time(const CudaVariantSpec& variant, const Launch& launch) {
  const Driver& driver = device_->driver();
  const OwnedStream stream(device_);
  const OwnedEvent begin(device_, true);
  const OwnedEvent end(device_, true);
  const auto milliseconds = [&](const auto& once) {
    for (int i = 0; i < kWarmUps; ++i) once();
    device_->check(driver.event_record(begin.get(), stream.get()), "cuEventRecord");
    for (int i = 0; i < kRepetitions; ++i) once();
    device_->check(driver.event_record(end.get(), stream.get()), "cuEventRecord");
    device_->check(driver.event_synchronize(end.get()), "cuEventSynchronize", " for products by cuBLASLt");
    float result = 0;
    device_->check(driver.event_elapsed_time(&result, begin.get(), end.get()), "cuEventElapsedTime");
    return result;
  };
  for (std::size_t i = 0; i < variant.product_count; ++i) {
    const CudaProductSpec& product = variant.products[i];
    std::unique_ptr<Plan> plan = make_plan(product);
    if (plan == nullptr) continue;
    const auto [batch, m, n, k] = product.sizes;
    const std::pair<int, std::size_t> operands[] = {
        {product.a, bytes_of(product, extent(product.a_strides, batch, m, k))},
        {product.b, bytes_of(product, extent(product.b_strides, batch, k, n))},
        {product.out, bytes_of(product, batch * m * n)},
        {product.bias, bytes_of(product, n)},
    };
    std::vector<std::unique_ptr<DeviceBuffer>> buffers;
    std::vector<void*> values(variant.kernels[product.kernel].parameter_count);
    std::vector<void*> arguments;
    for (void*& value : values) arguments.push_back(&value);
    try {
      for (const auto& [parameter, nbytes] : operands) {
        if (parameter < 0) continue;
        buffers.push_back(std::make_unique<DeviceBuffer>(device_, nbytes, "operands to time"));
        values[static_cast<std::size_t>(parameter)] = buffers.back()->data();
        device_->check(driver.set_2d_8(device_pointer(buffers.back()->data()), nbytes, 0, nbytes, 1, stream.get()),
                       "cuMemsetD2D8Async");
      }
      const CudaKernelSpec& kernel = variant.kernels[product.kernel];
      if (kernel.scratch_bytes != 0) {
        const std::size_t blocks = std::size_t{product.grid[0]} * product.grid[1] * product.grid[2];
        buffers.push_back(std::make_unique<DeviceBuffer>(device_, kernel.scratch_bytes * blocks, "descriptors"));
        values[scratch_argument(kernel)] = buffers.back()->data();
      }
    } catch (const Error& error) {
      if (error.status() != AOTBUILD_OUT_OF_MEMORY) throw;
      return;
    }
    std::unique_ptr<Plan>& place = plans_[static_cast<std::size_t>(product.kernel)];
    const float own = milliseconds([&] { launch(product, arguments.data(), stream.get()); });
    place = std::move(plan);
    bool is_computed = true;
    const float theirs =
        milliseconds([&] { is_computed = is_computed && compute(product.kernel, arguments.data(), stream.get()); });
    if (!is_computed || theirs > kAdvantage * own) place = nullptr;
  }
}

bool CudaProducts::compute(int kernel, void** arguments, Stream stream) const {
  const auto index = static_cast<std::size_t>(kernel);
  if (index >= plans_.size() || plans_[index] == nullptr) return false;
  const Plan& plan = *plans_[index];
  const auto pointer = [&](int parameter) { return *static_cast<void**>(arguments[parameter]); };
  void* const description = plan.describe(plan.product.bias < 0 ? nullptr : pointer(plan.product.bias));
  if (description == nullptr) return false;
  const float alpha = 1;
  const float beta = 0;
  void* const out = pointer(plan.product.out);
  const int status = library_->matmul(handle_, description, &alpha, pointer(plan.product.b), plan.left,
                                      pointer(plan.product.a), plan.right, &beta, out, plan.result, out, plan.result,
                                      plan.heuristic.algorithm, nullptr, 0, stream);
  library_->description_destroy(description);
  return status == 0;
}

}  // namespace aotbuild::detail::cuda
