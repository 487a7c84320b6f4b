// Collective operations by NCCL, over the stand-ins for it and for the driver: ranks are threads.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cuda/collectives.hpp"
#include "cuda/workspace.hpp"
#include "environment.hpp"
#include "fake_cuda/fake_cuda.hpp"
#include "fake_cuda/fake_nccl.hpp"

namespace {

namespace cuda = aotbuild::detail::cuda;
using aotbuild::detail::Error;
using aotbuild::detail::Reduction;
using aotbuild::detail::ScalarType;
using cuda::Communicator;
using std::chrono::milliseconds;

constexpr milliseconds kPatient{20000};
constexpr milliseconds kImpatient{300};
constexpr std::size_t kCount = 6;

// What a rank of a test has.
struct Rank {
  Rank(int rank, int world_size, const cuda::CommunicatorId& id, milliseconds timeout)
      : number(rank),
        device(std::make_shared<cuda::CudaDevice>(cuda::open_driver("net"), rank, "net")),
        scope(*device),
        communicator(device, id, rank, world_size, timeout),
        stream(device),
        source(device, 1024, "a test"),
        target(device, 1024, "a test") {
    for (std::size_t i = 0; i < kCount * 2; ++i) values()[i] = static_cast<float>(10 * rank) + static_cast<float>(i);
  }
  float* values() const { return static_cast<float*>(source.data()); }
  std::vector<float> wait(std::size_t count) {
    communicator.watch(stream.get());
    device->check(device->driver().stream_synchronize(stream.get()), "cuStreamSynchronize");
    communicator.check();
    const auto* const found = static_cast<const float*>(target.data());
    return {found, found + count};
  }

