// The backend for Triton Inference Server, behind a stand-in for the server in this process: what many threads at a
// time get, what is refused and how, and that everything is given back. Environment: AOTBUILD_FAKE_MODELS, a folder
// with the libraries of fake_triton/model.cpp.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "fake_triton/server.hpp"

namespace {

namespace fs = std::filesystem;
using fake::Answer;
using fake::Model;
using fake::Request;
using fake::Response;

constexpr TRITONSERVER_DataType kFloat = TRITONSERVER_TYPE_FP32;
constexpr TRITONSERVER_DataType kLong = TRITONSERVER_TYPE_INT64;

constexpr const char* kBatched = R"({"max_batch_size": 64, "dynamic_batching": {},
  "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1"]}],
  "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["-1"]},
             {"name": "sum", "data_type": "TYPE_FP32", "dims": ["1"]},
             {"name": "turned", "data_type": "TYPE_FP32", "dims": ["-1"]}],
  "instance_group": [{"count": 3, "kind": "KIND_CPU"}]})";
constexpr const char* kStateful = R"({"max_batch_size": 0,
  "sequence_batching": {"max_sequence_idle_microseconds": "50000"},
  "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1, 1]}],
  "output": [{"name": "total", "data_type": "TYPE_FP32", "dims": [1]}]})";
constexpr const char* kGenerating = R"({"max_batch_size": 0, "model_transaction_policy": {"decoupled": true},
  "input": [], "output": [], "instance_group": [{"count": 3}],
  "parameters": {"generate": {"string_value": "prefill,decode"}, "sequences": {"string_value": "8"}}})";

std::string library(const std::string& name) { return std::string(std::getenv("AOTBUILD_FAKE_MODELS")) + "/" + name; }

// A folder of one model, which is removed with the test.
class TritonBackend : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / ("triton-" + std::string(test_name()) + std::to_string(getpid()));
    fs::remove_all(folder_);
    before_ = loaded_before();
  }

  void TearDown() override {
    fs::remove_all(folder_);
    EXPECT_EQ(fake::alive(), before_) << "something that the server made was not given back";
  }

  static const char* test_name() { return ::testing::UnitTest::GetInstance()->current_test_info()->name(); }

  // The families of metrics stay as long as the backend.
  static long loaded_before() {
    static const long families = [] {
      const fs::path folder = fs::path(::testing::TempDir()) / ("triton-first" + std::to_string(getpid()));
      fs::create_directories(folder / "1");
      fs::copy_file(library("libbatch.so"), folder / "1/libbatch.so", fs::copy_options::overwrite_existing);
      Model::load("first", 1, folder.string(), kBatched, 1, 1);
      fs::remove_all(folder);
      return fake::alive();
    }();
    return families;
  }

  void place(const std::string& name, const std::string& version = "1", const std::string& as = "") {
    fs::create_directories(folder_ / version);
    const fs::path target = folder_ / version / (as.empty() ? name : as);
    fs::copy_file(library(name), target.string() + ".new", fs::copy_options::overwrite_existing);
    fs::rename(target.string() + ".new", target);
  }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }

  std::shared_ptr<Model> load(const char* config, std::size_t instances = 1, std::size_t joined = 1,
                              std::uint64_t version = 1) {
    return Model::load("net", version, folder_.string(), config, instances, joined);
  }

  std::string refusal(const char* config, std::uint64_t version = 1) {
    try {
      load(config, 1, 1, version);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "loaded";
  }

  fs::path folder_;
  long before_ = 0;
};

std::vector<float> numbers(std::int64_t count, float first) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i) / 8;
  return values;
}

Request rows(std::int64_t count, std::int64_t width, float first) {
  Request request;
  request.inputs = {fake::tensor("x", kFloat, {count, width}, numbers(count * width, first))};
  request.outputs = {"y", "sum", "turned"};
  return request;
}

