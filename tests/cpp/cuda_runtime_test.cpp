// The CUDA runtime over the stand-in driver: calls, streams, graphs, memory, errors and what they leave behind.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <thread>

#include "aotbuild/detail/cuda_spec.hpp"
#include "aotbuild/detail/wrapper.hpp"
#include "environment.hpp"
#include "fake_cuda/driver.hpp"
#include "fake_cuda/fake_cuda.hpp"
#include "fake_cuda/fake_nccl.hpp"
#include "runtime_test_model.hpp"

namespace {

using namespace aotbuild::testing;
using aotbuild::detail::CallContext;
using aotbuild::detail::Collective;
using aotbuild::detail::context_aligned;
using aotbuild::detail::context_allocate;
using aotbuild::detail::context_collective;
using aotbuild::detail::context_launch;
using aotbuild::detail::context_weight;
using aotbuild::detail::CudaImageKind;
using aotbuild::detail::CudaKernelSpec;
using aotbuild::detail::CudaVariantSpec;
using aotbuild::detail::RAIIAtenTensorHandle;
using aotbuild::detail::Reduction;

constexpr std::int32_t kCudaType = 1;  // c10::DeviceType

void* data_of(AtenTensorHandle tensor) {
  void* data = nullptr;
  EXPECT_EQ(aoti_torch_get_data_ptr(tensor, &data), 0) << aotbuild_last_error();
  return data;
}

void check(AOTITorchError error) {
  if (error != 0) throw std::runtime_error(aotbuild_last_error());
}

enum KernelIndex { kAddWeight, kIncrement, kBroken, kLookup };

void launch_add(CallContext& context, AtenTensorHandle in, AtenTensorHandle out, std::int64_t count, int weight = 0) {
  void* x = data_of(in);
  void* w = data_of(context_weight(context, weight));
  void* y = data_of(out);
  void* arguments[] = {&x, &w, &y, &count};
  context_launch(context, kAddWeight, static_cast<unsigned>(count), 1, 1, arguments);
}

std::int64_t length_of(AtenTensorHandle tensor) {
  std::int64_t* sizes = nullptr;
  check(aoti_torch_get_sizes(tensor, &sizes));
  return sizes[0];
}

AtenTensorHandle allocate(CallContext& context, std::int64_t length, int output_index) {
  const std::int64_t stride = 1;
  return context_allocate(context, 1, &length, &stride, kFloat32, output_index);
}

// y = x + 2 w, over a temporary
void run_add(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const std::int64_t length = length_of(inputs[0]);
  const RAIIAtenTensorHandle hidden = allocate(context, length, -1);
  launch_add(context, inputs[0], hidden, length);
  RAIIAtenTensorHandle y = allocate(context, length, 0);
  launch_add(context, hidden, y, length);
  outputs[0] = y.release();
}

// y = the sum over all ranks of x + w, plus w
void run_add_reduced(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const std::int64_t length = length_of(inputs[0]);
  const RAIIAtenTensorHandle hidden = allocate(context, length, -1);
  launch_add(context, inputs[0], hidden, length);
  context_collective(context, Collective::kAllReduce, hidden, hidden, static_cast<int>(Reduction::kSum));
  RAIIAtenTensorHandle y = allocate(context, length, 0);
  launch_add(context, hidden, y, length);
  outputs[0] = y.release();
}

// The only derived tensor: 2 w
void derive_double(CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
  RAIIAtenTensorHandle doubled = allocate(context, 1, 0);
  launch_add(context, context_weight(context, 0), doubled, 1);
  outputs[0] = doubled.release();
}

// y = x + 2 w, over what was derived
void run_add_derived(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const std::int64_t length = length_of(inputs[0]);
  RAIIAtenTensorHandle y = allocate(context, length, 0);
  launch_add(context, inputs[0], y, length, 1);
  outputs[0] = y.release();
}

constexpr int kUnread[] = {0};
constexpr aotbuild::detail::CudaDerivedSpec kDerived = {derive_double, 1, 1, kUnread};

// What generated code holds of a model's kernels, and the model.
class CudaModelBuilder {
 public:
  explicit CudaModelBuilder(ModelBuilder::Run run) : builder_(run) {
    builder_.on_cuda(aotbuild::detail::make_cuda_model);
    builder_.variants().clear();
    run_ = run;
    variant("sm_90", 90, CudaImageKind::kCubin);
  }
  CudaModelBuilder& variant(const char* name, int architecture, CudaImageKind kind, unsigned max_shared_bytes = 0) {
    images_.push_back(fake_cuda::make_image(kind == CudaImageKind::kPtx ? 0 : architecture,
                                            {"add_weight", "increment", "broken", "lookup"}));
    const unsigned char* image = images_.back().data();
    const std::size_t size = images_.back().size();
    kernels_.push_back({{"add_weight", image, size, 128, 1024, 1, 4, false, false},
                        {"increment", image, size, 32, 0, 1, 1, false, false},
                        {"broken", image, size, 32, 0, 1, 1, false, false},
                        {"lookup", image, size, 32, 0, 1, 3, false, false}});
    cuda_variants_.push_back({architecture, kind, max_shared_bytes, kernels_.back().size(), kernels_.back().data()});
    builder_.variants().push_back({name, nullptr, run_, &cuda_variants_.back()});
    return *this;
  }
  CudaModelBuilder& without_variants() {
    builder_.variants().clear();
    return *this;
  }
  ModelBuilder* operator->() { return &builder_; }
  const aotbuild::detail::ModelSpec& spec() { return builder_.spec(); }
  CudaModelBuilder& derive(const aotbuild::detail::CudaDerivedSpec& derived) {
    cuda_variants_.back().derived = &derived;
    return *this;
  }
  CudaKernelSpec& kernel(std::size_t index) { return kernels_.back()[index]; }
  CudaModelBuilder& max_shared_bytes(std::size_t variant, unsigned nbytes) {
    cuda_variants_[variant].max_shared_bytes = nbytes;
    return *this;
  }

 private:
  ModelBuilder builder_;
  ModelBuilder::Run run_;
  std::deque<std::vector<unsigned char>> images_;
  std::deque<std::vector<CudaKernelSpec>> kernels_;
  std::deque<CudaVariantSpec> cuda_variants_;
};

CudaModelBuilder adder(float weight = 10) {
  CudaModelBuilder builder(run_add);
  builder->input("x", kFloat, {dynamic("n", 0, 4096)})
      .output("y", kFloat, {dynamic("n", 0, 4096)})
      .weight("w", {1}, {weight});
  return builder;
}

CudaModelBuilder derived_adder(std::vector<float> weight = {10}) {
  const auto length = static_cast<std::int64_t>(weight.size());
  CudaModelBuilder builder(run_add_derived);
  builder.derive(kDerived);
  builder->input("x", kFloat, {dynamic("n", 0, 4096)})
      .output("y", kFloat, {dynamic("n", 0, 4096)})
      .weight("w", {length}, std::move(weight));
  return builder;
}

aotbuild_options cuda_options(std::int32_t graphs = 0, std::int32_t index = 0) {
  aotbuild_options options = default_options();
  options.device = {AOTBUILD_CUDA, index};
  options.cuda_graphs = graphs;
  return options;
}

// The context of a device, as a program that uses CUDA itself has it.
class Context {
 public:
  explicit Context(int device = 0) : device_(device) {
    void* context = nullptr;
    EXPECT_EQ(cuInit(0), 0);
    EXPECT_EQ(cuDevicePrimaryCtxRetain(&context, device), 0);
    EXPECT_EQ(cuCtxPushCurrent_v2(context), 0);
  }
  ~Context() {
    void* context = nullptr;
    EXPECT_EQ(cuCtxPopCurrent_v2(&context), 0);
    EXPECT_EQ(cuDevicePrimaryCtxRelease_v2(device_), 0);
  }

 private:
  int device_;
};

class Stream {
 public:
  Stream() { EXPECT_EQ(cuStreamCreate(&handle, 1), 0); }
  ~Stream() { EXPECT_EQ(cuStreamDestroy_v2(handle), 0); }
  void wait() const { EXPECT_EQ(cuStreamSynchronize(handle), 0); }
  void* handle = nullptr;
};

// Floats in device memory: in the stand-in, memory that the test can read once the work is done.
class DeviceFloats {
 public:
  explicit DeviceFloats(std::vector<float> values, std::size_t offset = 0) : shape{std::int64_t(values.size())} {
    unsigned long long memory = 0;
    EXPECT_EQ(cuMemAlloc_v2(&memory, (values.size() + offset + 1) * sizeof(float)), 0);
    memory_ = memory;
    data = reinterpret_cast<float*>(memory) + offset;
    std::copy(values.begin(), values.end(), data);
  }
  ~DeviceFloats() { EXPECT_EQ(cuMemFree_v2(memory_), 0); }
  DeviceFloats(const DeviceFloats&) = delete;
  aotbuild_tensor tensor(std::int32_t device = 0) {
    return {data, {AOTBUILD_CUDA, device}, 1, kFloat, shape.data(), nullptr, 0};
  }
  std::vector<float> values() const { return {data, data + shape[0]}; }
  float* data;
  std::vector<std::int64_t> shape;

 private:
  unsigned long long memory_;
};

aotbuild_tensor to_allocate_on_device() {
  aotbuild_tensor tensor = to_allocate();
  tensor.device.type = AOTBUILD_CUDA;
  return tensor;
}

std::vector<float> plus(std::vector<float> values, float added) {
  for (float& value : values) value += added;
  return values;
}

aotbuild_statistics statistics_of(const Model& model) {
  aotbuild_statistics statistics{};
  statistics.struct_size = sizeof statistics;
  EXPECT_EQ(aotbuild_model_statistics(model.handle, &statistics), AOTBUILD_OK) << aotbuild_last_error();
  return statistics;
}

// A call from host memory to host memory.
std::vector<float> call(const Model& model, const std::vector<float>& values) {
  Buffer<float> x({static_cast<std::int64_t>(values.size())}, values);
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_OK)
      << aotbuild_last_error();
  if (result == nullptr) return {};
  const auto* data = static_cast<const float*>(out.data);
  std::vector<float> made(data, data + out.shape[0]);
  aotbuild_result_destroy(result);
  return made;
}

std::string path_of_driver() { return AOTBUILD_FAKE_CUDA; }

constexpr std::int32_t kLookupCode = 2074886853;  // _code("lookup") of inductor/cuda/indexing.py

void run_lookup(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  outputs[0] = allocate(context, 1, 0);
  void* x = data_of(inputs[0]);
  void* y = data_of(outputs[0]);
  void* error = aotbuild::detail::context_index_error(context);
  void* arguments[] = {&x, &y, &error};
  context_launch(context, kLookup, 1, 1, 1, arguments);
}

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    set_variable("AOTBUILD_CUDA_DRIVER", path_of_driver().c_str());
    fake_cuda::reset();
    fake_cuda::add_kernel("add_weight",
                          [](const fake_cuda::Launch& launch, void** arguments) {
                            const float* x = *static_cast<float**>(arguments[0]);
                            const float* w = *static_cast<float**>(arguments[1]);
                            float* y = *static_cast<float**>(arguments[2]);
                            const std::int64_t count = *static_cast<std::int64_t*>(arguments[3]);
                            if (launch.grid[0] != count * launch.cluster_blocks) return 719;
                            for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] + w[0];
                            return 0;
                          },
                          {8, 8, 8, 8});
    fake_cuda::add_kernel("increment",
                          [](const fake_cuda::Launch&, void** arguments) {
                            ++**static_cast<float**>(arguments[0]);
                            return 0;
                          },
                          {8});
    fake_cuda::add_kernel("lookup",
                          [](const fake_cuda::Launch&, void** arguments) {
                            const float index = **static_cast<float**>(arguments[0]);
                            **static_cast<float**>(arguments[1]) = index < 10 ? index * index : 0;
                            if (index >= 10) **static_cast<std::int32_t**>(arguments[2]) = kLookupCode;
                            return 0;
                          },
                          {8, 8, 8});
    fake_cuda::add_kernel("broken", [](const fake_cuda::Launch&, void**) { return 700; }, {8});
  }
  void TearDown() override {
    EXPECT_TRUE(fake_cuda::live().none());
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>());
    EXPECT_EQ(fake_cuda::context_depth(), 0U);
  }
};

