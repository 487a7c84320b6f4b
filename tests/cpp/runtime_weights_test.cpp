// Weights: embedded, from files and from tensors; every way in which they can be wrong; exchange while calls run.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <thread>

#include "aotbuild/kernel.h"
#include "base/sha256.hpp"
#include "runtime_test_model.hpp"

namespace {

using namespace aotbuild::testing;
using aotbuild::detail::CallContext;
using aotbuild::detail::WeightsMode;

// y = [first element of "w", first element of "c"]
void run_first_elements(CallContext& context, AtenTensorHandle*, AtenTensorHandle* outputs) {
  const std::int64_t size = 2, stride = 1;
  outputs[0] = aotbuild::detail::context_allocate(context, 1, &size, &stride, kFloat32, 0);
  void* out = nullptr;
  aoti_torch_get_data_ptr(outputs[0], &out);
  for (int i = 0; i < 2; ++i) {
    void* weight = nullptr;
    aoti_torch_get_data_ptr(aotbuild::detail::context_weight(context, i), &weight);
    std::memcpy(static_cast<float*>(out) + i, weight, sizeof(float));
  }
}

const char* const kAliases[] = {"tied", nullptr};

ModelBuilder two_weights() {
  ModelBuilder builder(run_first_elements);
  builder.output("y", kFloat, {fixed(2)})
      .weight("w", {2, 2}, {1, 2, 3, 4})
      .aliases(kAliases)
      .weight("c", {1}, {5}, false, /*required=*/false);
  return builder;
}

std::vector<float> outputs_of(const Model& model) {
  Buffer<float> y({2});
  aotbuild_tensor out = y.tensor();
  EXPECT_EQ(aotbuild_model_run(model.handle, 0, nullptr, nullptr, 0, &out, 1, nullptr), AOTBUILD_OK)
      << aotbuild_last_error();
  return y.values;
}

class Weights : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "aotbuild_weights_" + std::to_string(getpid()) + ".safetensors";
  }
  void TearDown() override { std::remove(path_.c_str()); }

  void write_bytes(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  void write(const std::string& header, const std::string& body) const {
    std::string bytes(8, '\0');
    const std::uint64_t length = header.size();
    for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
    write_bytes(bytes + header + body);
  }
  static std::string floats(const std::vector<float>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
  }
  // The message for a file, without its path.
  std::string load_error(const Model& model) const {
    EXPECT_EQ(aotbuild_model_load_weights(model.handle, path_.c_str()), AOTBUILD_INVALID_WEIGHTS);
    std::string text = aotbuild_last_error();
    const std::size_t at = text.find(path_);
    EXPECT_NE(at, std::string::npos) << text;
    return at == std::string::npos ? text : text.replace(at, path_.size(), "FILE");
  }
  std::string path_;
};

TEST_F(Weights, AFileReplacesTheEmbeddedOnesAndMayLeaveOutConstants) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  EXPECT_EQ(outputs_of(model), (std::vector<float>{1, 5}));
  write(R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})",
        floats({7, 0, 0, 0}));
  ASSERT_EQ(aotbuild_model_load_weights(model.handle, path_.c_str()), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(outputs_of(model), (std::vector<float>{7, 5}));
}

TEST_F(Weights, TiedNamesAreFoundAndDataMayBeUnaligned) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  // The header's length leaves the data unaligned.
  write(
      R"({"tied":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[16,32]},"c":{"dtype":"F32","shape":[1],"data_offsets":[32,36]} })",
      floats({7, 0, 0, 0, 8, 0, 0, 0, 9}));
  ASSERT_EQ(aotbuild_model_load_weights(model.handle, path_.c_str()), AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(outputs_of(model), (std::vector<float>{8, 9}));
}

TEST_F(Weights, FileModeLooksBesideTheProgram) {
  char program[4096];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof program);
  ASSERT_GT(length, 0);
  std::string directory(program, static_cast<std::size_t>(length));
  directory.resize(directory.rfind('/') + 1);
  const std::string name = "beside_" + std::to_string(getpid()) + ".safetensors";
  static ModelBuilder builder = two_weights();
  builder.mode(WeightsMode::kFile, name.c_str());
  // The description of generated models lies in the program; this one is given a static place there.
  static aotbuild::detail::ModelSpec spec;
  spec = builder.spec();
  {
    Model model(spec);
    EXPECT_EQ(model.status, AOTBUILD_INVALID_WEIGHTS);
    EXPECT_EQ(aotbuild_last_error(), "cannot open weights file '" + directory + name + "': No such file or directory");
  }
  path_ = directory + name;
  write(
      R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"c":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})",
      floats({3, 0, 0, 0, 4}));
  Model model(spec);
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(outputs_of(model), (std::vector<float>{3, 4}));
}

