#include "generator.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

#include "call.hpp"
#include "request.hpp"
#include "support.hpp"

namespace aotbuild::triton {

namespace {

// Inputs and output beside the prompt, which aotbuild_add_triton_model() declares in config.pbtxt.
constexpr const char* kMaxTokens = "max_tokens";
constexpr const char* kStopToken = "stop_token";
constexpr const char* kToken = "token";
constexpr std::int64_t kDefaultTokens = 16;
constexpr std::uint32_t kFinal = TRITONSERVER_RESPONSE_COMPLETE_FINAL;

}  // namespace

// One sequence that is under way. It holds the request to the end: the server then counts its time, and keeps the
// model.
class Generation {
 public:
  Generation(const Model& model, TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request)
      : model_(model), instance_(instance), request_(request), begin_ns_(now_ns()) {
    check(TRITONBACKEND_ResponseFactoryNew(&factory_, request));
    std::uint64_t timeout = 0;
    check(TRITONBACKEND_InferenceRequestTimeoutMicroseconds(request, &timeout));
    if (timeout != 0) deadline_ns_ = begin_ns_ + timeout * 1000;
  }
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Releasing the request may end the model, so this comes last.
  ~Generation() {
    session_.reset();
    succeeded(TRITONBACKEND_ResponseFactoryDelete(factory_));
    const std::uint64_t end = now_ns();
    succeeded(
        TRITONBACKEND_ModelInstanceReportStatistics(instance_, request_, succeeded_, begin_ns_, begin_ns_, end, end));
    succeeded(TRITONBACKEND_RequestRelease(request_, TRITONSERVER_REQUEST_RELEASE_ALL));
  }

