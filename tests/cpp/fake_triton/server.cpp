#include "server.hpp"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "handles.hpp"

namespace {

std::atomic<std::uint32_t> api_major{1};
std::atomic<std::uint32_t> api_minor{19};

std::mutex metrics_mutex;
std::map<std::string, double> metric_values;  // by name and model

}  // namespace

namespace fake {

std::atomic<long> alive_count{0};

TRITONSERVER_Error* error(TRITONSERVER_Error_Code code, const std::string& message) {
  auto* const made = new TRITONSERVER_Error;
  made->code = code;
  made->message = message;
  return made;
}

struct Model::Impl {
  TRITONBACKEND_Model handle;
  std::deque<TRITONBACKEND_ModelInstance> instances;
  std::size_t initialized = 0;
};

namespace {

void check(TRITONSERVER_Error* failed) {
  if (failed == nullptr) return;
  const std::string message = failed->message;
  delete failed;
  throw std::runtime_error(message);
}

// The backend is initialized once for all models, as in the server.
TRITONBACKEND_Backend* backend() {
  static TRITONBACKEND_Backend instance;
  static std::once_flag once;
  std::call_once(once, [] { check(TRITONBACKEND_Initialize(&instance)); });
  return &instance;
}

}  // namespace

const Tensor* Response::find(const std::string& name) const {
  for (const Tensor& output : outputs) {
    if (output.name == name) return &output;
  }
  return nullptr;
}

void Answer::add(Response response, bool is_final) {
  const std::lock_guard<std::mutex> lock(mutex_);
  responses_.push_back(std::move(response));
  is_final_ = is_final_ || is_final;
  changed_.notify_all();
}

void Answer::set_released() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_released_ = true;
  changed_.notify_all();
}

const Response* Answer::wait(std::size_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return is_final_ || responses_.size() > number; });
  return responses_.size() > number ? &responses_[number] : nullptr;
}

std::size_t Answer::wait_for_all() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return is_final_ && is_released_; });
  return responses_.size();
}

std::shared_ptr<Model> Model::load(const std::string& name, std::uint64_t version, const std::string& folder,
                                   const std::string& config, std::size_t instances, std::size_t most_joined) {
  std::shared_ptr<Model> model(new Model);
  model->limit_ = most_joined;
  model->impl_ = std::make_unique<Impl>();
  model->impl_->handle = {name, version, folder, config, backend()};
  check(TRITONBACKEND_ModelInitialize(&model->impl_->handle));
  for (std::size_t i = 0; i < instances; ++i) {
    model->impl_->instances.push_back({&model->impl_->handle});
    check(TRITONBACKEND_ModelInstanceInitialize(&model->impl_->instances.back()));
    ++model->impl_->initialized;
  }
  for (TRITONBACKEND_ModelInstance& instance : model->impl_->instances) {
    model->threads_.emplace_back(&Model::work, model.get(), &instance);
  }
  return model;
}

Model::~Model() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stops_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  for (std::size_t i = 0; i < impl_->initialized; ++i) {
    check(TRITONBACKEND_ModelInstanceFinalize(&impl_->instances[i]));
  }
  check(TRITONBACKEND_ModelFinalize(&impl_->handle));
}

void Model::work(TRITONBACKEND_ModelInstance* instance) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stops_ || !queue_.empty(); });
    if (stops_) return;
    std::vector<TRITONBACKEND_Request*> taken;
    while (!queue_.empty() && taken.size() < limit_) {
      taken.push_back(queue_.front());
      queue_.pop_front();
    }
    lock.unlock();
    std::size_t seen = joined_;
    while (seen < taken.size() && !joined_.compare_exchange_weak(seen, taken.size())) {
    }
    check(TRITONBACKEND_ModelInstanceExecute(instance, taken.data(), static_cast<std::uint32_t>(taken.size())));
    lock.lock();
  }
}

