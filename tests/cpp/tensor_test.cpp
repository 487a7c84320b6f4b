// The public tensor types: views, results, 16-bit floats, DLPack.
#include "aotbuild/tensor.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "aotbuild/any_tensor.hpp"
#include "aotbuild/dlpack.hpp"

namespace {

using aotbuild::Tensor;
using aotbuild::TensorView;

TEST(TensorView, IsContiguousByDefault) {
  std::vector<float> data(6);
  std::iota(data.begin(), data.end(), 0.0F);
  const std::size_t rows = 2;
  const int columns = 3;
  const TensorView<const float, 2> view = {data.data(), {rows, columns}};
  EXPECT_EQ(view.stride(0), 3);
  EXPECT_EQ(view.stride(1), 1);
  EXPECT_EQ(view(1, 2), 5.0F);
  EXPECT_EQ(view[1][0], 3.0F);
  EXPECT_EQ(view.numel(), 6);
  EXPECT_EQ(std::accumulate(view.begin(), view.end(), 0.0F), 15.0F);
}

TEST(TensorView, FollowsItsStrides) {
  const std::array<int, 6> data = {0, 1, 2, 3, 4, 5};
  const TensorView<const int, 2> transposed(data.data(), {3, 2}, {1, 3});
  EXPECT_EQ(transposed(2, 1), 5);
  EXPECT_EQ(transposed[2][1], 5);
  EXPECT_FALSE(transposed.is_contiguous());
  EXPECT_THROW(transposed.begin(), aotbuild::Error);
}

TEST(TensorView, StridesOfSizeOneAndOfNothingDoNotMatter) {
  const float value = 0;
  EXPECT_TRUE((TensorView<const float, 2>(&value, {1, 1}, {7, 9}).is_contiguous()));
  EXPECT_TRUE((TensorView<const float, 2>(&value, {0, 4}, {7, 9}).is_contiguous()));
}

TEST(TensorView, ComesFromContainersAndScalars) {
  std::vector<std::int64_t> ids = {1, 2, 3};
  const TensorView<const std::int64_t, 1> from_vector = ids;
  const TensorView<std::int64_t, 1> writable = ids;
  writable[1] = 7;
  EXPECT_EQ(from_vector[1], 7);
  const double scalar = 2.5;
  const TensorView<const double, 0> from_scalar = scalar;
  EXPECT_EQ(from_scalar(), 2.5);
}

TEST(TensorView, MayBecomeReadOnlyButNotTheReverse) {
  static_assert(std::is_convertible_v<TensorView<float, 2>, TensorView<const float, 2>>);
  static_assert(!std::is_convertible_v<TensorView<const float, 2>, TensorView<float, 2>>);
  static_assert(!std::is_convertible_v<TensorView<float, 1>, TensorView<float, 2>>);
  static_assert(!std::is_convertible_v<TensorView<double, 2>, TensorView<float, 2>>);
  static_assert(!std::is_convertible_v<std::vector<double>&, TensorView<float, 1>>);
}

TEST(TensorView, DescribesItselfToTheCAbi) {
  std::array<std::int16_t, 4> data = {};
  const TensorView<const std::int16_t, 2> view(data.data(), {2, 2});
  const aotbuild_tensor tensor = view.c_tensor();
  EXPECT_EQ(tensor.data, data.data());
  EXPECT_EQ(tensor.ndim, 2);
  EXPECT_EQ(tensor.dtype.code, AOTBUILD_INT);
  EXPECT_EQ(tensor.dtype.bits, 16);
  EXPECT_EQ(tensor.shape[1], 2);
  EXPECT_EQ(tensor.device.type, AOTBUILD_CPU);
}

TEST(Tensor, KeepsItsMemoryAndMoves) {
  auto memory = std::make_shared<std::vector<float>>(4, 1.0F);
  const std::weak_ptr<std::vector<float>> watch = memory;
  Tensor<float, 1> tensor(TensorView<float, 1>(*memory), memory);
  memory.reset();
  Tensor<float, 1> moved = std::move(tensor);
  EXPECT_EQ(moved[3], 1.0F);
  EXPECT_FALSE(watch.expired());
  moved = Tensor<float, 1>();
  EXPECT_TRUE(watch.expired());
  static_assert(!std::is_copy_constructible_v<Tensor<float, 1>>);
}

TEST(Float16, RoundTripsEveryValue) {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto value = aotbuild::float16::from_bits(static_cast<std::uint16_t>(bits));
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(aotbuild::float16(wide))));
    } else {
      EXPECT_EQ(aotbuild::float16(wide).bits, bits);
    }
  }
}