using CudaCalls = Cuda;
using CudaGraphs = Cuda;
using CudaMemory = Cuda;
using CudaErrors = Cuda;

TEST_F(CudaCalls, HostMemoryInAndOut) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(call(model, {1, 2, 3}), (std::vector<float>{21, 22, 23}));
  Buffer<float> x({2}, {5, 6});
  Buffer<float> y({2});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
      << aotbuild_last_error();
  EXPECT_EQ(y.values, (std::vector<float>{25, 26}));
}

// Models for two GPUs, in a thread each.
class CudaRanks : public Cuda {
 protected:
  void SetUp() override {
    Cuda::SetUp();
    set_variable("AOTBUILD_NCCL", AOTBUILD_FAKE_NCCL);
    fake_cuda::set_devices({{}, {}});
    fake_nccl::reset();
    builder_->input("x", kFloat, {dynamic("n", 0, 4096)})
        .output("y", kFloat, {dynamic("n", 0, 4096)})
        .weight("w", {1}, {10})
        .world_size(2);
    make_id();
  }
  // An id is for one start.
  void make_id() {
    ASSERT_EQ(aotbuild_cuda_make_communicator_id(&builder_.spec(), &id_), AOTBUILD_OK) << aotbuild_last_error();
  }
  aotbuild_options options(int rank, std::int32_t graphs = 0) const {
    aotbuild_options options = cuda_options(graphs, rank);
    options.rank = rank;
    options.communicator_id = &id_;
    options.collective_timeout = 300;
    return options;
  }
  void on_ranks(const std::function<void(int rank, const Model& model)>& body, std::int32_t graphs = 0) {
    make_id();
    const aotbuild::detail::ModelSpec& spec = builder_.spec();  // made before the threads share it
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        const Model model(spec, options(rank, graphs));
        ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
        body(rank, model);
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(fake_nccl::communicators(), 0);
  }

  CudaModelBuilder builder_{run_add_reduced};
  aotbuild_communicator_id id_{};
};

TEST_F(CudaRanks, ReduceInCallsAndInGraphs) {
  for (const std::int32_t graphs : {0, -1}) {
    on_ranks(
        [](int rank, const Model& model) {
          for (int time = 0; time < 5; ++time) {
            const auto x = static_cast<float>(100 * rank + time);
            const auto sum = static_cast<float>(100 + 2 * time + 20 + 10);
            EXPECT_EQ(call(model, {x, x}), (std::vector<float>{sum, sum}));
          }
        },
        graphs);
  }
}

TEST_F(CudaRanks, SessionsTakeTurns) {
  on_ranks([](int, const Model& model) {
    const Model session(model.handle);
    for (int time = 0; time < 3; ++time) {
      EXPECT_EQ(call(model, {1}), (std::vector<float>{32}));
      EXPECT_EQ(call(session, {2}), (std::vector<float>{34}));
    }
  });
}

TEST_F(CudaRanks, ARankThatIsAloneGetsAnErrorAndTheNextStartWorks) {
  on_ranks([](int rank, const Model& model) {
    EXPECT_EQ(call(model, {1}), (std::vector<float>{32}));
    if (rank == 1) return;
    Buffer<float> x({1}, {1});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = to_allocate();
    aotbuild_result* result = nullptr;
    for (int time = 0; time < 2; ++time) {
      EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_RUNTIME_ERROR);
      EXPECT_EQ(result, nullptr);
      EXPECT_NE(std::string(aotbuild_last_error()).find("destroy the model on all ranks"), std::string::npos)
          << aotbuild_last_error();
    }
  });
  on_ranks([](int, const Model& model) { EXPECT_EQ(call(model, {1}), (std::vector<float>{32})); });
}

// Whichever call of NCCL fails on a rank: that rank has an error, the other one too or the right results, nothing is
// left, and the next start works.
TEST_F(CudaRanks, AnyCallOfNcclMayFail) {
  long failed = 0;
  for (const char* function : {"ncclGetUniqueId", "ncclCommInitRankConfig", "ncclCommGetAsyncError", "ncclAllReduce"}) {
    constexpr int kMost = 12;  // how often it is asked whether ranks are there depends on the time
    for (int skip = 0; skip < kMost; ++skip) {
      SCOPED_TRACE(std::string(function) + " " + std::to_string(skip));
      fake_nccl::reset();
      fake_nccl::fail(function, 3, skip);
      const aotbuild::detail::ModelSpec& spec = builder_.spec();
      const bool has_id = aotbuild_cuda_make_communicator_id(&spec, &id_) == AOTBUILD_OK;
      EXPECT_EQ(has_id, std::string(function) != "ncclGetUniqueId" || skip > 0);
      std::vector<std::thread> threads;
      bool has_error[2] = {false, false};
      for (int rank = 0; rank < 2 && has_id; ++rank) {
        threads.emplace_back([&, rank] {
          aotbuild_options chosen = options(rank);
          chosen.collective_timeout = 100;
          const Model model(spec, chosen);
          has_error[rank] = model.status != AOTBUILD_OK;
          for (int time = 0; time < 4; ++time) {
            Buffer<float> x({1}, {1});
            Buffer<float> y({1});
            aotbuild_tensor in = x.tensor();
            aotbuild_tensor out = y.tensor();
            if (!has_error[rank]) {
              has_error[rank] = aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr) != AOTBUILD_OK;
              EXPECT_TRUE(has_error[rank] || y.values[0] == 32) << y.values[0];
            }
          }
        });
      }
      for (std::thread& thread : threads) thread.join();
      EXPECT_EQ(fake_nccl::communicators(), 0);
      const bool was_reached = !has_id || fake_nccl::failures() == 0;
      EXPECT_TRUE(was_reached || !(has_error[0] || has_error[1]));
      if (!was_reached) break;
      // A call whose graph cannot be captured launches its kernels, and the watcher asks again.
      const bool is_mended =
          (std::string(function) == "ncclAllReduce" && skip >= 2) || std::string(function) == "ncclCommGetAsyncError";
      EXPECT_TRUE(!has_id || is_mended || has_error[0] || has_error[1]);
      ++failed;
    }
  }
  fake_nccl::reset();
  on_ranks([](int, const Model& model) { EXPECT_EQ(call(model, {1}), (std::vector<float>{32})); });
  EXPECT_GT(failed, 5);
  std::printf("calls of NCCL that failed: %ld\n", failed);
}

TEST_F(CudaRanks, OptionsThatDoNotFit) {
  aotbuild_options wrong = options(0);
  const auto expect = [&](const aotbuild::detail::ModelSpec& spec, const char* text) {
    aotbuild_model* model = nullptr;
    EXPECT_EQ(aotbuild_model_create(&spec, &wrong, &model), AOTBUILD_INVALID_ARGUMENT);
    EXPECT_STREQ(aotbuild_last_error(), text);
  };
  wrong.rank = 2;
  expect(builder_.spec(), "encoder: aotbuild_options::rank is 2, expected 0 to 1 (WORLD_SIZE 2)");
  wrong.rank = 0;
  wrong.collective_timeout = -1;
  expect(builder_.spec(), "encoder: aotbuild_options::collective_timeout is -1, expected 0 or more milliseconds");
  wrong = options(0);
  wrong.communicator_id = nullptr;
  expect(builder_.spec(),
         "encoder: aotbuild_options::communicator_id is null; one rank makes an id by encoder_make_communicator_id(), "
         "and all 2 are created with it");
  CudaModelBuilder one = adder();
  wrong = options(1);
  expect(
      one.spec(),
      "encoder: aotbuild_options::rank and communicator_id are for models that were built with WORLD_SIZE; leave them "
      "zero");
}

TEST_F(CudaCalls, WithoutElements) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(call(model, {}).empty());
}

TEST_F(CudaCalls, DeviceBuffersOnTheUsersStreamAreWrittenInPlaceAndInOrder) {
  const Context context;
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options(-1));
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  {
    const Stream stream;
    DeviceFloats x({1, 2});
    DeviceFloats y({0, 0});
    DeviceFloats z({0, 0});
    aotbuild_tensor tensors[] = {x.tensor(), y.tensor(), z.tensor()};
    const long copies = fake_cuda::calls("cuMemcpyDtoDAsync_v2");
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &tensors[0], 1, &tensors[1], 1, nullptr), 0)
        << aotbuild_last_error();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &tensors[1], 1, &tensors[2], 1, nullptr), 0)
        << aotbuild_last_error();
    EXPECT_EQ(z.values(), (std::vector<float>{0, 0})) << "the call does not wait";
    stream.wait();
    EXPECT_EQ(z.values(), (std::vector<float>{41, 42}));
    EXPECT_EQ(fake_cuda::calls("cuMemcpyDtoDAsync_v2"), copies);
  }
}

TEST_F(CudaCalls, HostInputsMayChangeAsSoonAsACallOnAStreamReturns) {
  const Context context;
  CudaModelBuilder builder = adder();
  for (const std::int32_t graphs : {-1, 0}) {
    Model model(builder.spec(), cuda_options(graphs));
    const Stream stream;
    std::deque<DeviceFloats> outputs;
    Buffer<float> x({2});
    for (int i = 0; i < 5; ++i) {
      x.values = {static_cast<float>(i), 0};
      aotbuild_tensor in = x.tensor();
      aotbuild_tensor out = outputs.emplace_back(std::vector<float>{0, 0}).tensor();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, nullptr), 0)
          << aotbuild_last_error();
    }
    stream.wait();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(outputs[i].values()[0], static_cast<float>(20 + i));
  }
}

TEST_F(CudaCalls, CallsOnSeveralStreamsDoNotMixTheirMemory) {
  const Context context;
  CudaModelBuilder builder = adder();
  for (const std::int32_t graphs : {-1, 0}) {
    Model model(builder.spec(), cuda_options(graphs));
    const Stream streams[2];
    std::deque<DeviceFloats> inputs;
    std::deque<DeviceFloats> outputs;
    for (int i = 0; i < 8; ++i) {
      aotbuild_tensor in = inputs.emplace_back(std::vector<float>{static_cast<float>(i), 0}).tensor();
      aotbuild_tensor out = outputs.emplace_back(std::vector<float>{0, 0}).tensor();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, streams[i % 2].handle, &in, 1, &out, 1, nullptr), 0)
          << aotbuild_last_error();
    }
    streams[1].wait();
    streams[0].wait();
    for (int i = 0; i < 8; ++i) EXPECT_EQ(outputs[i].values()[0], static_cast<float>(20 + i)) << i;
  }
}

TEST_F(CudaCalls, AllocatedDeviceOutputsOutliveTheModel) {
  const Context context;
  CudaModelBuilder builder = adder();
  DeviceFloats x({1, 2, 3});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out[3];
  aotbuild_result* results[3] = {};
  {
    Model model(builder.spec(), cuda_options());
    for (int i = 0; i < 3; ++i) {
      out[i] = to_allocate_on_device();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out[i], 1, &results[i]), AOTBUILD_OK)
          << aotbuild_last_error();
    }
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(out[i].device.type, AOTBUILD_CUDA);
    EXPECT_EQ(out[i].strides[0], 1);
    EXPECT_EQ(static_cast<float*>(out[i].data)[2], 23);
    aotbuild_result_destroy(results[i]);
  }
}