std::shared_ptr<Answer> Model::send(Request request) {
  auto made = std::make_unique<TRITONBACKEND_Request>();
  made->content = std::move(request);
  made->answer = std::make_shared<Answer>();
  made->answer->output_offset = made->content.output_offset;
  made->model = shared_from_this();
  for (const Tensor& tensor : made->content.inputs) {
    TRITONBACKEND_Input input{&tensor, {}};
    for (const std::vector<char>& piece : tensor.pieces) {
      std::vector<char> memory(tensor.offset + piece.size());
      std::copy(piece.begin(), piece.end(), memory.begin() + static_cast<std::ptrdiff_t>(tensor.offset));
      input.memory.push_back(std::move(memory));
    }
    made->inputs.push_back(std::move(input));
  }
  const std::shared_ptr<Answer> answer = made->answer;
  const std::lock_guard<std::mutex> lock(mutex_);
  queue_.push_back(made.release());
  changed_.notify_one();
  return answer;
}

Response Model::infer(Request request) {
  const std::shared_ptr<Answer> answer = send(std::move(request));
  answer->wait_for_all();
  return *answer->wait(0);
}

long alive() { return alive_count; }

double metric(const std::string& name, const std::string& model) {
  const std::lock_guard<std::mutex> lock(metrics_mutex);
  return metric_values[name + "/" + model];
}

void set_api_version(std::uint32_t major, std::uint32_t minor) {
  api_major = major;
  api_minor = minor;
}

}  // namespace fake

// What the backend calls.

using fake::error;