  void read(const aotbuild_tensor_info& prompt) {
    for (const RequestInput& input : read_inputs(request_)) {
      std::vector<char> bytes(input.size);
      copy_input(model_.config().name, input, bytes.data());
      if (input.name == prompt.name) {
        prompt_shape_ = model_shape(model_.config().name, prompt, input.shape.data(), input.shape.size());
        prompt_ = std::move(bytes);
      } else if (input.name == kMaxTokens || input.name == kStopToken) {
        std::int64_t value = 0;
        if (bytes.size() != sizeof(value)) {
          fail(TRITONSERVER_ERROR_INVALID_ARG, model_.config().name, ": input '", input.name, "' is one int64");
        }
        std::memcpy(&value, bytes.data(), sizeof(value));
        (input.name == kMaxTokens ? remaining_ : stop_) = value;
      }
    }
    if (remaining_ < 1) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, model_.config().name, ": input 'max_tokens' is ", remaining_,
           "; ask for at least 1");
    }
  }

  // One token more. Returns whether there is another one to come.
  bool advance(const Object& object, const Method& prefill, const Method& decode) {
    bool is_cancelled = false;
    check(TRITONBACKEND_ResponseFactoryIsCancelled(factory_, &is_cancelled));
    if (is_cancelled) {
      fail(TRITONSERVER_ERROR_CANCELLED, model_.config().name, ": the request was cancelled after ", count_, " tokens");
    }
    if (deadline_ns_ != 0 && now_ns() > deadline_ns_) {
      fail(TRITONSERVER_ERROR_UNAVAILABLE, model_.config().name, ": the request's timeout passed after ", count_,
           " tokens");
    }
    const bool is_first = session_ == nullptr;
    if (is_first) session_ = model_.new_session(object);
    const Method& method = is_first ? prefill : decode;
    const aotbuild_tensor_info& info = *method.info->inputs[0];
    std::vector<std::int64_t> shape(static_cast<std::size_t>(info.ndim), 1);
    if (is_first) shape = prompt_shape_;
    aotbuild_tensor input{};
    input.data = is_first ? static_cast<void*>(prompt_.data()) : static_cast<void*>(&token_);
    input.device = {AOTBUILD_CPU, 0};
    input.ndim = info.ndim;
    input.dtype = info.dtype;
    input.shape = shape.data();
    std::vector<aotbuild_tensor> outputs(method.info->output_count);
    CallTimes times{};
    const std::shared_ptr<aotbuild_result> owner = run_tensors(model_, session_, method, {input}, &outputs, &times);
    token_ = most_likely(outputs[0]);
    ++count_;
    --remaining_;
    const bool is_last = remaining_ == 0 || token_ == stop_;
    send_token(is_last);
    return !is_last;
  }

  // Ends the stream with the exception that is being handled.
  void send_failure() {
    TRITONSERVER_Error* const error = current_error();
    model_.metrics().add(Metric::kFailures, 1);
    TRITONBACKEND_Response* response = nullptr;
    if (succeeded(TRITONBACKEND_ResponseNewFromFactory(&response, factory_))) {
      succeeded(TRITONBACKEND_ResponseSend(response, kFinal, error));
    }
    TRITONSERVER_ErrorDelete(error);
  }

 private:
  // The greatest of the last row of logits.
  static std::int64_t most_likely(const aotbuild_tensor& logits) {
    const std::int64_t width = logits.shape[logits.ndim - 1];
    std::int64_t offset = 0;
    for (std::int32_t d = 0; d + 1 < logits.ndim; ++d) offset += (logits.shape[d] - 1) * logits.strides[d];
    const std::int64_t step = logits.strides[logits.ndim - 1];
    const auto* const row =
        reinterpret_cast<const float*>(static_cast<const char*>(logits.data) + logits.byte_offset) + offset;
    std::int64_t best = 0;
    for (std::int64_t i = 1; i < width; ++i) {
      if (row[i * step] > row[best * step]) best = i;
    }
    return best;
  }

  void send_token(bool is_last) {
    TRITONBACKEND_Response* response = nullptr;
    check(TRITONBACKEND_ResponseNewFromFactory(&response, factory_));
    try {
      const std::int64_t shape[] = {1};
      TRITONBACKEND_Output* output = nullptr;
      check(TRITONBACKEND_ResponseOutput(response, &output, kToken, TRITONSERVER_TYPE_INT64, shape, 1));
      void* memory = nullptr;
      TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
      std::int64_t id = 0;
      check(TRITONBACKEND_OutputBuffer(output, &memory, sizeof(token_), &type, &id));
      if (type == TRITONSERVER_MEMORY_GPU) {
        fail(TRITONSERVER_ERROR_UNSUPPORTED, model_.config().name, ": output 'token' is in host memory only");
      }
      std::memcpy(memory, &token_, sizeof(token_));
    } catch (...) {
      succeeded(TRITONBACKEND_ResponseDelete(response));
      throw;
    }
    // Counted before it is sent: with the last one the client may look.
    model_.metrics().add(Metric::kTokens, 1);
    succeeded_ = is_last;
    succeeded(TRITONBACKEND_ResponseSend(response, is_last ? kFinal : 0, nullptr));
  }

  const Model& model_;
  TRITONBACKEND_ModelInstance* instance_;
  TRITONBACKEND_Request* request_;
  TRITONBACKEND_ResponseFactory* factory_ = nullptr;
  Object session_;
  std::vector<char> prompt_;
  std::vector<std::int64_t> prompt_shape_;
  std::int64_t token_ = 0;
  std::int64_t stop_ = -1;
  std::int64_t remaining_ = kDefaultTokens;
  std::int64_t count_ = 0;
  std::uint64_t begin_ns_;
  std::uint64_t deadline_ns_ = 0;
  bool succeeded_ = false;
};

namespace {

const Method& method_named(const Model& model, const std::string& name) {
  const std::vector<Method>& methods = model.methods();
  const auto found =
      std::find_if(methods.begin(), methods.end(), [&](const Method& method) { return name == method.info->name; });
  if (found == methods.end()) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model.config().name, ": the parameter \"generate\" names the method \"", name,
         "\", which the library lacks");
  }
  const aotbuild_method_info& info = *found->info;
  const auto is = [](aotbuild_dtype dtype, int code, int bits) { return dtype.code == code && dtype.bits == bits; };
  if (info.input_count != 1 || !is(info.inputs[0]->dtype, AOTBUILD_INT, 64)) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model.config().name, ": the method ", name,
         " cannot generate: its input has to be one int64 tensor of tokens");
  }
  if (info.output_count == 0 || info.outputs[0]->ndim == 0 || !is(info.outputs[0]->dtype, AOTBUILD_FLOAT, 32)) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model.config().name, ": the method ", name,
         " cannot generate: its first output has to be float32 logits");
  }
  return *found;
}

}  // namespace