TEST_F(Weights, ExternalTensorsOfAnyStrides) {
  ModelBuilder builder = two_weights();
  builder.mode(WeightsMode::kExternal);
  {
    Model model(builder.spec());
    EXPECT_EQ(model.status, AOTBUILD_INVALID_WEIGHTS);
    EXPECT_STREQ(aotbuild_last_error(),
                 "encoder: the library (built with WEIGHTS EXTERNAL: pass the tensors in aotbuild_options::weights) "
                 "does not have the 2 weights of the model: 1 missing: 'w'. Save the state_dict of a module of the "
                 "same architecture");
  }
  Buffer<float> w({2, 2}, {1, 2, 3, 4}), c({1}, {6});
  w.strides = {1, 2};
  const aotbuild_named_tensor named[] = {{sizeof(aotbuild_named_tensor), "w", w.tensor()},
                                         {sizeof(aotbuild_named_tensor), "c", c.tensor()}};
  aotbuild_options options = default_options();
  options.weights = named;
  options.weight_count = 2;
  Model model(builder.spec(), options);
  ASSERT_EQ(model.status, AOTBUILD_OK) << aotbuild_last_error();
  EXPECT_EQ(outputs_of(model), (std::vector<float>{1, 6}));
  c.values[0] = 8;  // borrowed
  EXPECT_EQ(outputs_of(model), (std::vector<float>{1, 8}));
}

TEST_F(Weights, NamesShapesAndTypesAreChecked) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  write(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", floats({1}));
  EXPECT_EQ(load_error(model),
            "encoder: weights file 'FILE' does not have the 2 weights of the model: 1 missing: 'w'; 1 that the model "
            "does not have: 'x'. Save the state_dict of a module of the same architecture");
  write(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", floats({1, 2, 3, 4}));
  EXPECT_EQ(load_error(model),
            "encoder: weight 'w' in weights file 'FILE' has shape (4,), expected (2, 2); the model's architecture must "
            "be the same");
  write(R"({"w":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}})", floats({1, 2, 3, 4}));
  EXPECT_EQ(load_error(model),
            "encoder: weight 'w' in weights file 'FILE' has type I32, expected float32; convert it before saving");
  EXPECT_EQ(outputs_of(model), (std::vector<float>{1, 5}));  // a failed load changes nothing
}

TEST_F(Weights, MalformedFilesAreRefused) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  const std::string body = floats({1, 2, 3, 4});
  const auto header = [](const std::string& fields) { return R"({"w":{)" + fields + "}}"; };
  const std::pair<std::string, const char*> cases[] = {
      {header(R"("dtype":"F32","shape":[2,2],"data_offsets":[0,32])"), "ends at byte 32 of the data"},
      {header(R"("dtype":"F32","shape":[2,2],"data_offsets":[4,16])"), "has 12 bytes, but its dtype and shape need 16"},
      {header(R"("dtype":"F32","shape":[2,2],"data_offsets":[16,0])"), "are not [begin, end]"},
      {header(R"("dtype":"F32","shape":[2,-2],"data_offsets":[0,16])"), "something other than sizes"},
      {header(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16])"),
       "more than an address can hold"},
      {header(R"("dtype":"F99","shape":[2,2],"data_offsets":[0,16])"), "unknown dtype 'F99'"},
      {header(R"("dtype":"F32","shape":[2,2])"), "lacks one of dtype, shape and data_offsets"},
      {header(R"("dtype":"F32","shape":[3],"data_offsets":[0,12])"), "4 bytes after the last tensor belong to none"},
      {header(R"("dtype":"F32","shape":[3],"data_offsets":[4,16])"), "a hole of 4 bytes before tensor 'w'"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}})",
       "overlap those of another tensor"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
       "tensor 'w' appears twice"},
      {"{\"w\": nonsense}", "the header is not valid JSON"},
      {"[1]", "the header is not a JSON object"},
      {"{" + std::string(2000, '['), "the header is not valid JSON"},
  };
  for (const auto& [text, expected] : cases) {
    write(text, body);
    EXPECT_NE(load_error(model).find(expected), std::string::npos) << aotbuild_last_error();
  }
  write_bytes("abc");
  EXPECT_NE(load_error(model).find("too few for the length of the header"), std::string::npos);
  write_bytes(std::string(8, '\x7f') + "{}");
  EXPECT_NE(load_error(model).find("more than the limit"), std::string::npos);
  write_bytes("");
  EXPECT_NE(load_error(model).find("is empty"), std::string::npos);
}

TEST_F(Weights, EveryTruncationIsRefused) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  const std::string header = R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}})";
  write(header, floats({1, 2, 3, 4}));
  std::string whole(8 + header.size() + 16, '\0');
  std::ifstream(path_, std::ios::binary).read(whole.data(), static_cast<std::streamsize>(whole.size()));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_bytes(whole.substr(0, size));
    EXPECT_EQ(aotbuild_model_load_weights(model.handle, path_.c_str()), AOTBUILD_INVALID_WEIGHTS) << size;
  }
}