// What the batch model gives for `rows(count, width, first)`.
void expect_rows(const Response& response, std::int64_t count, std::int64_t width, float first, float factor = 2) {
  ASSERT_EQ(response.error, "");
  std::vector<float> expected = numbers(count * width, first);
  std::vector<float> sums(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expected[i] *= factor;
    sums[i / static_cast<std::size_t>(width)] += expected[i];
  }
  EXPECT_EQ(response.values<float>("y"), expected);
  EXPECT_EQ(response.values<float>("sum"), sums);
  EXPECT_EQ(response.values<float>("turned"), expected);
  EXPECT_EQ(response.find("y")->shape, (std::vector<std::int64_t>{count, width}));
  EXPECT_EQ(response.find("sum")->shape, (std::vector<std::int64_t>{count, 1}));
}

Request step(std::uint64_t sequence, float value, const char* method, std::uint32_t flags) {
  Request request;
  request.inputs = {fake::tensor("x", kFloat, {1, 1}, std::vector<float>{value})};
  request.outputs = {"total"};
  request.sequence = sequence;
  request.method = method;
  request.flags = flags;
  return request;
}

Request prompt(std::vector<std::int64_t> tokens, std::int64_t count) {
  Request request;
  const auto length = static_cast<std::int64_t>(tokens.size());
  request.inputs = {fake::tensor("tokens", kLong, {1, length}, tokens),
                    fake::tensor("max_tokens", kLong, {1}, std::vector<std::int64_t>{count})};
  request.outputs = {"token"};
  return request;
}

std::vector<std::int64_t> expected_tokens(std::vector<std::int64_t> tokens, std::int64_t count) {
  std::int64_t total = 0;
  for (const std::int64_t token : tokens) total += token;
  std::vector<std::int64_t> found;
  for (std::int64_t i = 0; i < count; ++i) {
    found.push_back(total % 16);
    total += found.back();
  }
  return found;
}

template <typename Body>
void in_threads(int count, const Body& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TritonBackend, AnswersManyThreadsWithRequestsJoined) {
  place("libbatch.so");
  const auto model = load(kBatched, 3, 16);
  in_threads(16, [&](int thread) {
    for (int turn = 0; turn < 60; ++turn) {
      const std::int64_t count = 1 + (thread + turn) % 3;
      const std::int64_t width = 1 + turn % 2 * 4;
      const auto first = static_cast<float>(100 * thread + turn);
      expect_rows(model->infer(rows(count, width, first)), count, width, first);
    }
  });
  EXPECT_GT(model->most_joined(), 1U);
  EXPECT_LT(fake::metric("aotbuild_calls_total", "net"), 16 * 60);
}

TEST_F(TritonBackend, ReadsPiecesAndMemoryThatIsNotAligned) {
  place("libbatch.so");
  const auto model = load(kBatched);
  for (const std::size_t offset : {0, 1, 3}) {
    for (const std::size_t parts : {1, 2, 3}) {
      Request request = rows(3, 4, 5);
      fake::Tensor& x = request.inputs[0];
      const std::vector<char> data = x.pieces[0];
      x.pieces.clear();
      const std::size_t size = data.size() / parts;
      for (std::size_t part = 0; part < parts; ++part) {
        const auto begin = data.begin() + static_cast<std::ptrdiff_t>(part * size);
        x.pieces.emplace_back(begin, part + 1 == parts ? data.end() : begin + static_cast<std::ptrdiff_t>(size));
      }
      x.offset = offset;
      request.output_offset = offset;
      expect_rows(model->infer(request), 3, 4, 5);
    }
  }
}

TEST_F(TritonBackend, GivesTheOutputsThatAreAskedForAlone) {
  place("libbatch.so");
  Request request = rows(2, 2, 1);
  request.outputs = {"sum"};
  const Response response = load(kBatched)->infer(request);
  ASSERT_EQ(response.outputs.size(), 1U);
  EXPECT_EQ(response.values<float>("sum"), (std::vector<float>{4.25F, 5.25F}));
}

TEST_F(TritonBackend, RefusesTheOneRequestThatIsWrong) {
  place("libbatch.so");
  const auto model = load(kBatched, 1, 32);
  in_threads(32, [&](int thread) {
    for (int turn = 0; turn < 10; ++turn) {
      const bool is_wrong = (thread + turn) % 8 == 0;
      const float first = is_wrong ? std::nanf("") : static_cast<float>(thread);
      const Response response = model->infer(rows(1, 3, first));
      if (is_wrong) {
        EXPECT_EQ(response.error, "fake: x has a NaN");
        EXPECT_EQ(response.code, TRITONSERVER_ERROR_INTERNAL);
      } else {
        expect_rows(response, 1, 3, first);
      }
    }
  });
  EXPECT_GT(model->most_joined(), 1U);
}