struct Generator::Shared {
  struct Entry {
    std::unique_ptr<Generation> generation;
    Object object;
  };

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Entry> waiting;  // for their next turn; the first is next
  std::size_t most = 0;       // sequences with a session at a time
  std::size_t active = 0;
  std::deque<Entry> queued;  // for a session
  const Method* prefill = nullptr;
  const Method* decode = nullptr;
  bool stops = false;

  bool has_work() const { return !waiting.empty() || (!queued.empty() && active < most); }

  // A new sequence comes before the next token of others, so that its first token does not wait for theirs.
  Entry take() {
    std::deque<Entry>& from = !queued.empty() && active < most ? queued : waiting;
    if (&from == &queued) ++active;
    Entry entry = std::move(from.front());
    from.pop_front();
    return entry;
  }

  static void work(const std::shared_ptr<Shared>& shared);
};

// Ends by `stops` alone. What ends a model may be the release of a request here, after which nothing of it is touched.
void Generator::Shared::work(const std::shared_ptr<Shared>& shared) {
  std::unique_lock<std::mutex> lock(shared->mutex);
  for (;;) {
    shared->changed.wait(lock, [&] { return shared->stops || shared->has_work(); });
    if (shared->stops) return;
    Entry entry = shared->take();
    lock.unlock();
    bool goes_on = false;
    try {
      goes_on = entry.generation->advance(entry.object, *shared->prefill, *shared->decode);
    } catch (...) {
      entry.generation->send_failure();
    }
    if (!goes_on) {
      entry.object.reset();
      entry.generation.reset();
    }
    lock.lock();
    if (goes_on) {
      shared->waiting.push_back(std::move(entry));
    } else {
      --shared->active;
    }
    shared->changed.notify_one();
  }
}

Generator::Generator(Model& model, const std::string& methods) : shared_(std::make_shared<Shared>()) {
  const std::size_t comma = methods.find(',');
  if (comma == std::string::npos) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, model.config().name, ": the parameter \"generate\" is \"", methods,
         "\", which is no pair of methods such as prefill,decode");
  }
  shared_->prefill = &method_named(model, methods.substr(0, comma));
  shared_->decode = &method_named(model, methods.substr(comma + 1));
  shared_->most = static_cast<std::size_t>(model.config().number("sequences", 64, 1 << 20));
  for (std::uint64_t i = 0; i < model.config().instances; ++i) threads_.emplace_back(&Shared::work, shared_);
}

Generator::~Generator() {
  {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->stops = true;
  }
  shared_->changed.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();
    } else {
      thread.join();
    }
  }
}

void Generator::add(const Model& model, TRITONBACKEND_ModelInstance* instance, TRITONBACKEND_Request* request,
                    const Object& object) {
  Shared::Entry entry{nullptr, object};
  try {
    entry.generation = std::make_unique<Generation>(model, instance, request);
  } catch (const std::exception& exception) {  // no response can be made
    log(TRITONSERVER_LOG_ERROR, concat(model.config().name, ": a request is dropped: ", exception.what()));
    succeeded(TRITONBACKEND_RequestRelease(request, TRITONSERVER_REQUEST_RELEASE_ALL));
    return;
  }
  try {
    entry.generation->read(*shared_->prefill->info->inputs[0]);
  } catch (...) {
    entry.generation->send_failure();
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(shared_->mutex);
    shared_->queued.push_back(std::move(entry));
  }
  shared_->changed.notify_one();
}

}  // namespace aotbuild::triton
