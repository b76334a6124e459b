// A strided view of up to four dimensions, outermost first: what every operation of this room
// takes. A view made while planning has an address that is never read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace seesaw::baselines {

// Numbers as in seesaw_dtype and SEESAW_BASELINE_UINT8.
enum class DType : int32_t { kFloat32 = 1, kBFloat16 = 2, kFloat16 = 3, kInt32 = 4, kUInt8 = 100 };

constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kBFloat16:
    case DType::kFloat16:
      return 2;
    case DType::kUInt8:
      return 1;
  }
  return 0;
}

using Dims = std::array<int64_t, 4>;

struct View {
  void* data = nullptr;  // nullptr: absent
  DType dtype = DType::kFloat32;
  Dims shape{1, 1, 1, 1};
  Dims stride{0, 0, 0, 0};  // elements; 0 repeats a dimension

  bool present() const { return data != nullptr; }

  int64_t elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }

  int64_t bytes() const { return elements() * size_of(dtype); }

  // Indices [begin, end) of one dimension.
  View slice(size_t dim, int64_t begin, int64_t end) const {
    View part = *this;
    part.data = static_cast<char*>(data) + begin * stride[dim] * size_of(dtype);
    part.shape[dim] = end - begin;
    return part;
  }

  // The same memory with dimensions in another order: result's dimension i is this one's order[i].
  View permute(std::array<size_t, 4> order) const {
    View other = *this;
    for (size_t i = 0; i < 4; ++i) {
      other.shape[i] = shape[order[i]];
      other.stride[i] = stride[order[i]];
    }
    return other;
  }

  // The last two dimensions exchanged.
  View transposed() const { return permute({0, 1, 3, 2}); }
};

// A contiguous view.
inline View packed(void* data, DType dtype, Dims shape) {
  View view{data, dtype, shape, {}};
  int64_t stride = 1;
  for (size_t i = 4; i-- > 0;) {
    view.stride[i] = stride;
    stride *= shape[i];
  }
  return view;
}

// [B, 1, N, C D] seen as [B, C, N, D]: columns in C groups of D, each group a matrix of its own.
inline View split_columns(const View& view, int64_t groups) {
  View heads = view;
  heads.shape = {view.shape[0], groups, view.shape[2], view.shape[3] / groups};
  heads.stride = {view.stride[0], heads.shape[3] * view.stride[3], view.stride[2], view.stride[3]};
  return heads;
}

// Whether the rows of [B, 1, N, C] lie at equal distances, over sequences too.
inline bool rows_follow(const View& view) {
  return view.shape[1] == 1 && (view.shape[0] == 1 || view.shape[2] == 1 ||
                                view.stride[0] == view.shape[2] * view.stride[2]);
}

// [B, 1, N, C] seen as [1, 1, B N, C]. The rows follow.
inline View merge_rows(const View& view) {
  View rows = view;
  rows.shape = {1, 1, view.shape[0] * view.shape[2], view.shape[3]};
  rows.stride[2] = view.shape[2] == 1 ? view.stride[0] : view.stride[2];
  return rows;
}

}  // namespace seesaw::baselines
