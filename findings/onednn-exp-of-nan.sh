#!/usr/bin/env bash
# One would guess: the elementwise primitives of oneDNN give NaN for NaN, as their formulas and the C library do.
# True (oneDNN 3.2, onednn-devel-cpu-gomp 2023.2.0, x86-64, with AVX2 and AVX-512): eltwise_exp of NaN is +inf.
# eltwise_logistic, tanh, elu and soft_relu give NaN.
# Seen: exp(NaN) = inf; logistic, tanh, elu and soft_relu of NaN = nan.
# Who meets it: whoever fuses exp as a post-op or calls it alone, e.g. for a log-variance head or an unnormalised softmax:
# 1 / exp(x) of a broken value is then 0, a plausible number.
# What to do: test for NaN before exp, or compute it outside oneDNN where NaN must stay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onednn-devel-cpu-gomp==2023.2.0
cat >"$folder/exp.cpp" <<'EOF'
#include <cmath>
#include <cstdio>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

int main() {
  dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(cpu);
  const dnnl::memory::desc layout({32}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
  const auto of_nan = [&](dnnl::algorithm algorithm) {
    std::vector<float> x(32, NAN), y(32);
    dnnl::memory from(layout, cpu, x.data()), to(layout, cpu, y.data());
    const dnnl::eltwise_forward::primitive_desc made(cpu, dnnl::prop_kind::forward_inference, algorithm, layout, layout,
                                                     1.0F, 0.0F);
    dnnl::eltwise_forward(made).execute(stream, {{DNNL_ARG_SRC, from}, {DNNL_ARG_DST, to}});
    stream.wait();
    return y[0];
  };
  using dnnl::algorithm;
  const float exp = of_nan(algorithm::eltwise_exp);
  bool others_stay = true;
  for (auto each : {algorithm::eltwise_logistic, algorithm::eltwise_tanh, algorithm::eltwise_elu,
                    algorithm::eltwise_soft_relu}) {
    others_stay = others_stay && std::isnan(of_nan(each));
  }
  std::printf("oneDNN %d.%d: exp(NaN) = %g, logistic, tanh, elu and soft_relu of it %s\n", dnnl_version()->major,
              dnnl_version()->minor, static_cast<double>(exp), others_stay ? "nan" : "not all nan");
  return std::isinf(exp) && exp > 0 && others_stay ? 0 : 1;
}
EOF
g++ -std=c++17 -I"$folder/venv/include" "$folder/exp.cpp" -L"$folder/venv/lib" -ldnnl -Wl,-rpath,"$folder/venv/lib" \
  -o "$folder/exp"
"$folder/exp"