TEST_F(CudaCalls, ThePointerOfAKernelsInputIsAligned) {
  const Context context;
  CudaModelBuilder builder([](CallContext& context_of_call, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    AtenTensorHandle x = context_aligned(context_of_call, inputs[0]);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data_of(x)) % 16, 0U);
    AtenTensorHandle in[] = {x};
    run_add(context_of_call, in, outputs);
  });
  builder->input("x", kFloat, {fixed(2)}).output("y", kFloat, {fixed(2)}).weight("w", {1}, {1});
  Model model(builder.spec(), cuda_options());
  for (const std::size_t offset : {1, 4, 1, 1}) {
    DeviceFloats x({1, 2}, offset);
    DeviceFloats y({0, 0});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = y.tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    EXPECT_EQ(y.values(), (std::vector<float>{3, 4}));
  }
}

TEST_F(CudaCalls, OneBufferMayBeInputAndOutput) {
  const Context context;
  CudaModelBuilder builder([](CallContext& context_of_call, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    run_add(context_of_call, inputs, outputs);
    check(aoti_torch_new_tensor_handle(inputs[0], &outputs[1]));  // a view of the input
  });
  builder->input("x", kFloat, {fixed(2)})
      .output("y", kFloat, {fixed(2)})
      .output("same", kFloat, {fixed(2)})
      .weight("w", {1}, {1});
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 3; ++i) {
    DeviceFloats x({1, 2});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out[] = {x.tensor(), to_allocate()};
    aotbuild_result* result = nullptr;
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, out, 2, &result), AOTBUILD_OK)
        << aotbuild_last_error();
    EXPECT_EQ(x.values(), (std::vector<float>{3, 4}));
    EXPECT_EQ(static_cast<float*>(out[1].data)[1], 2);
    aotbuild_result_destroy(result);
  }
}

TEST_F(CudaCalls, CopiesFillsAndViewsOfTheShim) {
  const Context context;
  CudaModelBuilder builder([](CallContext& context_of_call, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    // The transpose of [2, 3] into a contiguous tensor, by a copy with strides.
    const std::int64_t sizes[] = {3, 2};
    const std::int64_t swapped[] = {1, 3};
    const std::int64_t rows[] = {2, 1};
    AtenTensorHandle transposed = nullptr;
    check(aoti_torch__reinterpret_tensor(inputs[0], 2, sizes, swapped, 0, &transposed));
    outputs[0] = context_allocate(context_of_call, 2, sizes, rows, kFloat32, 0);
    check(aoti_torch_copy_(outputs[0], transposed, 0));
    // The first column becomes 7, and a clone keeps the strides of its source.
    AtenTensorHandle column = nullptr;
    check(aoti_torch_empty_strided(2, sizes, rows, kFloat32, kCudaType, 0, &outputs[1]));
    check(aoti_torch_zero_(outputs[1]));
    const std::int64_t column_sizes[] = {3};
    const std::int64_t column_strides[] = {2};
    check(aoti_torch__reinterpret_tensor(outputs[1], 1, column_sizes, column_strides, 0, &column));
    check(aoti_torch_cuda_fill__Scalar(column, 7));
    check(aoti_torch_clone(transposed, &outputs[2]));
    std::int64_t* strides = nullptr;
    check(aoti_torch_get_strides(outputs[2], &strides));
    EXPECT_EQ(strides[1], 3);
    std::int32_t type = 0;
    check(aoti_torch_get_device_type(outputs[2], &type));
    EXPECT_EQ(type, kCudaType);
    aoti_torch_delete_tensor_object(column);
    aoti_torch_delete_tensor_object(transposed);
  });
  builder->input("x", kFloat, {fixed(2), fixed(3)});
  for (const char* name : {"a", "b", "c"}) builder->output(name, kFloat, {fixed(3), fixed(2)});
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 3; ++i) {
    Buffer<float> x({2, 3}, {1, 2, 3, 4, 5, 6});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out[] = {to_allocate(), to_allocate_on_device(), to_allocate()};
    aotbuild_result* result = nullptr;
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, out, 3, &result), AOTBUILD_OK)
        << aotbuild_last_error();
    const auto values = [&](int k) {
      const auto* data = static_cast<const float*>(out[k].data);
      return std::vector<float>(data, data + 6);
    };
    EXPECT_EQ(values(0), (std::vector<float>{1, 4, 2, 5, 3, 6}));
    EXPECT_EQ(values(1), (std::vector<float>{7, 0, 7, 0, 7, 0}));
    EXPECT_EQ(values(2), (std::vector<float>{1, 4, 2, 5, 3, 6}));
    aotbuild_result_destroy(result);
  }
  EXPECT_EQ(statistics_of(model).graph_replays, 2U);
}

TEST_F(CudaCalls, OutputsThatAreWeightsAreCopies) {
  CudaModelBuilder builder([](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    check(aoti_torch_new_tensor_handle(context_weight(context, 0), &outputs[0]));
    outputs[1] = outputs[0];
  });
  builder->output("a", kFloat, {fixed(2)}).output("b", kFloat, {fixed(2)}).weight("w", {2}, {1, 2});
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 3; ++i) {
    aotbuild_tensor out[] = {to_allocate_on_device(), to_allocate()};
    aotbuild_result* result = nullptr;
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, out, 2, &result), AOTBUILD_OK)
        << aotbuild_last_error();
    EXPECT_EQ(static_cast<float*>(out[0].data)[1], 2);
    static_cast<float*>(out[0].data)[1] = 9;
    EXPECT_EQ(static_cast<float*>(out[1].data)[1], 2);
    aotbuild_result_destroy(result);
  }
}

TEST_F(CudaCalls, BuffersThatTheModelWritesPersistWhateverTheStream) {
  const Context context;
  CudaModelBuilder builder([](CallContext& context_of_call, AtenTensorHandle*, AtenTensorHandle* outputs) {
    void* counter = data_of(context_weight(context_of_call, 0));
    void* arguments[] = {&counter};
    context_launch(context_of_call, kIncrement, 1, 1, 1, arguments);
    check(aoti_torch_clone(context_weight(context_of_call, 0), &outputs[0]));
  });
  builder->output("count", kFloat, {fixed(1)}).weight("count", {1}, {5}, /*mutated=*/true);
  for (const std::int32_t graphs : {-1, 0}) {
    Model model(builder.spec(), cuda_options(graphs));
    const Stream streams[2];
    std::deque<DeviceFloats> counts;
    for (int i = 0; i < 6; ++i) {
      aotbuild_tensor out = counts.emplace_back(std::vector<float>{0}).tensor();
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, streams[i % 2].handle, nullptr, 0, &out, 1, nullptr), 0)
          << aotbuild_last_error();
    }
    streams[1].wait();
    streams[0].wait();
    for (int i = 0; i < 6; ++i) EXPECT_EQ(counts[i].values()[0], static_cast<float>(6 + i)) << i;
  }
}

TEST_F(CudaCalls, ThreadsShareOneModel) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  std::vector<std::thread> threads;
  std::vector<int> failures(8, 0);
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const Context context;
      const Stream stream;
      for (int i = 0; i < 12; ++i) {
        const std::vector<float> values(static_cast<std::size_t>(1 + (t + i) % 3), static_cast<float>(t * 100 + i));
        if (i % 2 == 0) {
          if (call(model, values) != plus(values, 20)) ++failures[t];
          continue;
        }
        DeviceFloats x(values);
        aotbuild_tensor in = x.tensor();
        aotbuild_tensor out = to_allocate_on_device();
        aotbuild_result* result = nullptr;
        if (aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, &result) != AOTBUILD_OK) {
          ++failures[t];
          continue;
        }
        stream.wait();
        if (*static_cast<float*>(out.data) != values[0] + 20) ++failures[t];
        aotbuild_result_destroy(result);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, std::vector<int>(8, 0));
}

TEST_F(CudaCalls, LaunchesWithClustersAllBlocksResidentAndMuchSharedMemory) {
  CudaModelBuilder builder = adder();
  builder.kernel(kAddWeight).cluster_blocks = 16;
  builder.kernel(kAddWeight).cooperative = true;
  builder.kernel(kAddWeight).shared_bytes = 100000;
  Model model(builder.spec(), cuda_options());
  EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
  EXPECT_EQ(fake_cuda::calls("cuLaunchKernelEx"), 2);
}

constexpr unsigned kScratchBlocks = 3;

// y = the sum of what three blocks have kept in their scratch memory
void run_scratch(CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
  RAIIAtenTensorHandle y = allocate(context, 1, 0);
  void* result = data_of(y);
  void* none = nullptr;
  void* arguments[] = {&result, &none, &none};
  context_launch(context, kIncrement, kScratchBlocks, 1, 1, arguments);
  outputs[0] = y.release();
}

TEST_F(CudaCalls, LaunchesHaveScratchMemoryForEachBlock) {
  fake_cuda::add_kernel("increment",
                        [](const fake_cuda::Launch& launch, void** arguments) {
                          auto* result = *static_cast<float**>(arguments[0]);
                          auto* scratch = *static_cast<float**>(arguments[1]);
                          if (scratch == nullptr || *static_cast<void**>(arguments[2]) != nullptr) return 700;
                          for (unsigned block = 0; block < launch.grid[0]; ++block)
                            scratch[2 * block + 1] = static_cast<float>(block + 1);
                          *result = 0;
                          for (unsigned block = 0; block < launch.grid[0]; ++block) *result += scratch[2 * block + 1];
                          return 0;
                        },
                        {8, 8, 8});
  CudaModelBuilder builder(run_scratch);
  builder->input("x", kFloat, {fixed(1)}).output("y", kFloat, {fixed(1)});
  builder.kernel(kIncrement).parameter_count = 3;
  builder.kernel(kIncrement).scratch_bytes = 2 * sizeof(float);
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(call(model, {0}), (std::vector<float>{6}));  // launched, captured, replayed
}

// y = x + 2 w; two kernels, zeros in a third tensor, nothing to launch, two kernels
void run_chain(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const std::int64_t length = length_of(inputs[0]);
  const RAIIAtenTensorHandle first = allocate(context, length, -1);
  const RAIIAtenTensorHandle second = allocate(context, length, -1);
  launch_add(context, inputs[0], first, length);
  launch_add(context, first, second, length);
  check(aoti_torch_zero_(first));
  launch_add(context, inputs[0], first, 0);
  launch_add(context, inputs[0], first, length);
  RAIIAtenTensorHandle y = allocate(context, length, 0);
  launch_add(context, first, y, length);
  outputs[0] = y.release();
}

std::vector<bool> early_launches;  // NOLINT: what the stand-in kernel was told

class CudaEarlyLaunches : public Cuda {
 protected:
  void SetUp() override {
    Cuda::SetUp();
    early_launches.clear();
    fake_cuda::add_kernel("add_weight",
                          [](const fake_cuda::Launch& launch, void** arguments) {
                            early_launches.push_back(launch.starts_early);
                            const std::int64_t count = *static_cast<std::int64_t*>(arguments[3]);
                            for (std::int64_t i = 0; i < count; ++i) {
                              (*static_cast<float**>(arguments[2]))[i] =
                                  (*static_cast<float**>(arguments[0]))[i] + **static_cast<float**>(arguments[1]);
                            }
                            return 0;
                          },
                          {8, 8, 8, 8});
    builder_->input("x", kFloat, {dynamic("n", 0, 4096)})
        .output("y", kFloat, {dynamic("n", 0, 4096)})
        .weight("w", {1}, {10});
    builder_.kernel(kAddWeight).waits = true;
  }
  // Two calls: the kernels are launched, then captured and replayed.
  std::vector<bool> of_two_calls() {
    Model model(builder_.spec(), cuda_options());
    EXPECT_EQ(call(model, {1, 2}), (std::vector<float>{21, 22}));
    EXPECT_EQ(call(model, {3, 4}), (std::vector<float>{23, 24}));
    EXPECT_EQ(statistics_of(model).graph_replays, 1U);
    return early_launches;
  }
  CudaModelBuilder builder_{run_chain};
};

