// A model of two ranks, each a process of its own: their results, one that is killed, one that is late, and a new start
// after each. With fewer than two GPUs both are on device 0, which NCCL takes for that of two machines.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "aotbuild/testing.hpp"
#include "ranks.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using aotbuild::testing::GoldenFile;
using Model = gpu::ranks::Model;

constexpr int kTimeout = 4000;  // milliseconds
constexpr int kTurns = 20;
constexpr int kTurnOfLoss = 5;  // by then every size is replayed from a graph
constexpr int kSkipped = 77;

enum class Loss { kNone, kKilled, kLate };

aotbuild_communicator_id read_id(const std::string& file) {
  aotbuild_communicator_id id{};
  while (!std::ifstream(file, std::ios::binary).read(id.bytes, sizeof id.bytes)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return id;
}

void write_id(const aotbuild_communicator_id& id, const std::string& file) {
  std::ofstream(file + ".new", std::ios::binary).write(id.bytes, sizeof id.bytes);
  std::rename((file + ".new").c_str(), file.c_str());
}

class Rank {
 public:
  Rank(int number, const std::string& golden, Loss loss) : number_(number), golden_(golden), loss_(loss) {}

  // Whether all results are right, and all errors are those that the loss of a rank gives.
  bool run(const std::string& id_file) {
    aotbuild::Options options;
    options.device = {AOTBUILD_CUDA, std::getenv("RANKS_ON_ONE_GPU") != nullptr ? 0 : number_};
    options.rank = number_;
    options.collective_timeout = kTimeout;
    if (number_ == 0) write_id(Model::make_communicator_id(), id_file);
    const aotbuild_communicator_id id = read_id(id_file);
    options.communicator_id = &id;
    const Model model(options);
    auto begin = Clock::now();
    try {
      for (turn_ = 0; turn_ < kTurns; ++turn_) {
        lose();
        begin = Clock::now();
        for (const char* name : {"example", "quarter_min", "quarter_max"}) check(model, name);
      }
    } catch (const aotbuild::Error& error) {
      const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
      std::cout << "rank " << number_ << ": an error after " << waited << " ms: " << error.what() << std::endl;
      return is_right_ && loss_ != Loss::kNone && turn_ == kTurnOfLoss && waited < 2 * kTimeout;
    }
    const aotbuild_statistics statistics = model.statistics();
    std::cout << "rank " << number_ << ": " << statistics.calls << " calls, " << statistics.graph_replays << " replayed"
              << std::endl;
    return is_right_ && loss_ == Loss::kNone && statistics.graph_replays > 0;
  }

 private:
  void lose() const {
    if (number_ != 1 || turn_ != kTurnOfLoss) return;
    if (loss_ == Loss::kKilled) std::raise(SIGKILL);
    if (loss_ == Loss::kLate) std::this_thread::sleep_for(std::chrono::milliseconds(2 * kTimeout));
  }

  void check(const Model& model, const std::string& name) {
    const auto outputs = model.run({golden_.get<const float, 2>(name + "/input/x")});
    const std::string mine = number_ == 0 ? name : name + "/rank" + std::to_string(number_);
    expect(mine + "/output/reduced", outputs.reduced.view());
    expect(mine + "/output/mean", outputs.mean.view());
    expect(mine + "/output/gathered", outputs.gathered.view());
    expect(mine + "/output/scattered", outputs.scattered.view());
    expect(mine + "/output/exchanged", outputs.exchanged.view());
    expect(mine + "/output/broadcast", outputs.broadcast.view());
  }

  void expect(const std::string& name, const aotbuild::TensorView<const float, 2>& actual) {
    const aotbuild::testing::Tolerance allowed = golden_.tolerance(name);
    const auto found =
        aotbuild::testing::compare<float, 2>(actual, golden_.get<const float, 2>(name), allowed.rtol, allowed.atol);
    if (found.close) return;
    is_right_ = false;
    std::cout << "rank " << number_ << ": " << name << ": " << found.message << std::endl;
  }

  const int number_;
  const GoldenFile golden_;
  const Loss loss_;
  int turn_ = 0;
  bool is_right_ = true;
};

pid_t start(const char* program, int rank, const std::string& id_file, int loss) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("NCCL_HOSTID", rank == 0 ? "first" : "second", 0);
  setenv("NCCL_SOCKET_IFNAME", "lo", 0);
  execl(program, program, std::to_string(rank).c_str(), id_file.c_str(), std::to_string(loss).c_str(), nullptr);
  std::_Exit(1);
}

// The exit status of a rank; -1: it was killed.
int status_of(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int run_both(const char* program, const char* what, Loss loss) {
  std::cout << what << std::endl;
  std::string folder = "/tmp/ranks_XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const pid_t children[] = {start(program, 0, folder + "/id", static_cast<int>(loss)),
                            start(program, 1, folder + "/id", static_cast<int>(loss))};
  int statuses[2];
  statuses[0] = status_of(children[0]);
  if (statuses[0] == kSkipped) kill(children[1], SIGKILL);
  statuses[1] = status_of(children[1]);
  std::remove((folder + "/id").c_str());
  rmdir(folder.c_str());
  if (statuses[0] != 0) return statuses[0];
  return statuses[1] == (loss == Loss::kKilled ? -1 : 0) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc == 4) {
    const std::string golden = aotbuild::testing::find_golden_file(1, argv, "ranks.golden.safetensors");
    Rank rank(std::atoi(argv[1]), golden, static_cast<Loss>(std::atoi(argv[3])));
    return rank.run(argv[2]) ? 0 : 1;
  }
  const std::filesystem::path gpus = "/proc/driver/nvidia/gpus";
  std::error_code missing;
  const auto count = std::distance(std::filesystem::directory_iterator(gpus, missing), {});
  if (count < 2) setenv("RANKS_ON_ONE_GPU", "1", 1);
  const auto run = [&](const char* what, Loss loss) { return run_both(argv[0], what, loss); };
  int status = run("two ranks", Loss::kNone);
  if (status == 0) status = run("one is killed", Loss::kKilled);
  if (status == 0) status = run("one is late", Loss::kLate);
  if (status == 0) status = run("a new start", Loss::kNone);
  std::cout << (status == 0 ? "passed" : status == kSkipped ? "skipped" : "failed") << std::endl;
  return status;
} catch (const aotbuild::Error& error) {
  std::cout << error.what() << std::endl;
  return error.status() == AOTBUILD_UNSUPPORTED_HARDWARE ? kSkipped : 1;
}
