// One version of a model that the server has loaded: its library, its objects, and the sessions of sequences.
#ifndef AOTBUILD_TRITON_MODEL_HPP_
#define AOTBUILD_TRITON_MODEL_HPP_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "config.hpp"
#include "library.hpp"
#include "metrics.hpp"

namespace aotbuild::triton {

class Generator;

// A model object of the C ABI, which keeps its library open.
using Object = std::shared_ptr<aotbuild_model>;

// Where an output's size comes from.
struct SizeRule {
  int symbol;  // index of Method's symbols; -1: `offset` alone; -2: the call tells
  std::int64_t multiplier;
  std::int64_t offset;
};

// What calls of a method need to know, found once.
struct Method {
  std::size_t index;
  const aotbuild_method_info* info;
  std::vector<std::vector<SizeRule>> inputs;  // by input and dimension
  std::vector<std::vector<SizeRule>> outputs;
  std::size_t symbol_count = 0;

  // The sizes of every output, as far as those of the inputs tell: an empty optional for one of which they do not.
  std::vector<std::pair<bool, std::vector<std::int64_t>>> output_shapes(
      const std::vector<std::vector<std::int64_t>>& input_shapes) const;
};

class Model {
 public:
  Model(TRITONBACKEND_Model* handle, const MetricFamilies& families);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Config& config() const { return config_; }
  const aotbuild_api& api() const { return library_->api(); }
  const Metrics& metrics() const { return *metrics_; }
  const std::vector<Method>& methods() const { return methods_; }
  bool is_batched() const { return config_.max_batch_size > 0; }
  bool is_on_gpu() const { return is_on_gpu_; }
  Generator* generator() const { return generator_.get(); }

  // The object for a device, which instances share; made when the first of them asks.
  Object object(std::int32_t device);
  Object new_session(const Object& object) const;

  // The session of a sequence. With `begin` it is a new one.
  Object sequence(const std::string& id, bool begin, const Object& object);
  void end_sequence(const std::string& id);

  // Adds what a model on a GPU counted since the last call.
  void report_graphs(const Object& object);

 private:
  struct Sequence {
    Object session;
    std::uint64_t used_ns;
  };

  Object create(std::int32_t device) const;

  Config config_;
  std::shared_ptr<const Library> library_;
  std::string weights_;
  std::unique_ptr<Metrics> metrics_;
  std::vector<Method> methods_;
  bool is_on_gpu_ = false;
  std::mutex mutex_;
  std::map<std::int32_t, Object> objects_;
  std::unordered_map<std::string, Sequence> sequences_;
  std::uint64_t graph_replays_ = 0;
  std::unique_ptr<Generator> generator_;
};

}  // namespace aotbuild::triton

#endif  // AOTBUILD_TRITON_MODEL_HPP_