TEST_F(CudaEarlyLaunches, FollowAKernelAndNothingElse) {
  EXPECT_EQ(of_two_calls(), (std::vector<bool>{false, true, false, true, false, true, false, true}));
}

TEST_F(CudaEarlyLaunches, AreNotOfKernelsThatDoNotWait) {
  builder_.kernel(kAddWeight).waits = false;
  EXPECT_EQ(of_two_calls(), std::vector<bool>(8, false));
}

TEST_F(CudaEarlyLaunches, AreNotOfKernelsWhoseBlocksAreAllResident) {
  builder_.kernel(kAddWeight).cooperative = true;
  EXPECT_EQ(of_two_calls(), std::vector<bool>(8, false));
}

TEST_F(CudaGraphs, AreCapturedWhenSizesComeAgainAndReplayedWithOtherPointers) {
  const Context context;
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  std::deque<DeviceFloats> tensors;  // all at other places
  for (int i = 0; i < 5; ++i) {
    DeviceFloats& x = tensors.emplace_back(std::vector<float>{static_cast<float>(i), 1});
    DeviceFloats& y = tensors.emplace_back(std::vector<float>{0, 0});
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = y.tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    EXPECT_EQ(y.values(), (std::vector<float>{static_cast<float>(20 + i), 21}));
  }
  const aotbuild_statistics statistics = statistics_of(model);
  EXPECT_EQ(statistics.calls, 5U);
  EXPECT_EQ(statistics.graph_captures, 1U);
  EXPECT_EQ(statistics.graph_replays, 4U);
  EXPECT_EQ(statistics.graph_obstacle, nullptr);
  EXPECT_EQ(fake_cuda::calls("cuLaunchKernel"), 4) << "two calls: the first and the captured one";
}

TEST_F(CudaGraphs, OverTheCallersOwnMemoryCopyNothing) {
  const Context context;
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  const Stream stream;
  DeviceFloats x({1, 2});
  DeviceFloats y({0, 0});
  DeviceFloats other({0, 0});
  const auto run = [&](DeviceFloats& to) {
    aotbuild_tensor in = x.tensor();
    aotbuild_tensor out = to.tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    stream.wait();
  };
  for (int i = 0; i < 4; ++i) {
    x.data[0] = static_cast<float>(i);
    run(y);
    EXPECT_EQ(y.values(), (std::vector<float>{static_cast<float>(i) + 20, 22}));
  }
  EXPECT_EQ(fake_cuda::calls("cuMemcpyDtoDAsync_v2"), 0);
  EXPECT_EQ(statistics_of(model).graph_captures, 1U);
  EXPECT_EQ(statistics_of(model).graph_replays, 3U);
  // With another buffer each time, the graph is over memory of the model's.
  for (int i = 0; i < 3; ++i) {
    run(i % 2 == 0 ? other : y);
    EXPECT_EQ((i % 2 == 0 ? other : y).values(), (std::vector<float>{23, 22}));
  }
  EXPECT_EQ(fake_cuda::calls("cuMemcpyDtoDAsync_v2"), 2 * 3);
  EXPECT_EQ(statistics_of(model).graph_captures, 2U);
  // What the caller gave up is not written to any more.
  y.data[0] = 5;
  run(other);
  EXPECT_EQ(y.values(), (std::vector<float>{5, 22}));
}

TEST_F(CudaGraphs, AreForOneSetOfSizesAndTheirNumberIsBounded) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options(2));
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t length : {1, 2, 3}) {
      for (int i = 0; i < 2; ++i) {
        const std::vector<float> values(length, static_cast<float>(round));
        EXPECT_EQ(call(model, values), plus(values, 20));
      }
    }
    EXPECT_EQ(fake_cuda::live().graphs, 2);
  }
}

TEST_F(CudaGraphs, CanBeSwitchedOff) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options(-1));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
  EXPECT_EQ(fake_cuda::calls("cuStreamBeginCapture_v2"), 0);
  EXPECT_STREQ(statistics_of(model).graph_obstacle, "aotbuild_options::cuda_graphs is -1");
}

TEST_F(CudaGraphs, AModelThatReadsOnTheHostRunsWithoutAndSaysWhy) {
  CudaModelBuilder builder([](CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    float value = 0;
    const std::int64_t length = length_of(inputs[0]);
    check(aoti_torch_item_float32(context_weight(context, 1), &value));
    if (value < 0) throw std::runtime_error("unexpected");
    outputs[0] = allocate(context, length, 0);
    launch_add(context, inputs[0], outputs[0], length);
  });
  builder->input("x", kFloat, {dynamic("n", 0, 4096)})
      .output("y", kFloat, {dynamic("n", 0, 4096)})
      .weight("w", {1}, {10})
      .weight("threshold", {}, {2});
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(call(model, {1}), (std::vector<float>{11}));
  EXPECT_EQ(fake_cuda::calls("cuStreamBeginCapture_v2"), 1) << "it is not tried again";
  EXPECT_STREQ(statistics_of(model).graph_obstacle, "aoti_torch_item_float32 reads the GPU's memory");
}

TEST_F(CudaGraphs, ACaptureThatTheDriverRefusesDoesNotFailTheCall) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  fake_cuda::fail("cuGraphInstantiateWithFlags", 2, 0, 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
  fake_cuda::fail("cuStreamBeginCapture_v2", 801, 0, 3);
  for (const std::size_t length : {2, 3, 4}) {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(call(model, std::vector<float>(length, 1)).size(), length);
  }
  EXPECT_STREQ(statistics_of(model).graph_obstacle, "encoder: cuStreamBeginCapture failed: CUDA error 801");
  EXPECT_EQ(statistics_of(model).graph_captures, 0U);
}

TEST_F(CudaGraphs, ReadNewRandomSeedsInEveryReplay) {
  CudaModelBuilder builder([](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    const std::int64_t size = 2;
    const std::int64_t stride = 1;
    outputs[0] = context_allocate(context, 1, &size, &stride, /*int64*/ 4, 0);
    aotbuild::detail::context_random_seeds(context, outputs[0]);
  });
  builder->output("seeds", kLong, {fixed(2)});
  Model model(builder.spec(), cuda_options());
  std::set<std::int64_t> seen;
  for (int i = 0; i < 5; ++i) {
    Buffer<std::int64_t> seeds({2});
    aotbuild_tensor out = seeds.tensor(kLong);
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    seen.insert(seeds.values.begin(), seeds.values.end());
  }
  EXPECT_EQ(seen.size(), 10U);
  EXPECT_EQ(statistics_of(model).graph_replays, 4U);
  // By Philox4x32-10: the seed is the key, the call and the element are the counter.
  const std::vector<std::vector<std::int64_t>> expected = {{-4247721872115855327, -2252582579623401552},
                                                           {24082056805673310, 7023130228923423202}};
  for (int time = 0; time < 2; ++time) {
    ASSERT_EQ(aotbuild_model_manual_seed(model.handle, 1234567890123), AOTBUILD_OK) << aotbuild_last_error();
    for (const std::vector<std::int64_t>& values : expected) {
      Buffer<std::int64_t> seeds({2});
      aotbuild_tensor out = seeds.tensor(kLong);
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK)
          << aotbuild_last_error();
      EXPECT_EQ(seeds.values, values);
    }
  }
}

TEST_F(CudaGraphs, AreDroppedWithTheWeightsThatTheyRead) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
  Buffer<float> weight({1}, {3});
  const aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", weight.tensor()};
  ASSERT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_OK) << aotbuild_last_error();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(call(model, {1}), (std::vector<float>{7}));
  EXPECT_EQ(statistics_of(model).graph_captures, 2U);
}

TEST_F(CudaMemory, NothingIsAllocatedInAThousandCalls) {
  const Context context;
  CudaModelBuilder builder = adder();
  for (const std::int32_t graphs : {-1, 0}) {
    Model model(builder.spec(), cuda_options(graphs));
    const Stream stream;
    DeviceFloats x({1, 2, 3});
    aotbuild_tensor in = x.tensor();
    std::uint64_t allocations = 0;
    long driver_calls = 0;
    for (int i = 0; i < 1010; ++i) {
      if (i == 10) {
        allocations = statistics_of(model).driver_allocations;
        driver_calls = fake_cuda::calls("cuMemAlloc_v2") + fake_cuda::calls("cuMemAllocHost_v2");
      }
      aotbuild_tensor out = i % 3 == 0 ? to_allocate() : to_allocate_on_device();
      aotbuild_result* result = nullptr;
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, i % 2 == 0 ? stream.handle : nullptr, &in, 1, &out, 1, &result),
                AOTBUILD_OK)
          << aotbuild_last_error();
      aotbuild_result_destroy(result);
      if (i % 2 == 0) stream.wait();
    }
    EXPECT_EQ(statistics_of(model).driver_allocations, allocations);
    EXPECT_EQ(fake_cuda::calls("cuMemAlloc_v2") + fake_cuda::calls("cuMemAllocHost_v2"), driver_calls);
  }
}

TEST_F(CudaMemory, SizesThatNeverRepeatDoNotMakeItGrow) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  std::uint64_t most = 0;
  for (std::size_t length = 4096; length > 3000; length -= 7) {
    EXPECT_EQ(call(model, std::vector<float>(length, 1)).size(), length);
    most = std::max<std::uint64_t>(most, statistics_of(model).device_bytes);
  }
  EXPECT_LT(most, 6U * 4096 * sizeof(float));
}

