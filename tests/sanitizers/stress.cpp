// 64 threads over one model object, with inputs of varying sizes, while its weights are exchanged. For the thread
// sanitizer; the outputs are checked too.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <transformer.hpp>
#include <vector>

namespace {

constexpr int kThreads = 64;
constexpr int kCallsPerThread = 12;
constexpr int kExchanges = 10;
constexpr std::int64_t kWidth = 32;

// The checkpoint with every value halved.
std::string write_halved(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string data((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::uint64_t header = 0;
  std::memcpy(&header, data.data(), sizeof(header));
  for (std::size_t at = sizeof(header) + header; at + sizeof(float) <= data.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, &data[at], sizeof(value));
    value /= 2;
    std::memcpy(&data[at], &value, sizeof(value));
  }
  const std::string halved = path + ".halved";
  std::ofstream(halved, std::ios::binary) << data;
  return halved;
}

struct Shape {
  std::int64_t batch;
  std::int64_t length;
};

std::vector<float> run(const Transformer& model, Shape shape) {
  std::vector<float> x(static_cast<std::size_t>(shape.batch * shape.length * kWidth));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  const auto outputs = model.run({aotbuild::TensorView<const float, 3>(x.data(), {shape.batch, shape.length, kWidth})});
  const auto view = outputs.output.view();
  return {view.data(), view.data() + view.numel()};
}

TEST(Stress, ThreadsShareOneModelWhileItsWeightsChange) {
  const std::string original = AOTBUILD_WEIGHTS_FILE;
  const std::string halved = write_halved(original);
  const std::vector<Shape> shapes = {{1, 1}, {1, 40}, {2, 9}, {3, 17}, {4, 33}};

  aotbuild::Options options;
  options.num_threads = 1;
  options.weights_file = original;
  Transformer model(options);
  std::vector<std::vector<float>> expected[2];
  for (const Shape shape : shapes) expected[0].push_back(run(model, shape));
  model.load_weights(halved);
  for (const Shape shape : shapes) expected[1].push_back(run(model, shape));
  ASSERT_NE(expected[0], expected[1]);

  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int call = 0; call < kCallsPerThread; ++call) {
        const auto which = static_cast<std::size_t>(thread + call) % shapes.size();
        const std::vector<float> output = run(model, shapes[which]);
        if (output != expected[0][which] && output != expected[1][which]) ++wrong;
      }
    });
  }
  for (int i = 0; i < kExchanges; ++i) model.load_weights(i % 2 == 0 ? original : halved);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
