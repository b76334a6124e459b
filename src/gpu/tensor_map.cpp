#include "gpu/tensor_map.hpp"

#include <cstddef>
#include <string>

#include "base/message.hpp"
#include "gpu/device.hpp"

namespace seesaw::gpu {
namespace {

constexpr char kWhere[] = "tensor map";

// Everything that a map depends on: two equal keys have equal maps, whatever memory it was.
struct Key {
  uint64_t address = 0;
  uint64_t shape[kBoxRank] = {};
  uint64_t stride_bytes[kBoxRank - 1] = {};
  uint32_t box[kBoxRank] = {};
  CUtensorMapDataType type = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;

  bool operator==(const Key&) const = default;
};

Key key_of(const BoxMap& wanted) {
  Key key;
  key.address = reinterpret_cast<uint64_t>(wanted.data);
  for (int i = 0; i < kBoxRank; ++i) {
    key.shape[i] = wanted.shape[i];
    key.box[i] = wanted.box[i];
  }
  for (int i = 0; i + 1 < kBoxRank; ++i) {
    key.stride_bytes[i] = static_cast<uint64_t>(wanted.stride[i] * size_of(wanted.dtype));
  }
  key.type = wanted.dtype == DType::kBFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                              : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  return key;
}

Status encode(const Key& key, const char* what, CUtensorMap* map) {
  const Driver* functions = driver();
  if (functions == nullptr) {
    return device_error(four_part_message(kWhere, "a driver without cuTensorMapEncodeTiled",
                                          "drivers of CUDA 12.0 on", "Update the driver."));
  }
  constexpr cuuint32_t kElementStride[kBoxRank] = {1, 1, 1, 1, 1};
  const CUresult result = functions->tensor_map_encode_tiled(
      map, key.type, kBoxRank, reinterpret_cast<void*>(key.address), key.shape, key.stride_bytes,
      key.box, kElementStride, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
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
struct Entry {
  Key key;
  bool filled = false;
  CUtensorMap map;
};
constexpr size_t kLog2Entries = 9;
thread_local Entry entries[size_t{1} << kLog2Entries];

// Caches differ in their address, the maps of one in their boxes; both are spread by a product with
// 2^64 / golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
size_t place_of(const Key& key) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15U;
  uint64_t mixed = key.address / 16;
  for (const uint32_t size : key.box) {
    mixed = (mixed + size) * kGolden;
  }
  return mixed >> (64 - kLog2Entries);
}

}  // namespace

Status make_tensor_map(const BoxMap& wanted, CUtensorMap* map) {
  const Key key = key_of(wanted);
  Entry& entry = entries[place_of(key)];
  if (!entry.filled || entry.key != key) {
    entry.filled = false;  // until the new map is there
    SEESAW_RETURN_IF_ERROR(encode(key, wanted.what, &entry.map));
    entry.key = key;
    entry.filled = true;
  }
  *map = entry.map;
  return {};
}

}  // namespace seesaw::gpu