TEST(Float16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(aotbuild::float16(2049.0F)), 2048.0F);
  EXPECT_EQ(static_cast<float>(aotbuild::float16(2051.0F)), 2052.0F);
  EXPECT_EQ(static_cast<float>(aotbuild::float16(65519.0F)), 65504.0F);
  EXPECT_EQ(static_cast<float>(aotbuild::float16(65520.0F)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(static_cast<float>(aotbuild::float16(0x1p-25F)), 0.0F);
  EXPECT_EQ(static_cast<float>(aotbuild::float16(0x1.8p-24F)), 0x1p-23F);
}

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(static_cast<float>(aotbuild::bfloat16(1.0F)), 1.0F);
  EXPECT_EQ(static_cast<float>(aotbuild::bfloat16(257.0F)), 256.0F);
  EXPECT_EQ(static_cast<float>(aotbuild::bfloat16(259.0F)), 260.0F);
  EXPECT_TRUE(std::isnan(static_cast<float>(aotbuild::bfloat16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Float8, RoundsToNearestEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  using Narrow = aotbuild::float8_e4m3fn;
  EXPECT_EQ(static_cast<float>(Narrow(17.0F)), 16.0F);
  EXPECT_EQ(static_cast<float>(Narrow(19.0F)), 20.0F);
  EXPECT_EQ(static_cast<float>(Narrow(-500.0F)), -448.0F);
  EXPECT_EQ(static_cast<float>(Narrow(infinity)), 448.0F);
  EXPECT_EQ(static_cast<float>(Narrow(0x1.8p-9F)), 0x1p-8F);
  EXPECT_EQ(Narrow(-0.0F).bits, 0x80);
  EXPECT_TRUE(std::isnan(static_cast<float>(Narrow::from_bits(0xFF))));
  using Wide = aotbuild::float8_e5m2;
  EXPECT_EQ(static_cast<float>(Wide(9.0F)), 8.0F);
  EXPECT_EQ(static_cast<float>(Wide(11.0F)), 12.0F);
  EXPECT_EQ(static_cast<float>(Wide(61440.0F)), infinity);
  EXPECT_EQ(static_cast<float>(Wide(0x1p-17F)), 0.0F);
  EXPECT_TRUE(std::isnan(static_cast<float>(Wide(std::numeric_limits<float>::quiet_NaN()))));
  for (int bits = 0; bits < 256; ++bits) {
    const auto byte = static_cast<std::uint8_t>(bits);
    const auto narrow = static_cast<float>(Narrow::from_bits(byte));
    const auto wide = static_cast<float>(Wide::from_bits(byte));
    EXPECT_TRUE(std::isnan(narrow) || Narrow(narrow).bits == byte) << bits;
    EXPECT_TRUE(std::isnan(wide) || Wide(wide).bits == byte) << bits;
  }
}

// The types of dlpack.h 1.0, as a program that uses it has them.
enum DLDeviceType { kDLCPU = 1 };
struct DLDevice {
  DLDeviceType device_type;
  std::int32_t device_id;
};
struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};

static_assert(sizeof(DLTensor) == sizeof(aotbuild_tensor));
static_assert(offsetof(DLTensor, dtype) == offsetof(aotbuild_tensor, dtype));
static_assert(offsetof(DLTensor, byte_offset) == offsetof(aotbuild_tensor, byte_offset));

TEST(DLPack, ViewsATensorWithoutStridesAndWithAnOffset) {
  std::array<float, 5> data = {9, 0, 1, 2, 3};
  std::array<std::int64_t, 2> shape = {2, 2};
  const DLTensor tensor = {data.data(), {kDLCPU, 0}, 2, {2, 32, 1}, shape.data(), nullptr, sizeof(float)};
  const auto view = aotbuild::from_dlpack<const float, 2>(tensor);
  EXPECT_EQ(view(1, 0), 2.0F);
  EXPECT_EQ(view.device().type, AOTBUILD_CPU);
}

TEST(DLPack, RefusesAnotherElementTypeOrRank) {
  std::array<float, 4> data = {};
  std::array<std::int64_t, 1> shape = {4};
  const DLTensor tensor = {data.data(), {kDLCPU, 0}, 1, {2, 32, 1}, shape.data(), nullptr, 0};
  try {
    aotbuild::from_dlpack<const std::int64_t, 2>(tensor);
    FAIL() << "accepted";
  } catch (const aotbuild::Error& error) {
    EXPECT_EQ(error.status(), AOTBUILD_INVALID_ARGUMENT);
    EXPECT_STREQ(error.what(), "from_dlpack: expected int64 of rank 2, got float32 of rank 1");
  }
}

TEST(DLPack, HandsOwnershipOver) {
  auto memory = std::make_shared<std::vector<float>>(4, 1.0F);
  const std::weak_ptr<std::vector<float>> watch = memory;
  Tensor<float, 2> tensor(TensorView<float, 2>(memory->data(), {2, 2}), memory);
  memory.reset();
  DLManagedTensor* const managed = aotbuild::to_dlpack<DLManagedTensor>(std::move(tensor));
  EXPECT_EQ(managed->dl_tensor.ndim, 2);
  EXPECT_EQ(managed->dl_tensor.strides[0], 2);
  EXPECT_EQ(static_cast<float*>(managed->dl_tensor.data)[3], 1.0F);
  EXPECT_FALSE(watch.expired());
  managed->deleter(managed);
  EXPECT_TRUE(watch.expired());
}

std::string names_of(const aotbuild::NamedTensors& tensors) {
  std::string names;
  for (const aotbuild::NamedTensor& tensor : tensors) names += std::string(tensor.name.c_str()) + " ";
  return names;
}

TEST(NamedTensors, AreMadeOfMapsAndLists) {
  std::vector<float> data(6);
  const TensorView<float, 2> view(data.data(), {2, 3});
  const std::map<std::string, aotbuild::AnyTensorView> map = {{"a", view}, {"b", view}};
  EXPECT_EQ(names_of(map), "a b ");
  aotbuild::NamedTensors tensors = {{"w", view}, {"b", view}, {"w", TensorView<float, 1>(data)}};
  EXPECT_EQ(names_of(tensors), "w b ");
  EXPECT_EQ(tensors.begin()->tensor.c_tensor().ndim, 1);
  for (int i = 0; i < 20; ++i) tensors[std::to_string(i)] = view;
  EXPECT_EQ(tensors.size(), 22U);
  const auto c_tensors = tensors.c_tensors();
  EXPECT_STREQ(c_tensors[21].name, "19");
  EXPECT_EQ(c_tensors[21].struct_size, sizeof(aotbuild_named_tensor));
  EXPECT_EQ(c_tensors[21].tensor.strides[0], 3);
}

TEST(NamedTensors, CopiesAreApart) {
  std::vector<float> data(6);
  aotbuild::NamedTensors tensors = {{"a", TensorView<float, 1>(data)}};
  const aotbuild::NamedTensors copy = tensors;
  tensors["b"] = tensors["a"] = TensorView<float, 2>(data.data(), {2, 3});
  EXPECT_EQ(names_of(copy), "a ");
  EXPECT_EQ(copy.begin()->tensor.c_tensor().ndim, 1);
  const aotbuild::NamedTensors moved = std::move(tensors);
  EXPECT_EQ(names_of(moved), "a b ");
}

TEST(Expected, HoldsAValueOrAStatus) {
  using Pointer = aotbuild::Expected<std::shared_ptr<int>>;
  const auto shared = std::make_shared<int>(3);
  Pointer value(shared);
  Pointer copy = value;
  EXPECT_EQ(shared.use_count(), 3);
  copy = aotbuild::Status(AOTBUILD_INVALID_ARGUMENT, std::string("no") + "thing");
  EXPECT_EQ(shared.use_count(), 2);
  EXPECT_FALSE(copy.ok());
  EXPECT_STREQ(copy.status().message().c_str(), "nothing");
  copy = std::move(value);
  EXPECT_EQ(**copy, 3);
  EXPECT_EQ(aotbuild::Expected<std::unique_ptr<int>>(std::make_unique<int>(4)).status().message(), "");
}

// What std::mdspan of C++23 has, for compilers without it.
namespace md {

constexpr std::size_t kDynamic = static_cast<std::size_t>(-1);

template <std::size_t... Sizes>
struct Extents {
  using index_type = int;
  static constexpr std::size_t rank() { return sizeof...(Sizes); }
  static constexpr std::size_t static_extent(std::size_t i) { return std::array{Sizes...}[i]; }
  explicit Extents(const std::array<int, sizeof...(Sizes)>& sizes) : values(sizes) {}
  std::array<int, sizeof...(Sizes)> values;
};
template <typename MdExtents>
struct RightMapping {
  explicit RightMapping(const MdExtents& sizes) : extents(sizes) {}
  int stride(std::size_t i) const {
    int result = 1;
    for (std::size_t k = MdExtents::rank(); --k > i;) result *= extents.values[k];
    return result;
  }
  MdExtents extents;
};
template <typename MdExtents>
struct StridedMapping {
  StridedMapping(const MdExtents& sizes, const std::array<int, MdExtents::rank()>& steps)
      : extents(sizes), strides(steps) {}
  int stride(std::size_t i) const { return strides[i]; }
  MdExtents extents;
  std::array<int, MdExtents::rank()> strides;
};
template <typename T, typename MdExtents, template <typename> class Mapping = RightMapping>
struct Span {
  using element_type = T;
  using extents_type = MdExtents;
  using mapping_type = Mapping<MdExtents>;
  using data_handle_type = T*;
  static constexpr std::size_t rank() { return MdExtents::rank(); }
  Span(T* elements, const mapping_type& layout) : data(elements), mapping(layout) {}
  T* data_handle() const { return data; }
  int extent(std::size_t i) const { return mapping.extents.values[i]; }
  int stride(std::size_t i) const { return mapping.stride(i); }
  T* data;
  mapping_type mapping;
};

}  // namespace md

using Matrix = md::Extents<md::kDynamic, md::kDynamic>;

TEST(Mdspan, ConvertsToAViewAndBack) {
  std::vector<float> data(12);
  const TensorView<float, 2> columns(data.data(), {3, 2},
                                     {1, 4});  // of a matrix [4, 3], the first two rows, transposed
  const md::Span<const float, Matrix, md::StridedMapping> strided = columns;
  EXPECT_EQ(strided.extent(0), 3);
  EXPECT_EQ(strided.stride(1), 4);
  const TensorView<const float, 2> back = strided;
  EXPECT_EQ(back.data(), data.data());
  EXPECT_EQ(back.sizes(), columns.sizes());
  EXPECT_EQ(back.strides(), columns.strides());
  Tensor<float, 2> tensor(TensorView<float, 2>(data.data(), {4, 3}), nullptr);
  const md::Span<float, md::Extents<md::kDynamic, 3>> rows = tensor;
  EXPECT_EQ(rows.extent(0), 4);
  EXPECT_EQ((TensorView<float, 2>(rows).strides()), tensor.strides());
}

TEST(Mdspan, RefusesAnotherLayoutAndOtherSizes) {
  std::vector<float> data(12);
  const TensorView<float, 2> columns(data.data(), {3, 2}, {1, 4});
  using Rows = md::Span<float, Matrix>;
  using Square = md::Span<float, md::Extents<3, 3>, md::StridedMapping>;
  EXPECT_THROW((void)static_cast<Rows>(columns), aotbuild::Error);
  EXPECT_THROW((void)static_cast<Square>(columns), aotbuild::Error);
}

TEST(Mdspan, KeepsConstAndTheRank) {
  using Writable = TensorView<float, 2>;
  using Read = TensorView<const float, 2>;
  static_assert(std::is_convertible_v<Writable, md::Span<const float, Matrix>>);
  static_assert(!std::is_convertible_v<Read, md::Span<float, Matrix>>);
  static_assert(!std::is_convertible_v<md::Span<const float, Matrix>, Writable>);
  static_assert(!std::is_convertible_v<md::Span<float, md::Extents<md::kDynamic>>, Writable>);
  static_assert(!std::is_convertible_v<const Tensor<float, 2>&, md::Span<float, Matrix>>);
  static_assert(!std::is_convertible_v<Writable, md::Span<int, Matrix>>);
}

}  // namespace
