#include "ladder/tensor_map.hpp"

#include "gpu/device.hpp"
#include "ladder/swizzle.hpp"

namespace seesaw::ladder {

Status make_tile_map(const Bf16* base, int64_t rows, int tiles_per_box, CUtensorMap* map) {
  const gpu::Driver* driver = gpu::driver();
  if (driver == nullptr || driver->tensor_map_encode_tiled == nullptr) {
    return device_error(
        "ladder: no driver function cuTensorMapEncodeTiled, allowed: a driver for CUDA 12 or "
        "later. "
        "Run this rung on a machine with a Hopper GPU.");
  }
  const cuuint64_t row_bytes = kQkColumns * sizeof(Bf16);
  const cuuint64_t dims[5] = {kTileColumns, static_cast<cuuint64_t>(rows), kColumnTiles, 1, 1};
  const cuuint64_t strides[4] = {row_bytes, kTileColumns * sizeof(Bf16), row_bytes,
                                 row_bytes};  // from dim 1
  const cuuint32_t box[5] = {kTileColumns, kTileRows, static_cast<cuuint32_t>(tiles_per_box), 1, 1};
  const cuuint32_t steps[5] = {1, 1, 1, 1, 1};
  const CUresult result = driver->tensor_map_encode_tiled(
      map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 5, const_cast<Bf16*>(base), dims, strides, box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    return device_error("ladder: cuTensorMapEncodeTiled gave error " + std::to_string(result) +
                        ", allowed: 0. This is a defect of the ladder.");
  }
  return {};
}

}  // namespace seesaw::ladder
