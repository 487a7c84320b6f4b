#include "results.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace aotbuild::tune {

namespace {

using detail::fail;
using Json = nlohmann::json;

constexpr std::pair<Status, const char*> kNames[] = {{Status::kStarted, "started"},
                                                     {Status::kMeasured, "measured"},
                                                     {Status::kSlow, "slow"},
                                                     {Status::kWrong, "wrong"},
                                                     {Status::kFailed, "failed"}};

const char* name_of(Status status) {
  for (const auto& [value, name] : kNames) {
    if (value == status) return name;
  }
  return "";
}

Status status_of(const std::string& text) {
  for (const auto& [value, name] : kNames) {
    if (text == name) return value;
  }
  throw std::invalid_argument("status '" + text + "' is unknown");
}

}  // namespace

Results::File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

Results::Results(std::string path, const Bundle& bundle)
    : path_(std::move(path)),
      bundle_id_(bundle.id),
      file_(open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) {
  if (file_ < 0) fail(AOTBUILD_INVALID_ARGUMENT, path_, ": cannot be written: ", std::strerror(errno));
  wait_for_others();
  std::ifstream input(path_, std::ios::binary);
  std::string line;
  bool is_complete = true;
  for (std::size_t number = 1; std::getline(input, line); ++number) {
    is_complete = !input.eof();
    if (!is_complete) break;
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) continue;  // two lines that a kill has run together: both are measured again
    try {
      if (json.contains("bundle")) {
        if (json.at("bundle").get<std::string>() != bundle_id_ || json.at("format").get<int>() != kFormat) {
          fail(AOTBUILD_INVALID_ARGUMENT, path_, ": holds results of another bundle; name another file or remove it");
        }
        device_ = json.at("device").get<std::string>();
        continue;
      }
      if (json.contains("settled")) {
        settled_.insert(json.at("settled").get<std::string>());
        continue;
      }
      Outcome& outcome = outcomes_[{json.at("kernel").get<std::string>(), json.at("candidate").get<std::size_t>()}];
      const Status status = status_of(json.at("status").get<std::string>());
      if (status == Status::kStarted) {
        ++outcome.starts;
        continue;
      }
      outcome.status = status;
      outcome.times = json.value("times", std::vector<double>{});
      outcome.message = json.value("message", "");
    } catch (const detail::Error&) {
      throw;
    } catch (const std::exception& error) {
      fail(AOTBUILD_INVALID_ARGUMENT, path_, ":", number, ": ", error.what(), "; remove the line");
    }
  }
  if (!is_complete) append("");  // ends the line that a kill has cut off
}

// Of two programs over one file, as when a scheduler starts a task again whose process it has lost sight of, each would
// take the other's candidates for some that have ended the process.
void Results::wait_for_others() const {
  if (flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;  // or a file system without locks
  std::fprintf(stderr, "aotbuild-tune: another one writes to %s; waiting for it\n", path_.c_str());
  while (flock(file_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

void Results::begin(const Machine& machine) {
  if (!device_.empty() && device_ != machine.device) {
    fail(AOTBUILD_INVALID_ARGUMENT, path_, ": holds results of ", device_, ", and this is ", machine.device,
         "; name another file");
  }
  if (!device_.empty()) return;
  device_ = machine.device;
  append(Json{{"bundle", bundle_id_},
              {"format", kFormat},
              {"device", machine.device},
              {"capability", machine.capability},
              {"driver", machine.driver}}
             .dump());
}

const Outcome* Results::find(const std::string& key, std::size_t candidate) const {
  const auto found = outcomes_.find({key, candidate});
  return found == outcomes_.end() ? nullptr : &found->second;
}

void Results::start(const std::string& key, std::size_t candidate) {
  ++outcomes_[{key, candidate}].starts;
  append(Json{{"kernel", key}, {"candidate", candidate}, {"status", name_of(Status::kStarted)}}.dump());
}

void Results::finish(const std::string& key, std::size_t candidate, const Outcome& outcome) {
  Json json{{"kernel", key}, {"candidate", candidate}, {"status", name_of(outcome.status)}};
  if (!outcome.times.empty()) json["times"] = outcome.times;
  if (!outcome.message.empty()) json["message"] = outcome.message;
  Outcome& kept = outcomes_[{key, candidate}];
  const int starts = kept.starts;
  kept = outcome;
  kept.starts = starts;
  append(json.dump());
}

void Results::settle(const std::string& key) {
  settled_.insert(key);
  append(Json{{"settled", key}}.dump());
}

std::size_t Results::finished() const {
  std::size_t count = 0;
  for (const auto& [place, outcome] : outcomes_) count += outcome.status != Status::kStarted;
  return count;
}

std::size_t Results::count(Status status) const {
  std::size_t found = 0;
  for (const auto& [place, outcome] : outcomes_) found += outcome.status == status;
  return found;
}

void Results::append(const std::string& line) {
  const std::string text = line + "\n";
  if (write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    fail(AOTBUILD_RUNTIME_ERROR, path_, ": cannot be written: ", std::strerror(errno));
  }
}

}  // namespace aotbuild::tune