TEST_F(TritonBackend, SaysWhatIsWrongWithARequest) {
  place("libbatch.so");
  const auto model = load(kBatched);
  const auto error = [&](Request request) { return model->infer(std::move(request)).error; };
  Request request = rows(1, 2, 0);
  request.inputs[0].name = "z";
  EXPECT_EQ(error(request), "net: run needs the input 'x', the request has z");
  request = rows(1, 2, 0);
  request.inputs[0].type = kLong;
  EXPECT_EQ(error(request), "net: input 'x' has another type than TYPE_FP32 of the method run");
  request = rows(1, 2, 0);
  request.inputs[0].shape = {2};
  EXPECT_EQ(error(request), "net: input 'x' has 1 dimensions, expected 2");
  request = rows(1, 2, 0);
  request.inputs[0].shape = {1, 3};
  EXPECT_EQ(error(request), "net: input 'x' has 8 bytes, its sizes need 12");
  request = rows(1, 2, 0);
  request.inputs.push_back(request.inputs[0]);
  request.inputs[1].name = "z";
  EXPECT_EQ(error(request), "net: run has 1 inputs, the request has x, z");
  request = rows(1, 2, 0);
  request.outputs = {"z"};
  EXPECT_EQ(error(request), "net: run has no output 'z'");
  EXPECT_EQ(error(rows(1, 65, 0)), "fake: input 'x' is too large");
}

TEST_F(TritonBackend, DoesNotRunWhatIsCancelled) {
  place("libbatch.so");
  const auto model = load(kBatched, 1, 4);
  const double before = fake::metric("aotbuild_calls_total", "net");
  // The instance is busy with none: the flag has to be there before the request is.
  for (int turn = 0; turn < 50; ++turn) {
    const std::shared_ptr<Answer> answer = model->send(rows(1, 2, 0));
    answer->is_cancelled = true;
    answer->wait_for_all();
    const Response& response = *answer->wait(0);
    if (response.error.empty()) continue;  // it had run already
    EXPECT_EQ(response.error, "net: the request was cancelled before it was run");
    EXPECT_EQ(response.code, TRITONSERVER_ERROR_CANCELLED);
  }
  EXPECT_LE(fake::metric("aotbuild_calls_total", "net") - before, 50);
}

TEST_F(TritonBackend, KeepsTheStateOfEachSequence) {
  place("libstate.so");
  std::string config = kStateful;
  config.replace(config.find("50000"), 5, "60000000");  // however busy the machine is
  const auto model = load(config.c_str(), 3);
  in_threads(12, [&](int thread) {
    const auto sequence = static_cast<std::uint64_t>(thread + 1);
    for (int round = 0; round < 3; ++round) {
      float total = 0;
      for (int turn = 0; turn < 20; ++turn) {
        const std::uint32_t flags = (turn == 0 ? TRITONSERVER_REQUEST_FLAG_SEQUENCE_START : 0U) |
                                    (turn == 19 ? TRITONSERVER_REQUEST_FLAG_SEQUENCE_END : 0U);
        total += static_cast<float>(thread + turn);
        const Response response =
            model->infer(step(sequence, static_cast<float>(thread + turn), turn == 0 ? "begin" : "add", flags));
        ASSERT_EQ(response.error, "");
        EXPECT_EQ(response.values<float>("total"), std::vector<float>{total});
        EXPECT_EQ(response.find("total")->shape, std::vector<std::int64_t>{1});
      }
    }
  });
  EXPECT_EQ(fake::metric("aotbuild_sessions", "net"), 0);
}

