#include "model.hpp"

#include <algorithm>
#include <limits>

#include "generator.hpp"
#include "support.hpp"

namespace aotbuild::triton {

namespace {

constexpr int kFixed = -1;
constexpr int kUnknown = -2;

Method describe(std::size_t index, const aotbuild_method_info& info) {
  Method method{index, &info, {}, {}};
  std::vector<std::string> symbols;
  const auto rules = [&](const aotbuild_tensor_info& tensor, bool is_input) {
    std::vector<SizeRule> found;
    for (std::int32_t d = 0; d < tensor.ndim; ++d) {
      const aotbuild_dim_info& dim = *tensor.dims[d];
      if (dim.symbol == nullptr) {
        found.push_back({kFixed, 0, dim.min});
        continue;
      }
      auto symbol = std::find(symbols.begin(), symbols.end(), dim.symbol);
      if (is_input && symbol == symbols.end()) symbol = symbols.insert(symbols.end(), dim.symbol);
      const bool is_known = symbol != symbols.end() && *symbol != "?" && dim.multiplier != 0;
      found.push_back({is_known ? static_cast<int>(symbol - symbols.begin()) : kUnknown, dim.multiplier, dim.offset});
    }
    return found;
  };
  for (std::size_t i = 0; i < info.input_count; ++i) method.inputs.push_back(rules(*info.inputs[i], true));
  for (std::size_t i = 0; i < info.output_count; ++i) method.outputs.push_back(rules(*info.outputs[i], false));
  method.symbol_count = symbols.size();
  return method;
}

std::string message_text(TRITONSERVER_Message* message) {
  const char* text = nullptr;
  std::size_t size = 0;
  check(TRITONSERVER_MessageSerializeToJson(message, &text, &size));
  return std::string(text, size);
}

Config config_of(TRITONBACKEND_Model* handle) {
  const char* name = nullptr;
  check(TRITONBACKEND_ModelName(handle, &name));
  TRITONSERVER_Message* message = nullptr;
  check(TRITONBACKEND_ModelConfig(handle, 1, &message));
  const std::unique_ptr<TRITONSERVER_Message, void (*)(TRITONSERVER_Message*)> owner(
      message, [](TRITONSERVER_Message* owned) { succeeded(TRITONSERVER_MessageDelete(owned)); });
  const std::string text = message_text(message);
  return parse_config(name, text.data(), text.size());
}

bool is_any_written_or_strided(const aotbuild_tensor_info& info) {
  return info.strides != nullptr &&
         std::any_of(info.strides, info.strides + info.ndim, [](std::int64_t stride) { return stride < 0; });
}

}  // namespace

std::vector<std::pair<bool, std::vector<std::int64_t>>> Method::output_shapes(
    const std::vector<std::vector<std::int64_t>>& input_shapes) const {
  std::vector<std::int64_t> symbols(symbol_count, -1);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::size_t d = 0; d < inputs[i].size(); ++d) {
      const SizeRule& rule = inputs[i][d];
      if (rule.symbol < 0) continue;
      const std::int64_t whole = input_shapes[i][d] - rule.offset;
      if (whole % rule.multiplier == 0) symbols[static_cast<std::size_t>(rule.symbol)] = whole / rule.multiplier;
    }
  }
  std::vector<std::pair<bool, std::vector<std::int64_t>>> shapes;
  for (const std::vector<SizeRule>& rules : outputs) {
    std::pair<bool, std::vector<std::int64_t>> shape{true, {}};
    for (const SizeRule& rule : rules) {
      const std::int64_t value = rule.symbol < 0 ? 0 : symbols[static_cast<std::size_t>(rule.symbol)];
      const std::int64_t size = rule.multiplier * value + rule.offset;
      if (rule.symbol == kUnknown || value < 0 || size < 0) shape.first = false;
      shape.second.push_back(size);
    }
    shapes.push_back(std::move(shape));
  }
  return shapes;
}

