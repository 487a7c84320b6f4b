// The backend's own metrics, which the server prints beside its own.
#ifndef AOTBUILD_TRITON_METRICS_HPP_
#define AOTBUILD_TRITON_METRICS_HPP_

#include <array>
#include <cstdint>
#include <string>

#include "triton_api.h"

namespace aotbuild::triton {

enum class Metric { kCalls, kFailures, kMicroseconds, kBatchSize, kGraphReplays, kTokens, kSessions };
constexpr std::size_t kMetricCount = 7;

// One family of each metric, made once; a server that was started without metrics has none.
class MetricFamilies {
 public:
  MetricFamilies();
  ~MetricFamilies();
  MetricFamilies(const MetricFamilies&) = delete;
  MetricFamilies& operator=(const MetricFamilies&) = delete;

  TRITONSERVER_MetricFamily* operator[](Metric metric) const { return families_[static_cast<std::size_t>(metric)]; }

 private:
  std::array<TRITONSERVER_MetricFamily*, kMetricCount> families_{};
};

// The metrics of one version of a model.
class Metrics {
 public:
  Metrics(const MetricFamilies& families, const std::string& model, std::uint64_t version);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void add(Metric metric, double value) const;      // to a counter
  void set(Metric metric, double value) const;      // a gauge
  void observe(Metric metric, double value) const;  // of a histogram

 private:
  TRITONSERVER_Metric* operator[](Metric metric) const { return metrics_[static_cast<std::size_t>(metric)]; }

  std::array<TRITONSERVER_Metric*, kMetricCount> metrics_{};
};

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_METRICS_HPP_