  int number;
  std::shared_ptr<cuda::CudaDevice> device;
  cuda::ContextScope scope;
  Communicator communicator;
  cuda::OwnedStream stream;
  cuda::DeviceBuffer source;
  cuda::DeviceBuffer target;
};

class CudaCollectives : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    set_variable("AOTBUILD_CUDA_DRIVER", AOTBUILD_FAKE_CUDA);
    set_variable("AOTBUILD_NCCL", AOTBUILD_FAKE_NCCL);
    fake_cuda::reset();
    fake_cuda::set_devices(std::vector<fake_cuda::Device>(4));
    fake_nccl::reset();
  }
  void TearDown() override {
    EXPECT_TRUE(fake_cuda::live().none());
    EXPECT_EQ(fake_nccl::communicators(), 0);
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>());
  }

  // What each rank's `body` has thrown; empty: nothing.
  static std::vector<std::string> on_ranks(int world_size, const std::function<void(Rank&)>& body,
                                           milliseconds timeout = kPatient, int missing = -1) {
    const cuda::CommunicatorId id = cuda::make_communicator_id("net");
    std::vector<std::string> errors(static_cast<std::size_t>(world_size));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < world_size; ++rank) {
      if (rank == missing) continue;
      threads.emplace_back([&, rank] {
        try {
          Rank one(rank, world_size, id, timeout);
          body(one);
        } catch (const Error& error) {
          errors[static_cast<std::size_t>(rank)] = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return errors;
  }
  static void expect_none(const std::vector<std::string>& errors) {
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
};

TEST_P(CudaCollectives, GiveEachRankWhatItIsToHave) {
  const int size = GetParam();
  const auto ranks = static_cast<float>(size);
  const float ranks_sum = 10 * ranks * (ranks - 1) / 2;
  expect_none(on_ranks(size, [&](Rank& rank) {
    Communicator& all = rank.communicator;
    const cuda::Stream stream = rank.stream.get();
    void* const target = rank.target.data();
    const auto expect = [&](const char* what, std::size_t count, const std::function<float(std::size_t)>& value) {
      const std::vector<float> found = rank.wait(count);
      for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(found[i], value(i)) << what << ' ' << rank.number << ' ' << i;
    };
    all.all_reduce(rank.values(), target, kCount, ScalarType::kFloat32, Reduction::kSum, stream);
    expect("sum", kCount, [&](std::size_t i) { return ranks_sum + ranks * static_cast<float>(i); });
    all.all_reduce(rank.values(), target, kCount, ScalarType::kFloat32, Reduction::kMaximum, stream);
    expect("maximum", kCount, [&](std::size_t i) { return 10 * (ranks - 1) + static_cast<float>(i); });
    all.all_reduce(rank.values(), target, kCount, ScalarType::kFloat32, Reduction::kMean, stream);
    expect("mean", kCount, [&](std::size_t i) { return (ranks_sum + ranks * static_cast<float>(i)) / ranks; });
    all.all_gather(rank.values(), target, 3, ScalarType::kFloat32, stream);
    expect("gather", 3 * static_cast<std::size_t>(size),
           [&](std::size_t i) { return static_cast<float>(10 * (i / 3) + i % 3); });
    all.reduce_scatter(rank.values(), target, 2, ScalarType::kFloat32, Reduction::kSum, stream);
    expect("scatter", 2, [&](std::size_t i) { return ranks_sum + ranks * static_cast<float>(2 * rank.number + i); });
    all.broadcast(rank.values(), target, kCount, ScalarType::kFloat32, size - 1, stream);
    expect("broadcast", kCount, [&](std::size_t i) { return 10 * (ranks - 1) + static_cast<float>(i); });
    all.all_to_all(rank.values(), target, 2 * static_cast<std::size_t>(size), ScalarType::kFloat32, stream);
    expect("all to all", 2 * static_cast<std::size_t>(size),
           [&](std::size_t i) { return static_cast<float>(10 * (i / 2) + 2 * rank.number + i % 2); });
  }));
}

TEST_P(CudaCollectives, InPlaceAndInAGraph) {
  const int size = GetParam();
  expect_none(on_ranks(size, [&](Rank& rank) {
    const cuda::Driver& driver = rank.device->driver();
    const cuda::Stream stream = rank.stream.get();
    rank.device->check(driver.stream_begin_capture(stream, cuda::kCaptureThreadLocal), "cuStreamBeginCapture");
    rank.communicator.all_reduce(rank.values(), rank.values(), kCount, ScalarType::kFloat32, Reduction::kSum, stream);
    rank.communicator.all_reduce(rank.values(), rank.target.data(), kCount, ScalarType::kFloat32, Reduction::kSum,
                                 stream);
    cuda::Graph graph = nullptr;
    rank.device->check(driver.stream_end_capture(stream, &graph), "cuStreamEndCapture");
    cuda::GraphExec executable = nullptr;
    rank.device->check(driver.graph_instantiate(&executable, graph, 0), "cuGraphInstantiate");
    driver.graph_destroy(graph);
    for (int replay = 0; replay < 3; ++replay) {
      for (std::size_t i = 0; i < kCount; ++i) rank.values()[i] = static_cast<float>(replay + 1);
      rank.device->check(driver.graph_launch(executable, stream), "cuGraphLaunch");
      const std::vector<float> found = rank.wait(kCount);
      EXPECT_EQ(found, std::vector<float>(kCount, static_cast<float>((replay + 1) * size * size)));
    }
    driver.graph_exec_destroy(executable);
  }));
}

INSTANTIATE_TEST_SUITE_P(Sizes, CudaCollectives, ::testing::Values(1, 2, 4));

TEST_F(CudaCollectives, APeerThatDoesNotCallIsAnErrorOnEveryRank) {
  const std::vector<std::string> errors = on_ranks(
      2,
      [](Rank& rank) {
        for (int call = 0; call < 2; ++call) {
          if (call == 1 && rank.number == 1) {
            std::this_thread::sleep_for(3 * kImpatient);
            return;
          }
          rank.communicator.all_reduce(rank.values(), rank.target.data(), kCount, ScalarType::kFloat32, Reduction::kSum,
                                       rank.stream.get());
          rank.wait(kCount);
        }
      },
      kImpatient);
  EXPECT_EQ(errors[0], "net: rank 0 of 2 waited 300 ms for a peer; destroy the model on all ranks and create it anew");
  EXPECT_EQ(errors[1], "");
}

TEST_F(CudaCollectives, APeerThatIsLostIsNoticedBeforeTheTimeout) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> errors = on_ranks(2, [](Rank& rank) {
    if (rank.number == 1) {
      std::this_thread::sleep_for(kImpatient);
      fake_nccl::lose(1);
      return;
    }
    rank.communicator.all_reduce(rank.values(), rank.target.data(), kCount, ScalarType::kFloat32, Reduction::kSum,
                                 rank.stream.get());
    EXPECT_THROW(rank.wait(kCount), Error);
    rank.communicator.all_reduce(rank.values(), rank.target.data(), kCount, ScalarType::kFloat32, Reduction::kSum,
                                 rank.stream.get());
  });
  EXPECT_EQ(errors[0],
            "net: a peer of rank 0 of 2 is lost: remote process exited or there was a network error; destroy the model "
            "on all ranks and create it anew");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatient);
}

TEST_F(CudaCollectives, RanksThatDoNotComeAreNamed) {
  const std::vector<std::string> errors = on_ranks(3, [](Rank&) { FAIL() << "there is no third rank"; }, kImpatient, 2);
  EXPECT_EQ(
      errors[0],
      "net: rank 0 waited 300 ms for the others of 3 in ncclCommInitRankConfig; all ranks have to be created with "
      "the same id and to make the same calls");
  EXPECT_NE(errors[1], "");
}

TEST_F(CudaCollectives, EachFunctionMayFail) {
  for (const char* function : {"ncclCommInitRankConfig", "ncclCommGetAsyncError", "ncclAllReduce"}) {
    fake_nccl::fail(function, 4);
    const std::vector<std::string> errors = on_ranks(1, [](Rank& rank) {
      rank.communicator.all_reduce(rank.values(), rank.target.data(), kCount, ScalarType::kFloat32, Reduction::kSum,
                                   rank.stream.get());
      rank.wait(kCount);
    });
    EXPECT_NE(errors[0].find("failed on rank 0 of 1: invalid argument"), std::string::npos) << function << errors[0];
  }
  fake_nccl::fail("ncclGetUniqueId", 4);
  EXPECT_THROW(cuda::make_communicator_id("net"), Error);
}

TEST_F(CudaCollectives, WithoutTheLibrary) {
  set_variable("AOTBUILD_NCCL", "/nonexistent/libnccl.so.2");
  try {
    cuda::make_communicator_id("net");
    FAIL() << "there is no library";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), AOTBUILD_UNSUPPORTED_HARDWARE);
    EXPECT_EQ(
        std::string(error.what())
            .rfind("net: the model is one rank of several and needs NCCL 2.18 or later: /nonexistent/libnccl.so.2", 0),
        0U)
        << error.what();
  }
}

}  // namespace