Model::Model(TRITONBACKEND_Model* handle, const MetricFamilies& families) : config_(config_of(handle)) {
  TRITONBACKEND_ArtifactType type{};
  const char* folder = nullptr;
  check(TRITONBACKEND_ModelRepository(handle, &type, &folder));
  std::uint64_t version = 0;
  check(TRITONBACKEND_ModelVersion(handle, &version));
  const VersionFiles files = find_files(config_.name, folder, version, config_.library);
  library_ = std::make_shared<const Library>(config_.name, files.library);
  weights_ = files.weights;
  const aotbuild_model_info& info = library_->info();
  for (std::size_t m = 0; m < info.method_count; ++m) {
    methods_.push_back(describe(m, *info.methods[m]));
    const aotbuild_method_info& method = *info.methods[m];
    for (std::size_t i = 0; i < method.input_count; ++i) {
      is_on_gpu_ = is_on_gpu_ || method.inputs[i]->device.type == AOTBUILD_CUDA;
      if (is_any_written_or_strided(*method.inputs[i])) {
        fail(TRITONSERVER_ERROR_UNSUPPORTED, config_.name, ": input '", method.inputs[i]->name,
             "' has strides that vary with sizes; give the model's example a contiguous tensor");
      }
    }
    for (std::size_t i = 0; i < method.output_count; ++i) {
      is_on_gpu_ = is_on_gpu_ || method.outputs[i]->device.type == AOTBUILD_CUDA;
    }
  }
  metrics_ = std::make_unique<Metrics>(families, config_.name, version);
  const bool generates = config_.parameters.count("generate") != 0;
  if (generates != config_.decoupled) {
    fail(TRITONSERVER_ERROR_INVALID_ARG, config_.name,
         ": config.pbtxt: model_transaction_policy is decoupled for models with the parameter \"generate\", and for no "
         "others; aotbuild_add_triton_model() writes a file that fits");
  }
  if (generates) {
    generator_ = std::make_unique<Generator>(*this, config_.parameters.at("generate"));
  } else {
    check_config(config_, info);
  }
  object(0);  // so that weights which do not fit are an error of loading
}

Model::~Model() {
  generator_.reset();
  sequences_.clear();
  objects_.clear();
}

Object Model::create(std::int32_t device) const {
  aotbuild_options options{};
  options.struct_size = sizeof(options);
  options.num_threads =
      static_cast<std::int32_t>(config_.number("threads", 0, std::numeric_limits<std::int32_t>::max()));
  options.weights_file = weights_.empty() ? nullptr : weights_.c_str();
  if (is_on_gpu_) options.device = {AOTBUILD_CUDA, device};
  aotbuild_model* created = nullptr;
  check(api(), api().create(&options, &created));
  return Object(created, [library = library_](aotbuild_model* owned) { library->api().destroy(owned); });
}

Object Model::object(std::int32_t device) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = objects_.find(device);
  if (found != objects_.end()) return found->second;
  return objects_.emplace(device, create(device)).first->second;
}

Object Model::new_session(const Object& object) const {
  aotbuild_model* session = nullptr;
  check(api(), api().new_session(object.get(), &session));
  return Object(session, [library = library_](aotbuild_model* owned) { library->api().destroy(owned); });
}

Object Model::sequence(const std::string& id, bool begin, const Object& object) {
  std::vector<Object> dropped;  // destroyed without the lock
  Object session = begin ? new_session(object) : nullptr;
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::uint64_t now = now_ns();  // under the lock: later than every time of use
  for (auto entry = sequences_.begin(); entry != sequences_.end();) {
    // The server forgets a sequence that is idle and says nothing; it never counts one as idle later than this.
    if (entry->first != id && now - entry->second.used_ns > config_.idle_ns + config_.idle_ns / 2) {
      dropped.push_back(std::move(entry->second.session));
      entry = sequences_.erase(entry);
    } else {
      ++entry;
    }
  }
  if (begin) {
    Sequence& sequence = sequences_[id];
    if (sequence.session != nullptr) dropped.push_back(std::move(sequence.session));
    sequence = {session, now};
  } else {
    const auto found = sequences_.find(id);
    if (found == sequences_.end()) {
      fail(TRITONSERVER_ERROR_NOT_FOUND, config_.name, ": sequence ", id,
           " has no state in this version of the model; begin it again with sequence_start");
    }
    found->second.used_ns = now;
    session = found->second.session;
  }
  metrics_->set(Metric::kSessions, static_cast<double>(sequences_.size()));
  return session;
}

void Model::end_sequence(const std::string& id) {
  Object ended;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = sequences_.find(id);
  if (found == sequences_.end()) return;
  ended = std::move(found->second.session);
  sequences_.erase(found);
  metrics_->set(Metric::kSessions, static_cast<double>(sequences_.size()));
}

void Model::report_graphs(const Object& object) {
  if (!is_on_gpu_) return;
  aotbuild_statistics statistics{};
  statistics.struct_size = sizeof(statistics);
  if (api().statistics(object.get(), &statistics) != AOTBUILD_OK) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  metrics_->add(Metric::kGraphReplays, static_cast<double>(statistics.graph_replays) -
                                           static_cast<double>(std::min(graph_replays_, statistics.graph_replays)));
  graph_replays_ = statistics.graph_replays;
}

}  // namespace aotbuild::triton
