#include "metrics.hpp"

#include <vector>

#include "support.hpp"

namespace aotbuild::triton {

namespace {

struct Description {
  TRITONSERVER_MetricKind kind;
  const char* name;
  const char* text;
};

// In the order of `Metric`.
constexpr Description kDescriptions[kMetricCount] = {
    {TRITONSERVER_METRIC_KIND_COUNTER, "aotbuild_calls_total", "Calls of the model's library"},
    {TRITONSERVER_METRIC_KIND_COUNTER, "aotbuild_failed_requests_total", "Requests answered with an error"},
    {TRITONSERVER_METRIC_KIND_COUNTER, "aotbuild_call_microseconds_total", "Time in calls of the model's library"},
    {TRITONSERVER_METRIC_KIND_HISTOGRAM, "aotbuild_batch_size", "Rows of a call, of all requests that it joins"},
    {TRITONSERVER_METRIC_KIND_COUNTER, "aotbuild_graph_replays_total", "Calls that replayed a CUDA graph"},
    {TRITONSERVER_METRIC_KIND_COUNTER, "aotbuild_tokens_total", "Tokens that were generated"},
    {TRITONSERVER_METRIC_KIND_GAUGE, "aotbuild_sessions", "Sessions that have state now"},
};
constexpr double kBuckets[] = {1, 2, 4, 8, 16, 32, 64, 128};

// Metrics are off, or the server has none of this name: no reason to refuse a model.
template <typename Value>
bool made(TRITONSERVER_Error* error, Value** value) {
  if (error == nullptr) return true;
  TRITONSERVER_ErrorDelete(error);
  *value = nullptr;
  return false;
}

}  // namespace

MetricFamilies::MetricFamilies() {
  for (std::size_t i = 0; i < kMetricCount; ++i) {
    const Description& what = kDescriptions[i];
    made(TRITONSERVER_MetricFamilyNew(&families_[i], what.kind, what.name, what.text), &families_[i]);
  }
}

MetricFamilies::~MetricFamilies() {
  for (TRITONSERVER_MetricFamily* const family : families_) {
    if (family != nullptr) succeeded(TRITONSERVER_MetricFamilyDelete(family));
  }
}

Metrics::Metrics(const MetricFamilies& families, const std::string& model, std::uint64_t version) {
  const std::string number = std::to_string(version);
  TRITONSERVER_Parameter* labels[] = {
      TRITONSERVER_ParameterNew("model", TRITONSERVER_PARAMETER_STRING, model.c_str()),
      TRITONSERVER_ParameterNew("version", TRITONSERVER_PARAMETER_STRING, number.c_str()),
  };
  const TRITONSERVER_Parameter* const_labels[] = {labels[0], labels[1]};
  for (std::size_t i = 0; i < kMetricCount; ++i) {
    TRITONSERVER_MetricFamily* const family = families[static_cast<Metric>(i)];
    if (family == nullptr) continue;
    if (kDescriptions[i].kind != TRITONSERVER_METRIC_KIND_HISTOGRAM) {
      made(TRITONSERVER_MetricNew(&metrics_[i], family, const_labels, 2), &metrics_[i]);
      continue;
    }
    TRITONSERVER_MetricArgs* arguments = nullptr;
    if (!made(TRITONSERVER_MetricArgsNew(&arguments), &arguments)) continue;
    if (succeeded(TRITONSERVER_MetricArgsSetHistogram(arguments, kBuckets, std::size(kBuckets)))) {
      made(TRITONSERVER_MetricNewWithArgs(&metrics_[i], family, const_labels, 2, arguments), &metrics_[i]);
    }
    succeeded(TRITONSERVER_MetricArgsDelete(arguments));
  }
  for (TRITONSERVER_Parameter* const label : labels) TRITONSERVER_ParameterDelete(label);
}

Metrics::~Metrics() {
  for (TRITONSERVER_Metric* const metric : metrics_) {
    if (metric != nullptr) succeeded(TRITONSERVER_MetricDelete(metric));
  }
}

void Metrics::add(Metric metric, double value) const {
  if ((*this)[metric] != nullptr && value > 0) succeeded(TRITONSERVER_MetricIncrement((*this)[metric], value));
}

void Metrics::set(Metric metric, double value) const {
  if ((*this)[metric] != nullptr) succeeded(TRITONSERVER_MetricSet((*this)[metric], value));
}

void Metrics::observe(Metric metric, double value) const {
  if ((*this)[metric] != nullptr) succeeded(TRITONSERVER_MetricObserve((*this)[metric], value));
}

}  // namespace aotbuild::triton
