// Models on libtorch and models of the standalone runtime in one program: static ones, which share that runtime, and
// shared ones. Twins give the same outputs.
#include <cstdint>
#include <cstdio>
#include <decompositions.hpp>
#include <first.hpp>
#include <first_on_torch.hpp>
#include <kv_cache.hpp>
#include <kv_cache_on_torch.hpp>
#include <vector>

#include "values.hpp"

int main() {
  const std::vector<std::int64_t> ids = {4, 0, 9};
  const aotbuild::TensorView<const std::int64_t, 2> ids_view(ids.data(), {1, 3});
  const app::First first;
  const app::FirstOnTorch first_on_torch;
  const bool same = values(first.run({ids_view}).output) == values(first_on_torch.run({ids_view}).output);

  const std::vector<float> row = {1, 2, 3, 4};
  const aotbuild::TensorView<const float, 2> row_view(row.data(), {1, 4});
  KvCache cache;
  KvCacheOnTorch cache_on_torch;
  bool same_state = true;
  for (int call = 0; call < 3; ++call) {
    const auto expected = cache.run({row_view});
    const auto actual = cache_on_torch.run({row_view});
    same_state = same_state && values(expected.output_0) == values(actual.output_0);
    same_state = same_state && expected.output_1() == actual.output_1() && actual.output_1() == call + 1;
  }

  const std::vector<float> x(12, 0.5F);
  const Decompositions decompositions;
  const auto outputs = decompositions.run({{x.data(), {2, 6}}, {ids.data(), {3}}});
  std::printf("%s %s %d\n", same ? "same" : "different", same_state ? "same" : "different",
              static_cast<int>(outputs.unique.size(0)));
}
