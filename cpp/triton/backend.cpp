// The functions that Triton Inference Server calls. docs/serving.md says what users see of them.
#include <cstdlib>
#include <exception>
#include <memory>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "call.hpp"
#include "generator.hpp"
#include "model.hpp"
#include "request.hpp"
#include "support.hpp"

namespace aotbuild::triton {

namespace {

// What was kept for a handle; null where its initialization failed.
template <typename State, typename Handle>
State* state_or_null(Handle* handle, TRITONSERVER_Error* (*get)(Handle*, void**)) {
  void* state = nullptr;
  check(get(handle, &state));
  return static_cast<State*>(state);
}

template <typename State, typename Handle>
State& state_of(Handle* handle, TRITONSERVER_Error* (*get)(Handle*, void**)) {
  return *state_or_null<State>(handle, get);
}

template <typename State, typename Handle>
void keep(Handle* handle, std::unique_ptr<State> state, TRITONSERVER_Error* (*set)(Handle*, void*)) {
  check(set(handle, state.get()));
  state.release();
}

// One thread of the server: it runs what the scheduler gives it, a batch at a time.
class Instance {
 public:
  explicit Instance(TRITONBACKEND_ModelInstance* handle) : handle_(handle) {
    TRITONBACKEND_Model* model = nullptr;
    check(TRITONBACKEND_ModelInstanceModel(handle, &model));
    model_ = &state_of<Model>(model, TRITONBACKEND_ModelState);
    TRITONSERVER_InstanceGroupKind kind{};
    check(TRITONBACKEND_ModelInstanceKind(handle, &kind));
    std::int32_t device = 0;
    if (kind == TRITONSERVER_INSTANCEGROUPKIND_GPU) check(TRITONBACKEND_ModelInstanceDeviceId(handle, &device));
    if (model_->is_on_gpu() != (kind == TRITONSERVER_INSTANCEGROUPKIND_GPU)) {
      fail(TRITONSERVER_ERROR_INVALID_ARG, model_->config().name, ": config.pbtxt: instance_group has to be ",
           model_->is_on_gpu() ? "KIND_GPU, as the model was built with DEVICE cuda"
                               : "KIND_CPU, as the model was built for the CPU");
    }
    object_ = model_->object(device);
  }

  void execute(TRITONBACKEND_Request** handles, std::size_t count) {
    if (model_->generator() != nullptr) {
      for (std::size_t i = 0; i < count; ++i) model_->generator()->add(*model_, handle_, handles[i], object_);
      return;
    }
    begin_ns_ = now_ns();
    std::vector<std::unique_ptr<Request>> requests;
    std::vector<Request*> ready;
    for (std::size_t i = 0; i < count; ++i) {
      if (Request* const request = prepare(handles[i], &requests)) ready.push_back(request);
    }
    std::int64_t rows = 0;
    CallTimes whole{begin_ns_, begin_ns_};
    while (!ready.empty()) {
      std::vector<Request*> joined{ready[0]};
      std::vector<Request*> others;
      for (std::size_t i = 1; i < ready.size(); ++i) {
        (model_->is_batched() && ready[0]->can_join(*ready[i]) ? joined : others).push_back(ready[i]);
      }
      for (const Request* const request : joined) rows += request->rows();
      whole.end_ns = run(joined);
      ready = std::move(others);
    }
    if (rows > 0) {
      succeeded(TRITONBACKEND_ModelInstanceReportBatchStatistics(handle_, static_cast<std::uint64_t>(rows), begin_ns_,
                                                                 whole.begin_ns, whole.end_ns, now_ns()));
    }
  }

 private:
  // The request, ready to be run; null when it is answered already.
  Request* prepare(TRITONBACKEND_Request* handle, std::vector<std::unique_ptr<Request>>* requests) {
    try {
      requests->push_back(std::make_unique<Request>(handle));
    } catch (const std::exception& exception) {  // no response can be made
      log(TRITONSERVER_LOG_ERROR, concat(model_->config().name, ": a request is dropped: ", exception.what()));
      succeeded(TRITONBACKEND_RequestRelease(handle, TRITONSERVER_REQUEST_RELEASE_ALL));
      return nullptr;
    }
    Request* const request = requests->back().get();
    try {
      request->prepare(*model_, object_);
      return request;
    } catch (...) {
      finish(request, true, {begin_ns_, begin_ns_});
      return nullptr;
    }
  }

