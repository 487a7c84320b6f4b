// Two static models of one namespace and two shared models in one program: each gives the outputs of its twin.
#include <cstdint>
#include <cstdio>
#include <first.hpp>
#include <grouped_linears.hpp>
#include <second.hpp>
#include <tied_weights.hpp>
#include <vector>

#include "values.hpp"

int main() {
  const std::vector<std::int64_t> ids = {4, 0, 9};
  const aotbuild::TensorView<const std::int64_t, 2> ids_view(ids.data(), {1, 3});
  std::vector<float> x(2 * 5 * 16);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  const aotbuild::TensorView<const float, 3> x_view(x.data(), {2, 5, 16});

  const app::First first;
  const app::Second second;
  const TiedWeights tied_weights;
  const GroupedLinears grouped_linears;
  const bool same_first = values(first.run({ids_view}).output) == values(tied_weights.run({ids_view}).output);
  const bool same_second = values(second.run({x_view}).output_0) == values(grouped_linears.run({x_view}).output_0);
  std::printf("%s %s\n", same_first ? "same" : "different", same_second ? "same" : "different");
}
