// A session of a model on a CUDA device: calls that queue the model's kernels, or replay them as a graph.
#ifndef AOTBUILD_SRC_CUDA_MODEL_HPP_
#define AOTBUILD_SRC_CUDA_MODEL_HPP_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/call.hpp"
#include "cuda/memory.hpp"
#include "cuda/program.hpp"
#include "cuda/workspace.hpp"
#include "cuda/workspace_pool.hpp"
#include "model/call.hpp"
#include "model/device_model.hpp"

namespace aotbuild::detail::cuda {

class CudaModel final : public DeviceModel, public MemoryReclaimer {
 public:
  // The first session of the program, or a further one.
  CudaModel(std::shared_ptr<CudaProgram> program, int cuda_graphs);
  ~CudaModel() override;
  CudaModel(const CudaModel&) = delete;
  CudaModel& operator=(const CudaModel&) = delete;

  aotbuild_device device() const noexcept override { return {AOTBUILD_CUDA, device_->index()}; }
  std::unique_ptr<DeviceModel> new_session() override;
  std::shared_ptr<void> upload(const std::vector<UploadRegion>& regions, std::size_t nbytes) override;
  std::shared_ptr<void> make_state(const std::vector<UploadRegion>& regions, std::size_t nbytes) override;
  bool reads_weight(std::size_t index) const noexcept override { return program_->reads_weight(index); }
  std::size_t derived_count() const noexcept override { return program_->derived_count(); }
  std::shared_ptr<void> derive(const WeightSet& weights, Storage* storages, Tensor* tensors) override;
  void run(const CheckedCall& call) override;
  void manual_seed(std::uint64_t seed) override { seeds_.manual_seed(seed); }
  void statistics(aotbuild_statistics* statistics) const override;
  void capture_graph(const CheckedCall& call) override;
  void synchronize(void* stream) override;

  // Gives the workspaces that no call uses back to the driver.
  void reclaim() noexcept override { workspaces_.reclaim(); }

 private:
  // Why no graph of one method is captured.
  struct Obstacle {
    std::atomic<int> failed_captures{0};
    std::string text;                         // written once
    std::atomic<const char*> known{nullptr};  // no graph is captured any more
  };

  const CudaMethod& method_of(const CheckedCall& call) const { return *program_->methods()[call.method]; }
  // What `method` derives from the weights and no method before it has, in memory of its own.
  std::shared_ptr<void> derive_for(const CudaMethod& method, const WeightSet& weights, Storage* storages,
                                   Tensor* tensors);
  void check_memory(const char* name, const char* kind, const TensorChecker& checker,
                    const aotbuild_tensor& tensor) const;
  void check_stream(Stream stream) const;

  void run_in(CudaWorkspace& workspace, Stream stream, const CheckedCall& call);
  // The graph for the call's sizes, captured now if they come for the second time; null: launch the kernels. With
  // `failure` it is captured at the first time, or that says what is wrong.
  const ShapeEntry* graph_for(CudaWorkspace& workspace, const CheckedCall& call, std::string* failure = nullptr);
  // Whether all tensors of the call lie where those of the workspace's last call did, on the device.
  bool memory_has_stayed(CudaWorkspace& workspace, const CheckedCall& call) const;
  // What is wrong, if anything.
  std::string capture(CudaWorkspace& workspace, const CheckedCall& call, ShapeEntry* entry);
  void record(CudaCall& cuda_call, CudaWorkspace& workspace, const CheckedCall& call, ShapeEntry* entry);
  void run_eagerly(CudaCall& cuda_call, CudaWorkspace& workspace, Stream stream, const CheckedCall& call);
  void replay(CudaCall& cuda_call, CudaWorkspace& workspace, Stream stream, const CheckedCall& call,
              const ShapeEntry& entry);
  // Copies the inputs that lie in host memory to pinned memory, one after the other.
  char* stage_inputs(CudaWorkspace& workspace, const CheckedCall& call) const;
  bool is_staged(const CheckedCall& call, std::size_t i) const;
  void set_obstacle(std::size_t method, const std::string& reason);

  const std::shared_ptr<CudaProgram> program_;
  const ModelSpec& spec_;
  const std::shared_ptr<CudaDevice> device_;
  const int cuda_graphs_;  // of the options
  const std::size_t graph_limit_;
  SeedGenerator seeds_;

  WorkspacePool workspaces_;  // serial with state: the session's mutation mutex is held

  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> captures_{0};
  std::atomic<std::uint64_t> replays_{0};
  std::mutex obstacle_mutex_;
  std::deque<Obstacle> obstacles_;  // of the methods
};

}  // namespace aotbuild::detail::cuda

#endif  // AOTBUILD_SRC_CUDA_MODEL_HPP_