TEST_F(CudaMemory, WeightsAreUploadedOnceForAllCalls) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  EXPECT_EQ(fake_cuda::calls("cuMemcpyHtoDAsync_v2"), 1);
  EXPECT_EQ(fake_cuda::calls("cuMemAlloc_v2"), 1);
  EXPECT_EQ(fake_cuda::calls("cuMemAllocHost_v2"), 0);
  EXPECT_EQ(fake_cuda::calls("cuModuleLoadData"), 1) << "kernels of one image share a module";
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) threads.emplace_back([&] { call(model, {1}); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(fake_cuda::calls("cuMemcpyHtoDAsync_v2"), 1 + 3) << "the inputs";
  EXPECT_EQ(fake_cuda::calls("cuModuleLoadData"), 1);
}

TEST_F(CudaMemory, WhatIsDerivedFromWeightsIsComputedOnceForEachSet) {
  CudaModelBuilder builder = derived_adder();
  Model model(builder.spec(), cuda_options(-1));
  const long at_creation = fake_cuda::calls("cuLaunchKernel");
  EXPECT_EQ(at_creation, 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
  EXPECT_EQ(fake_cuda::calls("cuLaunchKernel"), at_creation + 3);
  Buffer<float> weight({1}, {3});
  const aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", weight.tensor()};
  ASSERT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(call(model, {1}), (std::vector<float>{7}));
}

TEST_F(CudaMemory, WeightsThatCallsDoNotReadLeaveTheDevice) {
  constexpr std::size_t kLength = 100000;
  CudaModelBuilder builder = derived_adder(std::vector<float>(kLength, 10));
  Model model(builder.spec(), cuda_options());
  EXPECT_LT(statistics_of(model).device_bytes, kLength * sizeof(float));
  EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
}

TEST_F(CudaMemory, WeightsWithWhatIsDerivedFromThemAreSwappedWhileCallsRun) {
  CudaModelBuilder builder = derived_adder();
  Model model(builder.spec(), cuda_options());
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const std::vector<float> y = call(model, {1, 1});
        ASSERT_EQ(y.size(), 2U);
        EXPECT_TRUE(y[0] == 21 || y[0] == 7) << y[0];
        EXPECT_EQ(y[0], y[1]);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    Buffer<float> weight({1}, {i % 2 == 0 ? 3.0F : 10.0F});
    const aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", weight.tensor()};
    EXPECT_EQ(aotbuild_model_set_weights(model.handle, &named, 1), AOTBUILD_OK) << aotbuild_last_error();
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(CudaErrors, AModelKeepsItsWeightsWhenNothingCanBeDerivedFromOthers) {
  CudaModelBuilder builder = derived_adder();
  Model model(builder.spec(), cuda_options());
  Buffer<float> weight({1}, {3});
  const aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", weight.tensor()};
  for (const char* function : {"cuLaunchKernel", "cuMemAlloc_v2", "cuStreamCreate", "cuMemcpyDtoDAsync_v2"}) {
    for (int skip = 0; skip < 4; ++skip) {
      fake_cuda::fail(function, 2, skip, 10);
      const bool is_set = aotbuild_model_set_weights(model.handle, &named, 1) == AOTBUILD_OK;
      fake_cuda::fail(function, 0, 0, 0);
      if (is_set) {
        Buffer<float> before({1}, {10});
        const aotbuild_named_tensor back = {sizeof(aotbuild_named_tensor), "w", before.tensor()};
        ASSERT_EQ(aotbuild_model_set_weights(model.handle, &back, 1), AOTBUILD_OK) << aotbuild_last_error();
      }
      EXPECT_EQ(call(model, {1}), (std::vector<float>{21})) << function << " " << skip;
    }
  }
}

TEST_F(CudaMemory, BlocksThatDoNotFitWhatIsAskedForNextAreKept) {
  CudaModelBuilder builder([](CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
    // One at a time, each too large for the block before: together they are more than twice the largest.
    for (std::int64_t length = 1000; length < 200000; length = length * 8 / 5) {
      const RAIIAtenTensorHandle hidden = allocate(context, length, -1);
    }
    run_add(context, inputs, outputs);
  });
  builder->input("x", kFloat, {dynamic("n", 0, 4096)})
      .output("y", kFloat, {dynamic("n", 0, 4096)})
      .weight("w", {1}, {10});
  Model model(builder.spec(), cuda_options(-1));
  call(model, {1});
  const std::uint64_t allocations = statistics_of(model).driver_allocations;
  for (int i = 0; i < 100; ++i) call(model, {1});
  EXPECT_EQ(statistics_of(model).driver_allocations, allocations);
}

TEST_F(CudaMemory, CachesAreGivenUpBeforeACallFails) {
  fake_cuda::set_devices({{90, 100000, 232448}});
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  // What calls of several sizes have left behind does not fit beside the largest call.
  for (std::size_t length = 256; length <= 4096; length += 256) {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(call(model, std::vector<float>(length, 1)).size(), length) << length;
  }
}

TEST_F(CudaGraphs, AreCapturedAheadForSizesThatAreSaid) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  std::int64_t shape[] = {3};
  const aotbuild_tensor sized{nullptr, {AOTBUILD_CUDA, 0}, 1, kFloat, shape, nullptr, 0};
  const long launches = fake_cuda::calls("cuGraphLaunch");
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(aotbuild_model_capture_graph(model.handle, 0, &sized, 1), AOTBUILD_OK) << aotbuild_last_error();
  }
  EXPECT_EQ(statistics_of(model).graph_captures, 1U);
  EXPECT_EQ(statistics_of(model).calls, 0U);
  EXPECT_EQ(fake_cuda::calls("cuGraphLaunch"), launches) << "nothing runs";
  EXPECT_EQ(call(model, {1, 2, 3}), (std::vector<float>{21, 22, 23}));
  EXPECT_EQ(statistics_of(model).graph_replays, 1U);
}

TEST_F(CudaGraphs, ThatCannotBeCapturedAheadSayWhy) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options(-1));
  std::int64_t shape[] = {3};
  aotbuild_tensor sized{nullptr, {AOTBUILD_CPU, 0}, 1, kFloat, shape, nullptr, 0};
  EXPECT_EQ(aotbuild_model_capture_graph(model.handle, 0, &sized, 1), AOTBUILD_RUNTIME_ERROR);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: no CUDA graph was captured: aotbuild_options::cuda_graphs is -1");
  shape[0] = 5000;
  EXPECT_EQ(aotbuild_model_capture_graph(model.handle, 0, &sized, 1), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: input 'x' dimension 0 is 5000, allowed range is 0..4096 (symbol 'n')");
  Model many(builder.spec(), cuda_options());
  shape[0] = 2;
  fake_cuda::fail("cuGraphInstantiateWithFlags", 400);
  EXPECT_EQ(aotbuild_model_capture_graph(many.handle, 0, &sized, 1), AOTBUILD_RUNTIME_ERROR);
  EXPECT_STREQ(aotbuild_last_error(),
               "encoder: no CUDA graph was captured: encoder: cuGraphInstantiate failed: CUDA_ERROR_INVALID_HANDLE "
               "(invalid resource handle)");
  EXPECT_EQ(aotbuild_model_capture_graph(many.handle, 0, &sized, 1), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(call(many, {1, 2}), (std::vector<float>{21, 22}));
}

TEST_F(CudaErrors, AMachineWithoutADriver) {
  set_variable("AOTBUILD_CUDA_DRIVER", "/nowhere/libcuda.so.1");
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  EXPECT_EQ(model.status, AOTBUILD_UNSUPPORTED_HARDWARE);
#if defined(_WIN32)
  const std::string why = "(error 126)";  // the text before it is the system's, in its language
#else
  const std::string why = "cannot open shared object file: No such file or directory";
#endif
  const std::string message = aotbuild_last_error();
  const std::string begin = "encoder: built for CUDA, but this machine has no NVIDIA driver (/nowhere/libcuda.so.1: ";
  const std::string end = why + "); install the driver, or build a model with DEVICE cpu";
  EXPECT_EQ(message.substr(0, begin.size()), begin);
  EXPECT_EQ(message.substr(message.size() - std::min(message.size(), end.size())), end);
}

// The same library by another name: the runtime has not opened it yet.
void use_fresh_driver() {
  static int count = 0;
  std::string path = path_of_driver();
  const std::size_t slash = path.rfind('/');
  std::string prefix;
  for (++count; prefix.size() < static_cast<std::size_t>(2 * count);) prefix += "./";
  set_variable("AOTBUILD_CUDA_DRIVER", path.insert(slash + 1, prefix).c_str());
}

std::string creation_error(CudaModelBuilder& builder, aotbuild_status status,
                           const aotbuild_options& options = cuda_options()) {
  Model model(builder.spec(), options);
  EXPECT_EQ(model.status, status);
  return aotbuild_last_error();
}

TEST_F(CudaEarlyLaunches, AreNotMadeByDriversWhoseGraphsDoNotHaveThem) {
  use_fresh_driver();
  fake_cuda::set_driver_version(12020);
  EXPECT_EQ(of_two_calls(), std::vector<bool>(8, false));
}

TEST_F(CudaErrors, ADriverThatIsTooOld) {
  use_fresh_driver();
  fake_cuda::set_driver_version(11040);
  CudaModelBuilder builder = adder();
  const std::string text = creation_error(builder, AOTBUILD_UNSUPPORTED_HARDWARE);
  EXPECT_NE(text.find("is too old: it is for CUDA 11.4; install a driver for CUDA 12.0 or later"), std::string::npos)
      << text;
}

TEST_F(CudaErrors, AMachineWithoutADevice) {
  use_fresh_driver();
  fake_cuda::set_devices({});
  CudaModelBuilder builder = adder();
  EXPECT_EQ(creation_error(builder, AOTBUILD_UNSUPPORTED_HARDWARE),
            "encoder: built for CUDA, but this machine has no CUDA device that the program may use; check nvidia-smi "
            "and CUDA_VISIBLE_DEVICES");
}

TEST_F(CudaErrors, ADeviceThatIsNotThere) {
  CudaModelBuilder builder = adder();
  EXPECT_EQ(creation_error(builder, AOTBUILD_UNSUPPORTED_HARDWARE, cuda_options(0, 3)),
            "encoder: the program asks for CUDA device 3, but this machine has 1 that it may use (CUDA_VISIBLE_DEVICES "
            "hides devices)");
}

TEST_F(CudaErrors, ADeviceThatNoVariantServes) {
  fake_cuda::set_devices({{86, 1 << 20, 101376}});
  CudaModelBuilder builder = adder();
  builder.without_variants()
      .variant("sm_90a", 90, CudaImageKind::kArchitectureSpecific)
      .variant("sm_80", 80, CudaImageKind::kCubin, 166912)
      .variant("sm_89", 89, CudaImageKind::kCubin);
  EXPECT_EQ(creation_error(builder, AOTBUILD_UNSUPPORTED_HARDWARE),
            "encoder: device 0 (Fake 0, compute capability 8.6) loads none of the architectures that it was built "
            "for: sm_90a, sm_80 (needs 166912 bytes of shared memory, the device has 101376), sm_89; add 86 to "
            "CUDA_ARCHITECTURES");
}

TEST_F(CudaErrors, TheBestVariantIsChosen) {
  fake_cuda::set_devices({{89, 1 << 20, 101376}});
  CudaModelBuilder builder = adder();
  builder.without_variants()
      .variant("compute_89", 89, CudaImageKind::kPtx)
      .variant("sm_80", 80, CudaImageKind::kCubin)
      .variant("sm_86", 86, CudaImageKind::kCubin)
      .variant("sm_90", 90, CudaImageKind::kCubin);
  fake_cuda::fail("cuFuncGetAttribute", 1);
  // All variants fail alike; that of sm_86 must be the one whose image is loaded.
  const std::string text = creation_error(builder, AOTBUILD_RUNTIME_ERROR);
  EXPECT_EQ(text,
            "encoder: cuFuncGetAttribute failed for kernel 'add_weight': CUDA_ERROR_INVALID_VALUE (invalid argument)");
  Model model(builder.spec(), cuda_options());
  EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
}

TEST_F(CudaErrors, AnImageThatTheDriverDoesNotTake) {
  CudaModelBuilder builder = adder();
  fake_cuda::fail("cuModuleLoadData", 222);
  EXPECT_EQ(
      creation_error(builder, AOTBUILD_UNSUPPORTED_HARDWARE),
      "encoder: cuModuleLoadData failed for kernel 'add_weight' on device 0 (Fake 0, compute capability 9.0) with "
      "a driver for CUDA 12.8: CUDA_ERROR_UNSUPPORTED_PTX_VERSION (the provided PTX was compiled with an "
      "unsupported toolchain.); the driver is older than the compiler that made the kernels: update the NVIDIA "
      "driver");
  fake_cuda::fail("cuModuleGetFunction", 500);
  EXPECT_EQ(creation_error(builder, AOTBUILD_RUNTIME_ERROR),
            "encoder: cuModuleGetFunction failed for kernel 'add_weight': CUDA_ERROR_NOT_FOUND (named symbol not "
            "found)");
}

TEST_F(CudaErrors, EveryStepOfCreationMayFail) {
  CudaModelBuilder builder = adder();
  const char* const functions[] = {
      "cuDeviceGetCount",         "cuDeviceGet",         "cuDeviceGetName",  "cuDeviceGetAttribute",
      "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuModuleLoadData", "cuModuleGetFunction",
      "cuFuncGetAttribute",       "cuMemAlloc_v2",       "cuStreamCreate",   "cuMemcpyHtoDAsync_v2",
      "cuStreamSynchronize"};
  for (const char* function : functions) {
    // Memory is asked for once more when caches were given up.
    fake_cuda::fail(function, 2, 0, function == std::string("cuMemAlloc_v2") ? 2 : 1);
    const std::string text = creation_error(builder, AOTBUILD_OUT_OF_MEMORY);
    EXPECT_EQ(text.rfind("encoder: ", 0), 0U) << text;
    EXPECT_TRUE(fake_cuda::live().none()) << function;
  }
}

TEST_F(CudaErrors, EveryStepOfACallMayFailAndTheNextCallIsRight) {
  const Context context;
  CudaModelBuilder builder = adder();
  const char* const functions[] = {"cuCtxPushCurrent_v2",  "cuPointerGetAttributes", "cuStreamCreate",
                                   "cuEventCreate",        "cuMemAlloc_v2",          "cuMemAllocHost_v2",
                                   "cuMemcpyHtoDAsync_v2", "cuLaunchKernel",         "cuMemcpyDtoHAsync_v2",
                                   "cuMemcpyDtoDAsync_v2", "cuGraphLaunch",          "cuStreamSynchronize"};
  for (const char* function : functions) {
    for (const int first : {0, 1, 2}) {  // the call that fails: with kernels, with the capture, with the graph
      for (const bool on_host : {true, false}) {
        Model model(builder.spec(), cuda_options());
        bool failed = false;
        for (int i = 0; i < 4; ++i) {
          DeviceFloats on_device({1, 2});
          Buffer<float> x({2}, {1, 2});
          Buffer<float> y({2});
          aotbuild_tensor in = on_host ? x.tensor() : on_device.tensor();
          aotbuild_tensor out = on_host ? y.tensor() : to_allocate_on_device();
          aotbuild_result* result = nullptr;
          if (i == first) fake_cuda::fail(function, 400);
          const aotbuild_status status = aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result);
          if (status != AOTBUILD_OK) {
            EXPECT_EQ(i, first) << function;
            failed = true;
          } else {
            EXPECT_EQ(static_cast<float*>(out.data)[1], 22) << function << " " << i;
          }
          if (result != nullptr) aotbuild_result_destroy(result);
          if (i == first) fake_cuda::fail(function, 0, 0, 0);
        }
        if (failed) {
          EXPECT_NE(std::string(aotbuild_last_error()).find("CUDA_ERROR_INVALID_HANDLE"), std::string::npos)
              << function;
        }
      }
    }
  }
}