TEST_F(TritonBackend, ForgetsSequencesThatEndOrAreIdle) {
  place("libstate.so");
  const auto model = load(kStateful);
  const std::uint32_t begins = TRITONSERVER_REQUEST_FLAG_SEQUENCE_START;
  const std::uint32_t ends = TRITONSERVER_REQUEST_FLAG_SEQUENCE_END;
  const std::string gone = " has no state in this version of the model; begin it again with sequence_start";
  EXPECT_EQ(model->infer(step(5, 1, "add", 0)).error, "net: sequence 5" + gone);
  EXPECT_EQ(model->infer(step(5, 1, "add", begins | ends)).error, "");
  EXPECT_EQ(model->infer(step(5, 1, "add", 0)).error, "net: sequence 5" + gone);
  Request text = step(0, 1, "begin", begins);
  text.sequence_text = "user";
  EXPECT_EQ(model->infer(text).error, "");
  text.flags = ends;
  text.method = "multiply";
  EXPECT_EQ(model->infer(text).error,
            "net: the request's parameter \"method\" is \"multiply\", the model has begin, add");
  text.flags = 0;
  text.method = "add";
  EXPECT_EQ(model->infer(text).error, "net: sequence \"user\"" + gone);
  for (std::uint64_t sequence = 1; sequence <= 4; ++sequence) model->infer(step(sequence, 1, "begin", begins));
  EXPECT_EQ(fake::metric("aotbuild_sessions", "net"), 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  model->infer(step(9, 1, "begin", begins));
  EXPECT_EQ(fake::metric("aotbuild_sessions", "net"), 1);
  EXPECT_EQ(model->infer(step(9, 1, "", 0)).error,
            "net: the methods begin and add have the same inputs; name one as the request's parameter \"method\"");
}

TEST_F(TritonBackend, GeneratesManyStreamsAtATime) {
  place("libgenerator.so");
  const auto model = load(kGenerating, 3, 4);
  in_threads(24, [&](int thread) {
    const std::vector<std::int64_t> tokens{thread, 3, 1};
    const std::int64_t count = 1 + thread % 5 * 10;
    const std::shared_ptr<Answer> answer = model->send(prompt(tokens, count));
    std::vector<std::int64_t> found;
    while (const Response* const response = answer->wait(found.size())) {
      ASSERT_EQ(response->error, "");
      found.push_back(response->values<std::int64_t>("token")[0]);
    }
    EXPECT_EQ(found, expected_tokens(tokens, count));
    answer->wait_for_all();
  });
  EXPECT_EQ(model->infer(prompt({1}, 0)).error, "net: input 'max_tokens' is 0; ask for at least 1");
}

TEST_F(TritonBackend, StopsStreamsThatAreCancelledAndModelsThatAreUnloaded) {
  place("libgenerator.so");
  for (int round = 0; round < 10; ++round) {
    auto model = load(kGenerating, 1, 4);
    std::vector<std::shared_ptr<Answer>> answers;
    for (int i = 0; i < 12; ++i) answers.push_back(model->send(prompt({i}, 1000000)));
    Request timed = prompt({1}, 1000000);
    timed.timeout = 3000;
    answers.push_back(model->send(timed));
    answers[0]->wait(1);
    // The last request of it ends the model, on the thread that released it.
    model.reset();
    for (std::size_t i = 0; i < 12; ++i) answers[i]->is_cancelled = true;
    for (const std::shared_ptr<Answer>& answer : answers) {
      const std::size_t count = answer->wait_for_all();
      const bool is_timed = answer == answers.back();
      EXPECT_NE(answer->wait(count - 1)->error.find(is_timed ? "net: the request's timeout passed after "
                                                             : "net: the request was cancelled after "),
                std::string::npos)
          << answer->wait(count - 1)->error;
    }
  }
  // The release that ended the last model returns before its thread has.
  for (int i = 0; i < 100 && fake::alive() != before_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

TEST_F(TritonBackend, TakesNewWeightsAndNewLibrariesUnderLoad) {
  place("libbatch.so");
  write("2/net.safetensors", "3");
  const auto first = load(kBatched, 2, 8);
  std::atomic<bool> stops{false};
  std::thread load_thread([&] {
    for (int turn = 0; !stops; ++turn)
      expect_rows(first->infer(rows(1, 2, static_cast<float>(turn))), 1, 2, static_cast<float>(turn));
  });
  for (int round = 0; round < 5; ++round) {
    const auto second = load(kBatched, 2, 8, 2);
    in_threads(4, [&](int thread) {
      for (int turn = 0; turn < 20; ++turn) {
        expect_rows(second->infer(rows(2, 2, static_cast<float>(thread))), 2, 2, static_cast<float>(thread), 3);
      }
    });
  }
  place("libbatch7.so", "1", "libbatch.so");
  expect_rows(load(kBatched)->infer(rows(1, 2, 1)), 1, 2, 1, 7);
  stops = true;
  load_thread.join();
}

TEST_F(TritonBackend, SaysWhatIsWrongWithAFolder) {
  fs::create_directories(folder_ / "3");
  const std::string folder = (folder_ / "3").string();
  EXPECT_EQ(refusal(kBatched, 3),
            "net: " + folder + " has neither the library lib*.so nor a weights file *.safetensors");
  write("3/a.safetensors", "5");
  EXPECT_EQ(refusal(kBatched, 3),
            "net: " + folder +
                " has a weights file alone, and no version before it has the library lib*.so; put "
                "the library into this version's folder");
  place("libbatch.so");
  EXPECT_EQ(refusal(kBatched, 3), "loaded");
  write("3/b.safetensors", "5");
  EXPECT_NE(refusal(kBatched, 3).find("has more than one weights file, a.safetensors and b.safetensors"),
            std::string::npos);
  fs::remove(folder_ / "3/b.safetensors");
  write("3/a.safetensors", "five");
  EXPECT_EQ(refusal(kBatched, 3), "fake: " + folder + "/a.safetensors is no number");
  write("3/liba.so", "no library");
  EXPECT_NE(refusal(kBatched, 3).find("net: the library " + folder + "/liba.so cannot be loaded: "), std::string::npos);
  place("libempty.so", "3", "liba.so");
  EXPECT_NE(refusal(kBatched, 3).find("is no model of aotbuild, or a static one"), std::string::npos);
  place("libold.so", "3", "liba.so");
  EXPECT_NE(refusal(kBatched, 3).find("has version 1 of aotbuild's C ABI, this backend version 4"), std::string::npos);
}

TEST_F(TritonBackend, SaysWhatIsWrongWithAConfiguration) {
  place("libbatch.so");
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string config = kBatched;
    config.replace(config.find(from), from.size(), to);
    const std::string message = refusal(config.c_str());
    const std::string begin = "net: config.pbtxt: ";
    const std::string end = "; aotbuild_add_triton_model() writes a file that fits";
    const bool is_whole = message.rfind(begin, 0) == 0 && message.size() > begin.size() + end.size();
    return is_whole ? message.substr(begin.size(), message.size() - begin.size() - end.size()) : message;
  };
  EXPECT_EQ(refused("\"x\"", "\"z\""), "input 'x' of the library is missing");
  EXPECT_EQ(refused("TYPE_FP32", "TYPE_INT8"), "input 'x' is TYPE_INT8, the library has TYPE_FP32");
  EXPECT_EQ(refused("[\"-1\"]", "[3, 3]"), "input 'x' has 2 dims, the library has 1 beside the batch");
  EXPECT_EQ(refused("[\"-1\"]", "[99]"), "input 'x' has 99 in dims[0], the library takes 1..64");
  EXPECT_EQ(refused("\"max_batch_size\": 64", "\"max_batch_size\": 65"),
            "max_batch_size is 65, but the batch of input 'x' is at most 64");
  EXPECT_EQ(refused("\"dynamic_batching\"", "\"parameters\": {\"threads\": {\"string_value\": \"x\"}}, \"d\""),
            "the parameter threads is \"x\", which is no number from 0 to 2147483647");
  EXPECT_NE(refused("\"dynamic_batching\": {}", "\"model_transaction_policy\": {\"decoupled\": true}")
                .find("model_transaction_policy is decoupled for models with the parameter \"generate\""),
            std::string::npos);
}

TEST(TritonBackendVersion, RefusesServersOfOtherInterfaces) {
  TRITONBACKEND_Backend* const none = nullptr;
  for (const auto& [major, minor] : {std::pair<unsigned, unsigned>{2, 0}, {1, 3}}) {
    fake::set_api_version(major, minor);
    TRITONSERVER_Error* const error = TRITONBACKEND_Initialize(none);
    ASSERT_NE(error, nullptr);
    EXPECT_EQ(std::string(TRITONSERVER_ErrorMessage(error)).rfind("aotbuild: this server has version ", 0), 0U);
    TRITONSERVER_ErrorDelete(error);
  }
  fake::set_api_version(1, 19);
}

}  // namespace
