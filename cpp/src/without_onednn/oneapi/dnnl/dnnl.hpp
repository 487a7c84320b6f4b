// Stands in for oneDNN's header where the runtime is built without oneDNN (AOTBUILD_ONEDNN=OFF): the part of its C++
// interface that the runtime uses, with no implementation of any primitive. Every description is empty, which is how
// oneDNN says so, and the runtime takes its own kernels, or plain loops: right, and slow.
#ifndef AOTBUILD_SRC_WITHOUT_ONEDNN_DNNL_HPP_
#define AOTBUILD_SRC_WITHOUT_ONEDNN_DNNL_HPP_
#define AOTBUILD_WITHOUT_ONEDNN

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#define DNNL_MEMORY_NONE nullptr

enum {
  DNNL_ARG_SRC,
  DNNL_ARG_DST,
  DNNL_ARG_WEIGHTS,
  DNNL_ARG_BIAS,
  DNNL_ARG_SCRATCHPAD,
  DNNL_ARG_FROM = DNNL_ARG_SRC,
  DNNL_ARG_TO = DNNL_ARG_DST
};

// Objects of oneDNN's C interface: there are none.
using dnnl_memory_t = void*;
using dnnl_primitive_t = void*;
using dnnl_stream_t = void*;

struct dnnl_exec_arg_t {
  int arg;
  dnnl_memory_t memory;
};

enum dnnl_status_t { dnnl_success, dnnl_unimplemented };

inline dnnl_status_t dnnl_primitive_execute(dnnl_primitive_t, dnnl_stream_t, int, const dnnl_exec_arg_t*) {
  return dnnl_unimplemented;
}

namespace dnnl {

enum class algorithm {
  convolution_direct,
  deconvolution_direct,
  eltwise_gelu_erf,
  eltwise_gelu_tanh,
  eltwise_hardswish,
  eltwise_linear,
  eltwise_logistic,
  eltwise_relu,
  eltwise_swish,
  eltwise_tanh
};
// As in oneDNN, bits; none of them is set here.
enum class cpu_isa : unsigned { isa_default = 0, avx2_vnni = 1, avx512_core_vnni = 2 };
inline cpu_isa get_effective_cpu_isa() { return cpu_isa::isa_default; }

enum class prop_kind { forward_inference };
enum class scratchpad_mode { user };

struct engine {
  enum class kind { cpu };
  engine(kind, std::size_t) {}
};

struct stream {
  explicit stream(const engine&) {}
  void wait() {}
  dnnl_stream_t get() const { return nullptr; }
};

struct post_ops {
  void append_eltwise(algorithm, float, float) {}
  void append_sum(float) {}
};

struct primitive_attr {
  void set_scratchpad_mode(scratchpad_mode) {}
  void set_post_ops(const post_ops&) {}
};

struct memory {
  using dim = std::int64_t;
  using dims = std::vector<dim>;
  enum class data_type { undef, f32, bf16, f16, s8, s32 };
  enum class format_tag { any };

  class desc {
   public:
    desc() = default;
    desc(dims sizes, data_type type, const dims&) : sizes_(std::move(sizes)), type_(type) {}
    desc(dims sizes, data_type type, format_tag) : sizes_(std::move(sizes)), type_(type) {}
    dims get_dims() const { return sizes_; }
    data_type get_data_type() const { return type_; }
    std::size_t get_size() const { return 0; }
    desc submemory_desc(const dims&, const dims&, bool) const { return {}; }
    explicit operator bool() const { return false; }
    bool operator==(const desc& other) const { return sizes_ == other.sizes_ && type_ == other.type_; }

   private:
    dims sizes_;
    data_type type_ = data_type::undef;
  };

  memory(const desc&, const engine&, void*) {}
  void set_data_handle(void*) const {}
  dnnl_memory_t get() const { return nullptr; }
};

struct primitive {
  template <typename... Arguments>
  void execute(const stream&, const Arguments&...) const {}
  dnnl_primitive_t get() const { return nullptr; }
  explicit operator bool() const { return false; }
};

// One kind of primitive after another; the numbers make different types of them.
template <int>
struct unimplemented : primitive {
  struct primitive_desc {
    template <typename... Arguments>
    primitive_desc(const Arguments&...) {}
    memory::desc src_desc() const { return {}; }
    memory::desc weights_desc() const { return {}; }
    memory::desc dst_desc() const { return {}; }
    memory::desc scratchpad_desc() const { return {}; }
    explicit operator bool() const { return false; }
  };
  template <typename... Arguments>
  explicit unimplemented(const Arguments&...) {}
};
using matmul = unimplemented<0>;
using convolution_forward = unimplemented<1>;
using deconvolution_forward = unimplemented<2>;
using reorder = unimplemented<3>;

}  // namespace dnnl

#endif  // AOTBUILD_SRC_WITHOUT_ONEDNN_DNNL_HPP_