// Whichever call of the driver fails in the life of a model: what is asked of the model then says so, what is asked
// next is done right, and nothing is left on the device.
TEST_F(CudaErrors, AnyCallOfTheDriverMayFail) {
  CudaModelBuilder builder = adder();
  Buffer<float> weight({1}, {10});
  const aotbuild_named_tensor named = {sizeof(aotbuild_named_tensor), "w", weight.tensor()};
  long number = 0;
  for (bool has_failed = true; has_failed; ++number) {
    fake_cuda::fail_call(number, number % 2 == 0 ? 400 : 2);
    bool had_failed = false;
    const auto is_well = [&](aotbuild_status status) {
      has_failed = !fake_cuda::failed_call().empty();
      EXPECT_TRUE(status == AOTBUILD_OK || (has_failed && !had_failed))
          << number << ", " << fake_cuda::failed_call() << ": " << aotbuild_last_error();
      had_failed = has_failed;
      return status == AOTBUILD_OK;
    };
    const auto run = [&](aotbuild_model* model) {
      Buffer<float> x({2}, {1, 2});
      Buffer<float> y({2});
      aotbuild_tensor in = x.tensor();
      aotbuild_tensor out = y.tensor();
      if (is_well(aotbuild_model_run(model, 0, nullptr, &in, 1, &out, 1, nullptr))) {
        EXPECT_EQ(y.values, (std::vector<float>{21, 22})) << number;
      }
    };
    {
      Model model(builder.spec(), cuda_options());
      if (is_well(model.status)) {
        for (int i = 0; i < 4; ++i) run(model.handle);  // launched, captured, replayed
        is_well(aotbuild_model_set_weights(model.handle, &named, 1));
        run(model.handle);
        aotbuild_model* session = nullptr;
        if (is_well(aotbuild_model_new_session(model.handle, &session))) run(session);
        aotbuild_model_destroy(session);
        run(model.handle);
      }
    }
    const std::string failed = fake_cuda::failed_call();
    has_failed = !failed.empty();
    fake_cuda::fail_call(-1, 0);
    for (void* popped = nullptr; fake_cuda::context_depth() > 0;) cuCtxPopCurrent_v2(&popped);
    // What the driver has refused to free stays.
    const auto is_of = [&failed](const char* word) { return failed.find(word) != std::string::npos; };
    if (is_of("Destroy") || is_of("Free") || is_of("Unload") || is_of("Release")) {
      SetUp();
    } else {
      EXPECT_TRUE(fake_cuda::live().none()) << number << ", " << failed;
    }
  }
  EXPECT_GT(number, 50);
  std::printf("calls of the driver that failed: %ld\n", number - 1);
}

TEST_F(CudaErrors, OutOfMemoryNamesTheNeedAndLeavesTheModelUsable) {
  fake_cuda::set_devices({{90, 20000, 232448}});
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  Buffer<float> x({4096});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_OUT_OF_MEMORY);
    const std::string text = aotbuild_last_error();
    EXPECT_NE(text.find("device 0 (Fake 0, compute capability 9.0) has no memory for 16384 bytes of a tensor: this "
                        "model holds "),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("use a smaller batch"), std::string::npos) << text;
    EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
  }
}

TEST_F(CudaErrors, ALaunchThatFailsNamesTheKernel) {
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  fake_cuda::fail("cuLaunchKernel", 701);
  Buffer<float> x({3});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_RUNTIME_ERROR);
  EXPECT_STREQ(aotbuild_last_error(),
               "encoder: cuLaunchKernel failed for kernel 'add_weight' with 3 x 1 x 1 blocks of 128 threads and 1024 "
               "bytes of shared memory: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (too many resources requested for launch); "
               "the kernel needs more registers or shared memory than this device has");
  EXPECT_EQ(call(model, {1}), (std::vector<float>{21}));
}

TEST_F(CudaErrors, ALostDeviceIsAnErrorAndTheProcessLivesOn) {
  CudaModelBuilder broken([](CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
    outputs[0] = allocate(context, 1, 0);
    void* data = data_of(outputs[0]);
    void* arguments[] = {&data};
    context_launch(context, kBroken, 1, 1, 1, arguments);
  });
  broken->output("y", kFloat, {fixed(1)});
  CudaModelBuilder good = adder();
  {
    Model first(broken.spec(), cuda_options());
    Model second(good.spec(), cuda_options());
    aotbuild_tensor out = to_allocate();
    aotbuild_result* result = nullptr;
    EXPECT_EQ(aotbuild_model_run(first.handle, 0, nullptr, nullptr, 0, &out, 1, &result), AOTBUILD_RUNTIME_ERROR);
    EXPECT_STREQ(
        aotbuild_last_error(),
        "encoder: cuStreamSynchronize failed: CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was "
        "encountered); work that was queued on the device has failed, and the driver takes no more work for it "
        "from this process (models for the CPU go on): restart the process");
    Buffer<float> x({1});
    aotbuild_tensor in = x.tensor();
    EXPECT_EQ(aotbuild_model_run(second.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_RUNTIME_ERROR);
  }
  const std::string text = creation_error(good, AOTBUILD_RUNTIME_ERROR);
  EXPECT_EQ(text.rfind("encoder: cuDevicePrimaryCtxRetain failed for device 0 (Fake 0, compute capability 9.0): "
                       "CUDA_ERROR_ILLEGAL_ADDRESS",
                       0),
            0U)
      << text;
}

TEST_F(CudaErrors, AnIndexOutOfBoundsFailsItsCallAlone) {
  CudaModelBuilder builder(run_lookup);
  builder->input("x", kFloat, {fixed(1)}).output("y", kFloat, {fixed(1)});
  const std::string text =
      "kernel 'lookup' was given an index out of bounds and used 0 instead; the outputs are wrong. Check the values of "
      "the inputs that hold indices";
  for (const std::int32_t graphs : {-1, 0}) {
    Model model(builder.spec(), cuda_options(graphs));
    for (int i = 0; i < 4; ++i) {
      Buffer<float> x({1}, {11});
      aotbuild_tensor in = x.tensor();
      aotbuild_tensor out = to_allocate();
      aotbuild_result* result = nullptr;
      EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_RUNTIME_ERROR);
      EXPECT_EQ(aotbuild_last_error(), "encoder: " + text);
      EXPECT_EQ(result, nullptr);
      EXPECT_EQ(call(model, {3}), (std::vector<float>{9}));
    }
  }
}

TEST_F(CudaErrors, AnIndexOutOfBoundsOnAStreamFailsWhoeverWaitsOrCallsNext) {
  const Context context;
  CudaModelBuilder builder(run_lookup);
  builder->input("x", kFloat, {fixed(1)}).output("y", kFloat, {fixed(1)});
  Model model(builder.spec(), cuda_options());
  const Stream stream;
  DeviceFloats x({12});
  DeviceFloats y({0});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  const std::string text =
      "encoder: in an earlier call on a stream, kernel 'lookup' was given an index out of bounds and used 0 instead; "
      "the outputs of that call are wrong. Check the values of the inputs that hold indices";
  for (int i = 0; i < 3; ++i) {
    x.data[0] = 12;
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    if (i < 2) {
      EXPECT_EQ(aotbuild_model_synchronize(model.handle, stream.handle), AOTBUILD_RUNTIME_ERROR);
    } else {
      stream.wait();
      EXPECT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, nullptr), AOTBUILD_RUNTIME_ERROR);
    }
    EXPECT_EQ(aotbuild_last_error(), text);
    x.data[0] = 4;
    ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
    ASSERT_EQ(aotbuild_model_synchronize(model.handle, stream.handle), AOTBUILD_OK) << aotbuild_last_error();
    EXPECT_EQ(y.values(), (std::vector<float>{16}));
  }
}

TEST_F(CudaErrors, PointersThatAreNotWhatTheySay) {
  fake_cuda::set_devices({{}, {}});
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  const Context other_context(1);
  DeviceFloats elsewhere({1});
  Buffer<float> host({1});
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  const auto error_for = [&](aotbuild_tensor in) {
    EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &out, 1, &result), AOTBUILD_INVALID_ARGUMENT);
    return std::string(aotbuild_last_error());
  };
  aotbuild_tensor mislabelled = host.tensor();
  mislabelled.device = {AOTBUILD_CUDA, 0};
  EXPECT_EQ(error_for(mislabelled),
            "encoder: input 'x' says that it is on CUDA device 0, but CUDA does not know its pointer; for host memory "
            "set aotbuild_tensor::device to {AOTBUILD_CPU, 0}");
  EXPECT_EQ(error_for(elsewhere.tensor(0)),
            "encoder: the memory of input 'x' is on CUDA device 1, but the model is on device 0; copy it there, or set "
            "aotbuild_options::device when creating the model");
  EXPECT_EQ(error_for(elsewhere.tensor(1)),
            "encoder: input 'x' is on CUDA device 1, but the model is on device 0; copy it there, or set "
            "aotbuild_options::device when creating the model");
  mislabelled.device.type = 7;
  EXPECT_EQ(error_for(mislabelled), "encoder: input 'x' is on device type 7, expected 2 (CUDA) or 1 (CPU)");
}

