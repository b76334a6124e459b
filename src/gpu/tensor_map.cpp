#include "gpu/tensor_map.hpp"

#include <cstddef>
#include <string>

#include "base/message.hpp"
#include "gpu/device.hpp"

namespace seesaw::gpu {
namespace {

constexpr char kWhere[] = "tensor map";

Status encode(const BoxMap& wanted, const char* what, CUtensorMap* map) {
  const Driver* functions = driver();
  if (functions == nullptr) {
    return device_error(four_part_message(kWhere, "a driver without cuTensorMapEncodeTiled",
                                          "drivers of CUDA 12.0 on", "Update the driver."));
  }
  cuuint64_t shape[kBoxRank];
  cuuint64_t stride_bytes[kBoxRank - 1];
  for (int i = 0; i < kBoxRank; ++i) {
    shape[i] = wanted.shape[i];
  }
  for (int i = 0; i + 1 < kBoxRank; ++i) {
    stride_bytes[i] = static_cast<cuuint64_t>(wanted.stride[i] * size_of(wanted.dtype));
  }
  constexpr cuuint32_t kElementStride[kBoxRank] = {1, 1, 1, 1, 1};
  const CUtensorMapDataType type = wanted.dtype == DType::kBFloat16
                                       ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                       : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const CUresult result = functions->tensor_map_encode_tiled(
      map, type, kBoxRank, const_cast<void*>(wanted.data), shape, stride_bytes, wanted.box,
      kElementStride, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS) {
    return {};
  }
  return device_error(four_part_message(
      kWhere,
      fmt::format("cuTensorMapEncodeTiled returned {} for {}", static_cast<int>(result), what), "0",
      "Check its address and strides: multiples of 16 bytes, strides below 2^40 bytes."));
}

// A direct-mapped cache: a map has one place, and the last one that was put there stays. 61 layers
// ask for two maps each, and for those of a few query buffers, so few of them share a place; one
// that does costs what every call cost before there was a cache.
//
// The key is all that a map depends on: two equal keys have equal maps, whatever memory it was.
struct Entry {
  BoxMap key;
  bool filled;
  CUtensorMap map;
};
constexpr size_t kLog2Entries = 9;
thread_local Entry entries[size_t{1} << kLog2Entries];

// Caches differ in their address, the maps of one in the boxes of a copy; both are spread by a
// product with 2^64 / golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
size_t place_of(const BoxMap& key) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15U;
  const uint64_t boxes = (uint64_t{key.box[2]} << 48) + (uint64_t{key.box[3]} << 56);
  return ((reinterpret_cast<uint64_t>(key.data) / 16) ^ boxes) * kGolden >> (64 - kLog2Entries);
}

}  // namespace

Status make_tensor_map(const BoxMap& wanted, const char* what, CUtensorMap* map) {
  Entry& entry = entries[place_of(wanted)];
  if (!entry.filled || entry.key != wanted) {
    entry.filled = false;  // until the new map is there
    SEESAW_RETURN_IF_ERROR(encode(wanted, what, &entry.map));
    entry.key = wanted;
    entry.filled = true;
  }
  *map = entry.map;
  return {};
}

}  // namespace seesaw::gpu