TRITONSERVER_Error* TRITONSERVER_ErrorNew(TRITONSERVER_Error_Code code, const char* message) {
  return error(code, message);
}
void TRITONSERVER_ErrorDelete(TRITONSERVER_Error* failed) { delete failed; }
TRITONSERVER_Error_Code TRITONSERVER_ErrorCode(TRITONSERVER_Error* failed) { return failed->code; }
const char* TRITONSERVER_ErrorMessage(TRITONSERVER_Error* failed) { return failed->message.c_str(); }
TRITONSERVER_Error* TRITONSERVER_LogMessage(TRITONSERVER_LogLevel /*level*/, const char* /*file*/, int /*line*/,
                                            const char* message) {
  std::fprintf(stderr, "%s\n", message);
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MessageSerializeToJson(TRITONSERVER_Message* message, const char** base,
                                                        std::size_t* byte_size) {
  *base = message->text.data();
  *byte_size = message->text.size();
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MessageDelete(TRITONSERVER_Message* message) {
  delete message;
  return nullptr;
}
TRITONSERVER_Parameter* TRITONSERVER_ParameterNew(const char* /*name*/, TRITONSERVER_ParameterType /*type*/,
                                                  const void* value) {
  auto* const parameter = new TRITONSERVER_Parameter;
  parameter->value = static_cast<const char*>(value);
  return parameter;
}
void TRITONSERVER_ParameterDelete(TRITONSERVER_Parameter* parameter) { delete parameter; }
TRITONSERVER_Error* TRITONSERVER_MetricFamilyNew(TRITONSERVER_MetricFamily** family, TRITONSERVER_MetricKind /*kind*/,
                                                 const char* name, const char* /*description*/) {
  *family = new TRITONSERVER_MetricFamily;
  (*family)->name = name;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricFamilyDelete(TRITONSERVER_MetricFamily* family) {
  delete family;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricArgsNew(TRITONSERVER_MetricArgs** arguments) {
  *arguments = new TRITONSERVER_MetricArgs;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricArgsSetHistogram(TRITONSERVER_MetricArgs* /*arguments*/,
                                                        const double* /*buckets*/, std::uint64_t /*count*/) {
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricArgsDelete(TRITONSERVER_MetricArgs* arguments) {
  delete arguments;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricNewWithArgs(TRITONSERVER_Metric** metric, TRITONSERVER_MetricFamily* family,
                                                   const TRITONSERVER_Parameter** labels, std::uint64_t label_count,
                                                   const TRITONSERVER_MetricArgs* /*arguments*/) {
  return TRITONSERVER_MetricNew(metric, family, labels, label_count);
}
TRITONSERVER_Error* TRITONSERVER_MetricNew(TRITONSERVER_Metric** metric, TRITONSERVER_MetricFamily* family,
                                           const TRITONSERVER_Parameter** labels, std::uint64_t /*label_count*/) {
  *metric = new TRITONSERVER_Metric;
  (*metric)->key = family->name + "/" + labels[0]->value;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricDelete(TRITONSERVER_Metric* metric) {
  delete metric;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricIncrement(TRITONSERVER_Metric* metric, double value) {
  const std::lock_guard<std::mutex> lock(metrics_mutex);
  metric_values[metric->key] += value;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricSet(TRITONSERVER_Metric* metric, double value) {
  const std::lock_guard<std::mutex> lock(metrics_mutex);
  metric_values[metric->key] = value;
  return nullptr;
}
TRITONSERVER_Error* TRITONSERVER_MetricObserve(TRITONSERVER_Metric* metric, double value) {
  return TRITONSERVER_MetricIncrement(metric, value);
}

TRITONSERVER_Error* TRITONBACKEND_ApiVersion(std::uint32_t* major, std::uint32_t* minor) {
  *major = api_major;
  *minor = api_minor;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_BackendState(TRITONBACKEND_Backend* backend, void** state) {
  *state = backend->state;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_BackendSetState(TRITONBACKEND_Backend* backend, void* state) {
  backend->state = state;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_BackendAttributeAddPreferredInstanceGroup(
    TRITONBACKEND_BackendAttribute* /*attributes*/, TRITONSERVER_InstanceGroupKind /*kind*/, std::uint64_t /*count*/,
    const std::uint64_t* /*devices*/, std::uint64_t /*device_count*/) {
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(
    TRITONBACKEND_BackendAttribute* /*attributes*/, bool /*enabled*/) {
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelName(TRITONBACKEND_Model* model, const char** name) {
  *name = model->name.c_str();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelVersion(TRITONBACKEND_Model* model, std::uint64_t* version) {
  *version = model->version;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelRepository(TRITONBACKEND_Model* model, TRITONBACKEND_ArtifactType* type,
                                                  const char** location) {
  *type = TRITONBACKEND_ARTIFACT_FILESYSTEM;
  *location = model->folder.c_str();
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelConfig(TRITONBACKEND_Model* model, std::uint32_t /*config_version*/,
                                              TRITONSERVER_Message** config) {
  *config = new TRITONSERVER_Message;
  (*config)->text = model->config;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelBackend(TRITONBACKEND_Model* model, TRITONBACKEND_Backend** backend) {
  *backend = model->backend;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelState(TRITONBACKEND_Model* model, void** state) {
  *state = model->state;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelSetState(TRITONBACKEND_Model* model, void* state) {
  model->state = state;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceKind(TRITONBACKEND_ModelInstance* /*instance*/,
                                                    TRITONSERVER_InstanceGroupKind* kind) {
  *kind = TRITONSERVER_INSTANCEGROUPKIND_CPU;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceDeviceId(TRITONBACKEND_ModelInstance* /*instance*/,
                                                        std::int32_t* device) {
  *device = 0;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceModel(TRITONBACKEND_ModelInstance* instance,
                                                     TRITONBACKEND_Model** model) {
  *model = instance->model;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceState(TRITONBACKEND_ModelInstance* instance, void** state) {
  *state = instance->state;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceSetState(TRITONBACKEND_ModelInstance* instance, void* state) {
  instance->state = state;
  return nullptr;
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportStatistics(TRITONBACKEND_ModelInstance* /*instance*/,
                                                                TRITONBACKEND_Request* request, bool /*success*/,
                                                                std::uint64_t begin, std::uint64_t compute_begin,
                                                                std::uint64_t compute_end, std::uint64_t end) {
  // Reads the request, which has to be there, and checks what the server would print.
  const bool is_ordered = begin <= compute_begin && compute_begin <= compute_end && compute_end <= end;
  return request->answer != nullptr && is_ordered ? nullptr : error(TRITONSERVER_ERROR_INVALID_ARG, "wrong times");
}
TRITONSERVER_Error* TRITONBACKEND_ModelInstanceReportBatchStatistics(TRITONBACKEND_ModelInstance* /*instance*/,
                                                                     std::uint64_t /*batch_size*/, std::uint64_t begin,
                                                                     std::uint64_t compute_begin,
                                                                     std::uint64_t compute_end, std::uint64_t end) {
  const bool is_ordered = begin <= compute_begin && compute_begin <= compute_end && compute_end <= end;
  return is_ordered ? nullptr : error(TRITONSERVER_ERROR_INVALID_ARG, "wrong times");
}
