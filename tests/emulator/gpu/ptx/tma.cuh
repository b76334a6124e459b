// The emulator's side of src/gpu/ptx/tma.cuh.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

namespace seesaw::ptx {

inline void prefetch_tensor_map(const CUtensorMap*) {}

inline constexpr uint64_t kEvictFirst = 0;
inline constexpr uint64_t kEvictNormal = 1;

struct BoxAt {
  int32_t c0, c1, c2, c3, c4;
};

// The hardware swizzles addresses: bits 4 to 6 are exchanged with bits 7 to 9.
constexpr uint32_t swizzled(uint32_t address) { return address ^ ((address >> 3) & 0x70U); }

// One row of a box, up to 128 bytes: what lies outside the tensor arrives as zeros.
inline void emulated_box_row(uint32_t destination, const CUtensorMap& map, const int64_t (&at)[5]) {
  bool inside = true;
  const char* row = map.data;
  for (int d = 1; d < 5; ++d) {
    inside = inside && at[d] >= 0 && at[d] < map.shape[d];
    row += at[d] * map.stride_bytes[d];
  }
  constexpr int64_t kElements = 8;  // of 16 bytes, which the swizzle keeps together
  for (int64_t c = 0; c < map.box[0]; c += kElements) {
    uint16_t chunk[kElements] = {};
    for (int64_t e = 0; e < kElements; ++e) {
      const int64_t column = at[0] + c + e;
      if (inside && column >= 0 && column < map.shape[0]) {
        std::memcpy(&chunk[e], row + column * 2, sizeof(chunk[e]));
      }
    }
    const uint32_t to = swizzled(destination + static_cast<uint32_t>(c) * 2);
    std::memcpy(emulator::shared_at(to, sizeof(chunk)), chunk, sizeof(chunk));
  }
}

inline void emulated_box(uint32_t destination, const CUtensorMap& map, const BoxAt& at) {
  for (int i4 = 0; i4 < map.box[4]; ++i4) {
    for (int i3 = 0; i3 < map.box[3]; ++i3) {
      for (int i2 = 0; i2 < map.box[2]; ++i2) {
        for (int i1 = 0; i1 < map.box[1]; ++i1) {
          emulated_box_row(destination, map,
                           {at.c0, at.c1 + i1, at.c2 + i2, at.c3 + i3, at.c4 + i4});
          destination += static_cast<uint32_t>(map.box[0]) * 2;
        }
      }
    }
  }
}

template <uint64_t kCachePolicy>
void copy_box(uint32_t destination, const CUtensorMap* map, uint32_t barrier, const BoxAt& at) {
  if (destination % 128 != 0) emulator::fault("a box at no multiple of 128 bytes");
  const int elements = map->box[0] * map->box[1] * map->box[2] * map->box[3] * map->box[4];
  emulator::copy_asynchronously(barrier, elements * 2,
                                [=, map = *map] { emulated_box(destination, map, at); });
}
template <uint64_t kCachePolicy>
void prefetch_box(const CUtensorMap*, const BoxAt&) {}

}  // namespace seesaw::ptx
