// The results of a run: a file of JSON lines, appended one by one, so that whatever ends the program loses none.
#ifndef AOTBUILD_TOOLS_TUNE_RESULTS_HPP_
#define AOTBUILD_TOOLS_TUNE_RESULTS_HPP_

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bundle.hpp"

namespace aotbuild::tune {

// What happened to a candidate.
enum class Status {
  kStarted,  // nothing yet: the process ended meanwhile
  kMeasured,
  kSlow,    // measured until it was clear that another is faster
  kWrong,   // its outputs are not those of the first candidate
  kFailed,  // it does not load, launch or end
};

struct Outcome {
  Status status = Status::kStarted;
  int starts = 0;             // how often its measurement began
  std::vector<double> times;  // microseconds a launch, of each case
  std::string message;        // why it is wrong or failed
};

// The machine that a run is on.
struct Machine {
  std::string device;  // "NVIDIA H100 80GB HBM3"
  int capability = 0;
  int driver = 0;  // 12040 for CUDA 12.4
};

class Results {
 public:
  // An open file; also of results whose constructor throws, nobody is to wait for it.
  class File {
   public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    operator int() const { return descriptor_; }

   private:
    int descriptor_;
  };
  using Place = std::pair<std::string, std::size_t>;  // a kernel's key and the number of a candidate

  // Reads what an earlier run has left; an incomplete last line is no result. Throws Error for a file that belongs to
  // another bundle or cannot be written.
  Results(std::string path, const Bundle& bundle);
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;

  // Results of two kinds of devices do not mix. Throws Error.
  void begin(const Machine& machine);

  const Outcome* find(const std::string& key, std::size_t candidate) const;
  void start(const std::string& key, std::size_t candidate);
  void finish(const std::string& key, std::size_t candidate, const Outcome& outcome);
  std::size_t finished() const;            // candidates with an outcome
  std::size_t count(Status status) const;  // candidates with this one
  // Whether the fastest candidates of a kernel were compared once more.
  bool is_settled(const std::string& key) const { return settled_.count(key) != 0; }
  void settle(const std::string& key);

 private:
  void wait_for_others() const;
  void append(const std::string& line);

  const std::string path_;
  const std::string bundle_id_;
  std::string device_;
  std::map<Place, Outcome> outcomes_;
  std::set<std::string> settled_;
  File file_;
};

}  // namespace aotbuild::tune

#endif  // AOTBUILD_TOOLS_TUNE_RESULTS_HPP_