  // Returns when the last call ended.
  std::uint64_t run(const std::vector<Request*>& requests) {
    CallTimes times{};
    std::vector<std::exception_ptr> failures;
    try {
      times = run_call(*model_, requests, &scratch_, &failures);
    } catch (...) {
      if (requests.size() == 1) {
        finish(requests[0], true, {begin_ns_, begin_ns_});
        return now_ns();
      }
      // One request may be at fault: each gets its own answer.
      for (Request* const request : requests) run({request});
      return now_ns();
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
      try {
        if (failures[i] != nullptr) std::rethrow_exception(failures[i]);
        finish(requests[i], false, times);
      } catch (...) {
        finish(requests[i], true, times);
      }
    }
    return times.end_ns;
  }

  // Sends the response, counts the request and gives it back. With `failed` the exception that is being handled is the
  // answer.
  void finish(Request* request, bool failed, const CallTimes& times) {
    request->send(*model_, failed);
    succeeded(TRITONBACKEND_ModelInstanceReportStatistics(handle_, request->handle(), !failed, begin_ns_,
                                                          times.begin_ns, times.end_ns, now_ns()));
    succeeded(TRITONBACKEND_RequestRelease(request->handle(), TRITONSERVER_REQUEST_RELEASE_ALL));
  }

  TRITONBACKEND_ModelInstance* handle_;
  Model* model_;
  Object object_;
  Scratch scratch_;
  std::uint64_t begin_ns_ = 0;
};

void check_version() {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  check(TRITONBACKEND_ApiVersion(&major, &minor));
  if (major != kTritonBackendMajor || minor < kTritonBackendMinor) {
    fail(TRITONSERVER_ERROR_UNSUPPORTED, "aotbuild: this server has version ", major, ".", minor,
         " of Triton's backend interface, libtriton_aotbuild.so needs ", kTritonBackendMajor, ".", kTritonBackendMinor,
         " or a later ", kTritonBackendMajor, ".x; use a server of the releases that have it");
  }
}

}  // namespace

}  // namespace aotbuild::triton

namespace triton = aotbuild::triton;

TRITONSERVER_Error* TRITONBACKEND_Initialize(TRITONBACKEND_Backend* backend) {
  return triton::reported([&] {
    triton::check_version();
    triton::keep(backend, std::make_unique<triton::MetricFamilies>(), TRITONBACKEND_BackendSetState);
  });
}

TRITONSERVER_Error* TRITONBACKEND_Finalize(TRITONBACKEND_Backend* backend) {
  return triton::reported(
      [&] { delete &triton::state_of<triton::MetricFamilies>(backend, TRITONBACKEND_BackendState); });
}

TRITONSERVER_Error* TRITONBACKEND_GetBackendAttribute(TRITONBACKEND_Backend* /*backend*/,
                                                      TRITONBACKEND_BackendAttribute* attributes) {
  return triton::reported([&] {
    triton::check(TRITONBACKEND_BackendAttributeAddPreferredInstanceGroup(
        attributes, TRITONSERVER_INSTANCEGROUPKIND_CPU, 0, nullptr, 0));
    triton::check(TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(attributes, true));
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) {
  return triton::reported([&] {
    TRITONBACKEND_Backend* backend = nullptr;
    triton::check(TRITONBACKEND_ModelBackend(model, &backend));
    const auto& families = triton::state_of<triton::MetricFamilies>(backend, TRITONBACKEND_BackendState);
    triton::keep(model, std::make_unique<triton::Model>(model, families), TRITONBACKEND_ModelSetState);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) {
  return triton::reported([&] {
    delete triton::state_or_null<triton::Model>(model, TRITONBACKEND_ModelState);
#if defined(__GLIBC__)
    // Calls freed their memory in the arenas of threads that are gone; the C library would keep it.
    malloc_trim(0);
#endif
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceInitialize(TRITONBACKEND_ModelInstance* instance) {
  return triton::reported([&] {
    triton::keep(instance, std::make_unique<triton::Instance>(instance), TRITONBACKEND_ModelInstanceSetState);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceFinalize(TRITONBACKEND_ModelInstance* instance) {
  return triton::reported(
      [&] { delete triton::state_or_null<triton::Instance>(instance, TRITONBACKEND_ModelInstanceState); });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance,
                                                       TRITONBACKEND_Request** requests, std::uint32_t request_count) {
  return triton::reported([&] {
    triton::state_of<triton::Instance>(instance, TRITONBACKEND_ModelInstanceState).execute(requests, request_count);
  });
}