TEST_F(CudaErrors, StreamsThatCannotBeUsed) {
  fake_cuda::set_devices({{}, {}});
  CudaModelBuilder builder = adder();
  Model model(builder.spec(), cuda_options());
  Buffer<float> x({1});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  {
    const Context context(1);
    const Stream stream;
    EXPECT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, &result), AOTBUILD_INVALID_ARGUMENT);
    EXPECT_STREQ(aotbuild_last_error(),
                 "encoder: the stream is of another context than that of device 0 (Fake 0, compute capability 9.0); "
                 "create it on that device with the CUDA runtime, or in its primary context");
  }
  const Context context;
  const Stream stream;
  EXPECT_EQ(cuStreamBeginCapture_v2(stream.handle, 2), 0);
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, &result), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(
      aotbuild_last_error(),
      "encoder: the stream is being captured into a CUDA graph, and the model makes graphs of its own; call it "
      "outside of the capture");
  void* graph = nullptr;
  EXPECT_EQ(cuStreamEndCapture(stream.handle, &graph), 0);
  EXPECT_EQ(cuGraphDestroy(graph), 0);
  // The legacy default stream is 1.
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, reinterpret_cast<void*>(1), &in, 1, &out, 1, &result), AOTBUILD_OK)
      << aotbuild_last_error();
  aotbuild_result_destroy(result);
}

TEST_F(CudaErrors, AModelForTheCpuHasNoStreams) {
  ModelBuilder builder([](CallContext&, AtenTensorHandle*, AtenTensorHandle*) {});
  Model model(builder.spec());
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, &builder, nullptr, 0, nullptr, 0, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: built for the CPU, it cannot run on a CUDA stream; pass a null stream");
  EXPECT_EQ(statistics_of(model).calls, 0U);
  aotbuild_options options = cuda_options();
  Model wrong(builder.spec(), options);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: built for the CPU, it cannot run on device type 2");
}

TEST_F(CudaCalls, SeveralDevices) {
  fake_cuda::set_devices({{}, {}});
  CudaModelBuilder builder = adder();
  Model first(builder.spec(), cuda_options(0, 0));
  Model second(builder.spec(), cuda_options(0, 1));
  EXPECT_EQ(fake_cuda::live().contexts, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(call(first, {1}), (std::vector<float>{21}));
    EXPECT_EQ(call(second, {2}), (std::vector<float>{22}));
  }
}

TEST_F(CudaCalls, SeveralDevicesWithTheirOwnMemoryStreamsAndGraphs) {
  fake_cuda::set_devices({{}, {}});
  CudaModelBuilder builder = adder();
  std::deque<Model> models;
  for (const std::int32_t device : {0, 1}) models.emplace_back(builder.spec(), cuda_options(0, device));
  for (int i = 0; i < 4; ++i) {
    for (const std::int32_t device : {0, 1}) {
      const Context context(device);
      const Stream stream;
      DeviceFloats x({static_cast<float>(i), static_cast<float>(device)});
      DeviceFloats y({0, 0});
      aotbuild_tensor in = x.tensor(device);
      aotbuild_tensor out = y.tensor(device);
      Model& model = models[static_cast<std::size_t>(device)];
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, stream.handle, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
          << aotbuild_last_error();
      stream.wait();
      EXPECT_EQ(y.values(), (std::vector<float>{static_cast<float>(20 + i), static_cast<float>(20 + device)}));
      aotbuild_tensor made = to_allocate_on_device();
      aotbuild_result* result = nullptr;
      ASSERT_EQ(aotbuild_model_run(model.handle, 0, nullptr, &in, 1, &made, 1, &result), AOTBUILD_OK)
          << aotbuild_last_error();
      EXPECT_EQ(made.device.index, device);
      aotbuild_result_destroy(result);
    }
  }
  for (const Model& model : models) {
    EXPECT_EQ(statistics_of(model).graph_captures, 1U);
    EXPECT_EQ(statistics_of(model).graph_replays, 7U);
  }
}

TEST_F(CudaErrors, OtherModelsLiveOnAfterEachFault) {
  const Context context;
  fake_cuda::set_devices({{90, 100000, 232448}});
  CudaModelBuilder builder = adder();
  Model faulty(builder.spec(), cuda_options());
  Model other(builder.spec(), cuda_options());
  const Stream stream;
  EXPECT_EQ(call(other, {1}), (std::vector<float>{21}));
  Buffer<float> x({4096});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = to_allocate();
  aotbuild_result* result = nullptr;
  const auto fails = [&](aotbuild_status status) {
    EXPECT_EQ(aotbuild_model_run(faulty.handle, 0, nullptr, &in, 1, &out, 1, &result), status) << aotbuild_last_error();
    fake_cuda::fail("cuMemAlloc_v2", 0, 0, 0);
    EXPECT_EQ(call(other, {2}), (std::vector<float>{22}));
    EXPECT_EQ(call(faulty, {3}), (std::vector<float>{23}));
  };
  fake_cuda::fail("cuMemAlloc_v2", 2, 0, 10);
  fails(AOTBUILD_OUT_OF_MEMORY);
  fake_cuda::fail("cuLaunchKernel", 701);
  fails(AOTBUILD_RUNTIME_ERROR);
  in.device = {AOTBUILD_CUDA, 0};
  fails(AOTBUILD_INVALID_ARGUMENT);
  in.device = {AOTBUILD_CUDA, 1};
  fails(AOTBUILD_INVALID_ARGUMENT);
}

// --- methods and sessions

enum MethodIndex { kStep, kRead };

// Adds twice the weight to the counter; y = x + the counter. Counts the counter as 0, the weight as 1.
void run_step(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  const AtenTensorHandle counter = context_weight(context, 0);
  launch_add(context, counter, counter, 1, 2);
  const std::int64_t length = length_of(inputs[0]);
  RAIIAtenTensorHandle y = allocate(context, length, 0);
  launch_add(context, inputs[0], y, length, 0);
  outputs[0] = y.release();
}

// y = the counter + twice the weight. Counts the weight as 0, the counter as 1.
void run_read(CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
  RAIIAtenTensorHandle y = allocate(context, 1, 0);
  launch_add(context, context_weight(context, 1), y, 1, 2);
  outputs[0] = y.release();
}

// The same, by way of the host.
void run_read_on_host(CallContext& context, AtenTensorHandle* inputs, AtenTensorHandle* outputs) {
  RAIIAtenTensorHandle on_host;
  const std::int64_t size = 1;
  AtenTensorHandle made = nullptr;
  check(aoti_torch_empty_strided(1, &size, &size, kFloat32, 0, 0, &made));
  const RAIIAtenTensorHandle copy = made;
  check(aoti_torch_copy_(copy, context_weight(context, 1), 0));
  run_read(context, inputs, outputs);
}

void derive_double_of_second(CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
  RAIIAtenTensorHandle doubled = allocate(context, 1, 0);
  launch_add(context, context_weight(context, 1), doubled, 1, 1);
  outputs[0] = doubled.release();
}

// A counter that begins at 5 and the weight 10; what is derived from the weight is the same for both methods.
class CounterBuilder {
 public:
  explicit CounterBuilder(ModelBuilder::Run read_function = run_read)
      : step_(run_step),
        read_(read_function),
        step_derived_{derive_double_of_second, 1, 1, kSecond},
        read_derived_{derive_double, 1, 1, kUnread} {
    step_->weight("counter", {1}, {5}, /*mutated=*/true).weight("w", {1}, {10});
    step_.derive(step_derived_);
    read_.derive(read_derived_);
  }
  CudaModelBuilder& step() { return step_; }
  CudaModelBuilder& read() { return read_; }
  CounterBuilder& begins_as_zero() {
    zeros_ = true;
    return *this;
  }

  const aotbuild::detail::ModelSpec& spec() {
    spec_ = step_.spec();
    method_specs_[kStep] = {spec_.variants, {kStepWeights, 3}, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}};
    method_specs_[kRead] = {read_.spec().variants, {kReadWeights, 3}, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}};
    info_ = *spec_.info;
    info_.method_count = 2;
    info_.methods = methods_;
    weights_.assign(spec_.weights, spec_.weights + info_.weight_count);
    weights_[0].zeros = zeros_;
    weights_[0].required = !zeros_;
    spec_.weights = weights_.data();
    spec_.info = &info_;
    spec_.methods = method_specs_;
    return spec_;
  }

 private:
  static constexpr int kSecond[] = {1};
  static constexpr int kStepWeights[] = {0, 1, 2};
  static constexpr int kReadWeights[] = {1, 0, 2};
  template <typename T>
  static constexpr std::uint32_t kSize = sizeof(T);
  static constexpr aotbuild_dim_info kAny = {kSize<aotbuild_dim_info>, 0, 4096, "n", 1, 0};
  static constexpr aotbuild_dim_info kOne = {kSize<aotbuild_dim_info>, 1, 1, nullptr, 1, 0};
  static constexpr const aotbuild_dim_info* kAnyDims[] = {&kAny};
  static constexpr const aotbuild_dim_info* kOneDims[] = {&kOne};
  static constexpr aotbuild_tensor_info tensor(const char* name, const aotbuild_dim_info* const* dims) {
    return {kSize<aotbuild_tensor_info>, 1, name, kFloat, 0, {AOTBUILD_CUDA, 0}, dims, nullptr};
  }

  const aotbuild_tensor_info x_ = tensor("x", kAnyDims);
  const aotbuild_tensor_info y_ = tensor("y", kAnyDims);
  const aotbuild_tensor_info count_ = tensor("count", kOneDims);
  const aotbuild_tensor_info* tensors_[3] = {&x_, &y_, &count_};
  const aotbuild_method_info step_info_ = {kSize<aotbuild_method_info>, "step", 1, &tensors_[0], 1, &tensors_[1]};
  const aotbuild_method_info read_info_ = {kSize<aotbuild_method_info>, "read", 0, nullptr, 1, &tensors_[2]};
  const aotbuild_method_info* methods_[2] = {&step_info_, &read_info_};

  CudaModelBuilder step_;
  CudaModelBuilder read_;
  aotbuild::detail::CudaDerivedSpec step_derived_;
  aotbuild::detail::CudaDerivedSpec read_derived_;
  bool zeros_ = false;
  std::vector<aotbuild::detail::WeightSpec> weights_;
  aotbuild_model_info info_{};
  aotbuild::detail::MethodSpec method_specs_[2]{};
  aotbuild::detail::ModelSpec spec_{};
};

struct Session {
  explicit Session(const Model& model) : Session(model.handle) {}
  explicit Session(aotbuild_model* model) { status = aotbuild_model_new_session(model, &handle); }
  ~Session() { aotbuild_model_destroy(handle); }
  Session(const Session&) = delete;
  aotbuild_model* handle = nullptr;
  aotbuild_status status;
};