TEST(LastError, KeepsWhatFits) {
  aotbuild_set_last_error("short");
  EXPECT_STREQ(aotbuild_last_error(), "short");
  aotbuild_set_last_error(std::string(4095, 'x').c_str());
  EXPECT_EQ(aotbuild_last_error(), std::string(4095, 'x'));
  aotbuild_set_last_error(std::string(4096, 'x').c_str());
  EXPECT_EQ(aotbuild_last_error(), std::string(4091, 'x') + " ...");
}

// The examples of FIPS 180-4, and lengths about the end of a block.
TEST(Sha256, IsThatOfTheStandard) {
  const auto sha256 = [](const std::string& text) {
    return aotbuild::detail::sha256_of(reinterpret_cast<const unsigned char*>(text.data()), text.size());
  };
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(55, 'a')), "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(sha256(std::string(64, 'a')), "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
  EXPECT_EQ(sha256(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(Weights, OfAChecksumAreTheOnlyOnes) {
  ModelBuilder builder = two_weights();
  aotbuild::detail::ModelSpec spec = builder.spec();
  const std::string header =
      R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"c":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})";
  write(header, floats({7, 0, 0, 0, 9}));
  std::ifstream file(path_, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::string sha256 =
      aotbuild::detail::sha256_of(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  spec.weights_sha256 = sha256.c_str();
  Model model(spec);
  ASSERT_EQ(aotbuild_model_load_weights(model.handle, path_.c_str()), AOTBUILD_OK) << aotbuild_last_error();
  std::remove(path_.c_str());  // the model has mapped it
  write(header, floats({7, 0, 0, 0, 8}));
  const std::string error = load_error(model);
  EXPECT_EQ(error.rfind("encoder: weights file 'FILE' has the SHA-256 ", 0), 0U) << error;
  EXPECT_NE(error.find(", and the model takes only " + sha256 +
                       ", as it was built with WEIGHTS_SHA256; use the file that was built with it"),
            std::string::npos)
      << error;
  EXPECT_EQ(outputs_of(model), (std::vector<float>{7, 9}));
  Buffer<float> w({2, 2}, {1, 2, 3, 4}), c({1}, {5});
  const aotbuild_named_tensor named[] = {{sizeof(aotbuild_named_tensor), "w", w.tensor()},
                                         {sizeof(aotbuild_named_tensor), "c", c.tensor()}};
  EXPECT_EQ(aotbuild_model_set_weights(model.handle, named, 2), AOTBUILD_INVALID_WEIGHTS);
  EXPECT_NE(
      std::string(aotbuild_last_error()).find("takes its weights from a file with the SHA-256 " + sha256 + " alone"),
      std::string::npos)
      << aotbuild_last_error();
}

TEST_F(Weights, OfStridesThatNoMemoryHasAreRefused) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  Buffer<float> w({2, 2}, {1, 2, 3, 4}), c({1}, {5});
  for (const std::int64_t stride : {std::int64_t{-2}, std::int64_t{1} << 62}) {
    w.strides = {stride, 1};
    const aotbuild_named_tensor named[] = {{sizeof(aotbuild_named_tensor), "w", w.tensor()},
                                           {sizeof(aotbuild_named_tensor), "c", c.tensor()}};
    EXPECT_EQ(aotbuild_model_set_weights(model.handle, named, 2), AOTBUILD_INVALID_WEIGHTS);
    const std::string expected =
        "has strides (" + std::to_string(stride) + ", 1), which must not be negative or reach further than memory";
    EXPECT_NE(std::string(aotbuild_last_error()).find("weight 'w' in "), std::string::npos) << aotbuild_last_error();
    EXPECT_NE(std::string(aotbuild_last_error()).find(expected), std::string::npos) << aotbuild_last_error();
  }
  EXPECT_EQ(outputs_of(model), (std::vector<float>{1, 5}));
}

TEST_F(Weights, AreExchangedWhileCallsRun) {
  ModelBuilder builder = two_weights();
  Model model(builder.spec());
  write(
      R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"c":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}})",
      floats({7, 0, 0, 0, 9}));
  std::atomic<bool> stop{false};
  std::atomic<int> mixed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        const std::vector<float> y = outputs_of(model);
        if (y != std::vector<float>{1, 5} && y != std::vector<float>{7, 9}) ++mixed;
      }
    });
  }
  const std::vector<float> old_w{1, 2, 3, 4}, old_c{5};
  Buffer<float> w({2, 2}, old_w), c({1}, old_c);
  const aotbuild_named_tensor named[] = {{sizeof(aotbuild_named_tensor), "w", w.tensor()},
                                         {sizeof(aotbuild_named_tensor), "c", c.tensor()}};
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(aotbuild_model_load_weights(model.handle, path_.c_str()), AOTBUILD_OK) << aotbuild_last_error();
    EXPECT_EQ(aotbuild_model_set_weights(model.handle, named, 2), AOTBUILD_OK) << aotbuild_last_error();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mixed, 0);
}

}  // namespace