// From host memory to host memory.
std::vector<float> step(aotbuild_model* model, const std::vector<float>& values) {
  Buffer<float> x({static_cast<std::int64_t>(values.size())}, values);
  Buffer<float> y(x.shape);
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  EXPECT_EQ(aotbuild_model_run(model, kStep, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_OK) << aotbuild_last_error();
  return y.values;
}

float read(aotbuild_model* model) {
  Buffer<float> y({1});
  aotbuild_tensor out = y.tensor();
  EXPECT_EQ(aotbuild_model_run(model, kRead, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK)
      << aotbuild_last_error();
  return y.values[0];
}

aotbuild_statistics statistics_of(aotbuild_model* model) {
  aotbuild_statistics statistics{};
  statistics.struct_size = sizeof statistics;
  EXPECT_EQ(aotbuild_model_statistics(model, &statistics), AOTBUILD_OK) << aotbuild_last_error();
  return statistics;
}

using CudaMethods = Cuda;
using CudaSessions = Cuda;

TEST_F(CudaMethods, ShareWeightsWhatIsDerivedFromThemAndState) {
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(fake_cuda::calls("cuLaunchKernel"), 1) << "what both methods derive is computed once";
  float count = 5;
  for (int i = 0; i < 4; ++i) {  // launched, captured, replayed
    count += 20;
    EXPECT_EQ(step(model.handle, {1, 2}), (std::vector<float>{count + 1, count + 2})) << i;
    EXPECT_EQ(read(model.handle), count + 20) << i;
  }
  EXPECT_EQ(statistics_of(model).graph_captures, 2U);
  EXPECT_EQ(statistics_of(model).graph_replays, 6U);
}

TEST_F(CudaMethods, OnStreamsWithTensorsOnTheDevice) {
  const Context context;
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  const Stream streams[2];
  DeviceFloats x({1, 2});
  std::deque<DeviceFloats> made;
  aotbuild_tensor in = x.tensor();
  for (int i = 0; i < 6; ++i) {
    aotbuild_tensor out = made.emplace_back(std::vector<float>{0, 0}).tensor();
    ASSERT_EQ(aotbuild_model_run(model.handle, kStep, streams[i % 2].handle, &in, 1, &out, 1, nullptr), AOTBUILD_OK)
        << aotbuild_last_error();
  }
  for (const Stream& stream : streams) stream.wait();
  for (int i = 0; i < 6; ++i) {
    const auto count = static_cast<float>(25 + 20 * i);
    EXPECT_EQ(made[i].values(), (std::vector<float>{count + 1, count + 2})) << i;
  }
}

TEST_F(CudaMethods, HaveGraphsAheadOfTheirCalls) {
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  std::int64_t shape[] = {2};
  const aotbuild_tensor sized{nullptr, {AOTBUILD_CUDA, 0}, 1, kFloat, shape, nullptr, 0};
  ASSERT_EQ(aotbuild_model_capture_graph(model.handle, kStep, &sized, 1), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(statistics_of(model).graph_captures, 1U);
  EXPECT_EQ(step(model.handle, {1, 2}), (std::vector<float>{26, 27}));
  EXPECT_EQ(statistics_of(model).graph_replays, 1U);
  EXPECT_EQ(aotbuild_model_capture_graph(model.handle, 2, &sized, 1), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(), "encoder: there is no method 2; the model has 2");
}

TEST_F(CudaMethods, OneThatReadsOnTheHostTakesNoGraphsFromTheOthers) {
  CounterBuilder builder(run_read_on_host);
  Model model(builder.spec(), cuda_options());
  for (int i = 0; i < 3; ++i) {
    const auto count = static_cast<float>(25 + 20 * i);
    EXPECT_EQ(step(model.handle, {1}), (std::vector<float>{count + 1}));
    EXPECT_EQ(read(model.handle), count + 20);
  }
  const aotbuild_statistics statistics = statistics_of(model);
  EXPECT_EQ(statistics.graph_replays, 2U);
  EXPECT_STREQ(statistics.graph_obstacle, "read: aoti_torch_copy_ reads the GPU's memory");
}

TEST_F(CudaMethods, ADeviceHasToServeAllOfThem) {
  CounterBuilder builder;
  builder.read().variant("sm_80", 80, CudaImageKind::kCubin);
  builder.step().variant("sm_80", 80, CudaImageKind::kCubin);
  builder.read().max_shared_bytes(0, 300000);
  fake_cuda::set_devices({{90, std::size_t{1} << 30, 232448}});
  Model model(builder.spec(), cuda_options());
  EXPECT_EQ(model.status, AOTBUILD_UNSUPPORTED_HARDWARE);
  EXPECT_NE(std::string(aotbuild_last_error())
                .find("sm_90 (needs 300000 bytes of shared memory, the device has 232448), "
                      "sm_80; add 90"),
            std::string::npos)
      << aotbuild_last_error();
}

TEST_F(CudaMethods, ErrorsNameTheMethod) {
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  Buffer<float> x({5000});
  Buffer<float> y({5000});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  EXPECT_EQ(aotbuild_model_run(model.handle, kStep, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_STREQ(aotbuild_last_error(),
               "encoder.step: input 'x' dimension 0 is 5000, allowed range is 0..4096 (symbol 'n')");
  x.shape = y.shape = {1};
  in = x.tensor();
  in.device = {AOTBUILD_CUDA, 0};
  EXPECT_EQ(aotbuild_model_run(model.handle, kStep, nullptr, &in, 1, &out, 1, nullptr), AOTBUILD_INVALID_ARGUMENT);
  EXPECT_EQ(std::string(aotbuild_last_error()).rfind("encoder.step: input 'x' says that it is on CUDA device 0", 0), 0U)
      << aotbuild_last_error();
  EXPECT_EQ(step(model.handle, {1}), (std::vector<float>{26})) << "nothing was written by then";
}

TEST_F(CudaSessions, InTurnsSeeTheirOwnStateAlone) {
  CounterBuilder builder;
  auto model = std::make_unique<Model>(builder.spec(), cuda_options());
  const long uploads = fake_cuda::calls("cuMemcpyHtoDAsync_v2");
  auto first = std::make_unique<Session>(*model);
  const Session second(*model);
  ASSERT_EQ(first->status, AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(fake_cuda::calls("cuMemcpyHtoDAsync_v2"), uploads) << "weights are there once";
  EXPECT_EQ(fake_cuda::calls("cuModuleLoadData"), 2) << "kernels too";
  float count = 5;
  for (int i = 0; i < 5; ++i) {
    count += 20;
    EXPECT_EQ(step(first->handle, {1}), (std::vector<float>{count + 1})) << i;
    EXPECT_EQ(read(second.handle), 25 + (count - 25) * 2) << i;
    for (int k = 0; k < 2; ++k) step(second.handle, {1, 2, 3});
    EXPECT_EQ(read(first->handle), count + 20) << i;
  }
  EXPECT_EQ(read(model->handle), 25);
  EXPECT_EQ(statistics_of(first->handle).graph_captures, 2U);
  EXPECT_EQ(statistics_of(second.handle).graph_captures, 2U) << "a graph has the addresses of one session";
  EXPECT_EQ(statistics_of(first->handle).calls, 10U);
  // Whichever goes first, the others go on.
  model.reset();
  EXPECT_EQ(read(first->handle), count + 20);
  const Session third(first->handle);
  first.reset();
  EXPECT_EQ(read(third.handle), 25);
  EXPECT_EQ(read(second.handle), 25 + (count - 5) * 2);
}

TEST_F(CudaSessions, AllocateNothingInAThousandCalls) {
  const Context context;
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  const Session sessions[] = {Session(model), Session(model), Session(model)};
  const Stream streams[2];
  DeviceFloats x({1, 2});
  DeviceFloats y({0, 0});
  DeviceFloats count({0});
  aotbuild_tensor in = x.tensor();
  aotbuild_tensor out = y.tensor();
  aotbuild_tensor out_count = count.tensor();
  const auto run = [&](int i) {
    const Session& session = sessions[i % 3];
    void* const stream = streams[i % 2].handle;
    EXPECT_EQ(aotbuild_model_run(session.handle, kStep, stream, &in, 1, &out, 1, nullptr), 0);
    EXPECT_EQ(aotbuild_model_run(session.handle, kRead, stream, nullptr, 0, &out_count, 1, nullptr), 0);
  };
  for (int i = 0; i < 30; ++i) run(i);
  const std::uint64_t before = statistics_of(sessions[0].handle).driver_allocations;
  for (int i = 0; i < 1000; ++i) run(i);
  EXPECT_EQ(statistics_of(sessions[0].handle).driver_allocations, before);
  for (const Stream& stream : streams) stream.wait();
  for (const Session& session : sessions) EXPECT_GE(read(session.handle), 5 + 20 * 343);
}

TEST_F(CudaSessions, StateThatBeginsAsZerosIsStoredNowhere) {
  CounterBuilder builder;
  builder.begins_as_zero();
  Model model(builder.spec(), cuda_options());
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(step(model.handle, {1}), (std::vector<float>{21}));
  const Session session(model);
  EXPECT_EQ(read(session.handle), 20);
  EXPECT_EQ(read(model.handle), 40);
}

TEST_F(CudaSessions, WithOtherWeightsBeginAnewAndLeaveTheOthersAlone) {
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  const Session session(model);
  for (int i = 0; i < 3; ++i) {
    step(model.handle, {1});
    step(session.handle, {1});
  }
  Buffer<float> counter({1}, {100});
  Buffer<float> weight({1}, {1});
  const aotbuild_named_tensor named[] = {{sizeof(aotbuild_named_tensor), "counter", counter.tensor()},
                                         {sizeof(aotbuild_named_tensor), "w", weight.tensor()}};
  ASSERT_EQ(aotbuild_model_set_weights(session.handle, named, 2), AOTBUILD_OK) << aotbuild_last_error();
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(step(session.handle, {1}), (std::vector<float>{static_cast<float>(101 + 2 * i)}));
  }
  EXPECT_EQ(step(model.handle, {1}), (std::vector<float>{86}));
}

TEST_F(CudaSessions, RunAtTheSameTime) {
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  std::vector<std::thread> threads;
  std::vector<int> failures(6, 0);
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 3; ++round) {
        const Session session(model);
        for (int i = 1; i < 8; ++i) {
          const auto count = static_cast<float>(5 + 20 * i);
          if (step(session.handle, {static_cast<float>(t)}) != std::vector<float>{count + static_cast<float>(t)}) {
            ++failures[t];
          }
          if (read(session.handle) != count + 20) ++failures[t];
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, std::vector<int>(6, 0));
}

TEST_F(CudaSessions, EveryStepOfTheirCreationMayFail) {
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  EXPECT_EQ(step(model.handle, {1}), (std::vector<float>{26}));
  for (const char* function : {"cuMemAlloc_v2", "cuStreamCreate", "cuMemcpyDtoDAsync_v2", "cuStreamSynchronize"}) {
    fake_cuda::fail(function, 2, 0, 10);
    {
      const Session session(model);
      EXPECT_NE(session.status, AOTBUILD_OK) << function;
      EXPECT_NE(aotbuild_last_error(), std::string()) << function;
    }
    fake_cuda::fail(function, 0, 0, 0);
  }
  const Session session(model);
  EXPECT_EQ(read(session.handle), 25);
  EXPECT_EQ(read(model.handle), 45);
}

TEST_F(CudaSessions, ThatAreIdleGiveTheirMemoryToOthers) {
  fake_cuda::set_devices({{90, 150000, 232448}});
  CounterBuilder builder;
  Model model(builder.spec(), cuda_options());
  std::deque<Session> sessions;
  const std::vector<float> values(4096, 1);
  // The workspaces of all sessions do not fit beside each other.
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(sessions.emplace_back(model).status, AOTBUILD_OK) << aotbuild_last_error();
    for (int k = 0; k < 3; ++k) EXPECT_EQ(step(sessions.back().handle, values)[4095], 26 + 20 * k) << i;
  }
  for (const Session& session : sessions) EXPECT_EQ(step(session.handle, values)[0], 86);
}

}  // namespace
