// The emulator's side of src/gpu/ptx.cuh: what rungs 8 to 10 use of it. Addresses are
// offsets into the emulated shared memory. Descriptors have the bits that the hardware reads.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "ladder/arithmetic.hpp"
#include "ladder/runtime.cuh"
#include "ladder/swizzle.hpp"

// A map of rows of 576 columns; see ladder/tensor_map.hpp.
struct CUtensorMap {
  const seesaw::ladder::Bf16* base = nullptr;
  int64_t rows = 0;
  int tiles_per_box = 0;
};

struct __nv_bfloat16 {
  uint16_t bits;
};

namespace seesaw::ptx {

inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) -
                               emulator::shared_memory());
}

template <typename T>
T opaque(T value) {
  return value;
}
template <int N>
void pin(float (&)[N]) {}
template <int kRegisters>
void raise_registers() {}
template <int kRegisters>
void lower_registers() {}

inline void barrier_sync(int id, int threads) {
  emulator::arrive_and_wait(emulator::named_barrier(static_cast<unsigned>(id)),
                            static_cast<unsigned>(threads));
}
inline void barrier_arrive(int id, int threads) {
  emulator::arrive(emulator::named_barrier(static_cast<unsigned>(id)),
                   static_cast<unsigned>(threads));
}

inline void mbarrier_init(uint32_t barrier, int arrivals) {
  emulator::mbarrier_init(barrier, arrivals);
}
inline void fence_mbarrier_init() {}
inline void mbarrier_arrive(uint32_t barrier) { emulator::mbarrier_arrive(barrier, 0); }
inline void mbarrier_arrive_expect(uint32_t barrier, int bytes) {
  emulator::mbarrier_arrive(barrier, bytes);
}
inline void mbarrier_wait(uint32_t barrier, uint32_t parity) {
  emulator::mbarrier_wait(barrier, parity);
}
inline void fence_async_proxy() {}

inline constexpr uint64_t kEvictNormal = 0;

struct BoxAt {
  int32_t c0, c1, c2, c3, c4;
};

template <uint64_t kCachePolicy>
void copy_box(uint32_t destination, const CUtensorMap* map, uint32_t barrier, const BoxAt& at) {
  if (at.c0 != 0 || at.c3 != 0 || at.c4 != 0 || destination % 1024 != 0) {
    throw std::runtime_error("emulator: copy_box: only whole, aligned tiles");
  }
  emulator::copy_asynchronously([=, box = *map] {
    using namespace ladder;
    for (int tile = 0; tile < box.tiles_per_box; ++tile) {
      for (int r = 0; r < kTileRows; ++r) {
        for (int c = 0; c < kTileColumns; ++c) {
          const int64_t row = int64_t{at.c1} + r;
          const bool inside = row >= 0 && row < box.rows && at.c2 + tile < kColumnTiles;
          const Bf16 value =
              inside ? box.base[row * kQkColumns + (at.c2 + tile) * kTileColumns + c] : Bf16{0};
          const auto offset =
              destination +
              static_cast<uint32_t>(tile * kTileBytes + swizzled_offset(r, c - c % 2) + c % 2 * 2);
          std::memcpy(emulator::shared_memory() + offset, &value, sizeof(value));
        }
      }
    }
    emulator::mbarrier_complete(barrier, box.tiles_per_box * kTileBytes);
  });
}

inline float exp2_approx(float x) { return std::exp2(x); }

template <typename T>
uint32_t pack(float low, float high) {
  return ladder::pack_bf16(low, high);
}

inline void wgmma_fence() {}
inline void wgmma_commit() { emulator::commit_products(); }
// A warp goes on together (.sync.aligned): when one lane is past the wait, all have their results.
template <int kPending>
void wgmma_wait() {
  emulator::wait_for_products(kPending);
  __syncwarp();
}

inline constexpr uint32_t kStepKMajor = 2;
inline constexpr uint32_t kStepMnMajor = 128;

inline uint32_t descriptor_k_major(uint32_t address) {
  return (1U << 16) | ((address & 0x3FFFFU) >> 4);
}
inline uint32_t descriptor_mn_major(uint32_t address, uint32_t tile_stride) {
  return ((tile_stride >> 4) << 16) | ((address & 0x3FFFFU) >> 4);
}

// The hardware swizzles addresses: bits 4 to 6 are exchanged with bits 7 to 9.
inline float at_swizzled(uint32_t address) {
  const uint32_t swizzled = address ^ ((address >> 3) & 0x70U);
  ladder::Bf16 value;
  std::memcpy(&value, emulator::shared_memory() + swizzled, sizeof(value));
  return ladder::to_float(value);
}

// Row `row`, step element k of a K-major operand: rows of 128 bytes.
inline float element_k_major(uint32_t descriptor, int row, int k) {
  const uint32_t start = (descriptor & 0x3FFFU) << 4;
  return at_swizzled(start + static_cast<uint32_t>(row * 128 + k * 2));
}
// Column n, step element k of an MN-major operand: rows of 128 bytes hold 64 columns of one k.
inline float element_mn_major(uint32_t descriptor, int n, int k) {
  const uint32_t start = (descriptor & 0x3FFFU) << 4;
  const uint32_t tile_stride = (descriptor >> 16) << 4;
  return at_swizzled(start + static_cast<uint32_t>(n / 64) * tile_stride +
                     static_cast<uint32_t>(k * 128 + n % 64 * 2));
}

// N = 64: B is K-major (scores); N = 256: B is MN-major (values), as in the real file.
template <typename T, int N>
struct Wgmma {
  static constexpr int kRegisters = N / 2;

  static void ss(float (&d)[kRegisters], uint32_t a, uint32_t b, bool accumulate) {
    const unsigned thread = threadIdx.x % 128;
    emulator::issue_product([&d, a, b, accumulate, thread] {
      multiply(d, b, accumulate, thread,
               [a](int row, int k) { return element_k_major(a, row, k); });
    });
  }

  // A's registers hold the thread's rows; those of other lanes come through an exchange at issue.
  static void rs(float (&d)[kRegisters], const uint32_t* a, uint32_t b, bool accumulate) {
    const unsigned thread = threadIdx.x % 128;
    float rows[2][16];
    const emulator::ExchangeView view = emulator::exchange(a, 4 * sizeof(uint32_t));
    for (int upper = 0; upper < 2; ++upper) {
      for (int k = 0; k < 16; ++k) {
        uint32_t pair;
        const size_t lane = thread % 32 / 4 * 4 + static_cast<size_t>(k % 8 / 2);
        std::memcpy(&pair,
                    view.bytes + lane * emulator::kExchangeBytes +
                        4 * static_cast<size_t>(upper + k / 8 * 2),
                    sizeof(pair));
        rows[upper][k] = k % 2 == 0 ? ladder::low_half(pair) : ladder::high_half(pair);
      }
    }
    emulator::issue_product([&d, rows, b, accumulate, thread] {
      multiply(d, b, accumulate, thread, [&rows](int row, int k) { return rows[row % 16 / 8][k]; });
    });
  }

 private:
  template <typename ElementOfA>
  static void multiply(float (&d)[kRegisters], uint32_t b, bool accumulate, unsigned thread,
                       const ElementOfA& element_of_a) {
    const int first_row = static_cast<int>(thread / 32 * 16 + thread % 32 / 4);
    for (int i = 0; i < kRegisters; ++i) {
      const int row = first_row + i % 4 / 2 * 8;
      const int column = i / 4 * 8 + static_cast<int>(thread % 4) * 2 + i % 2;
      float sum = accumulate ? d[i] : 0.0F;
      for (int k = 0; k < 16; ++k) {
        const float element_of_b =
            N == 64 ? element_k_major(b, column, k) : element_mn_major(b, column, k);
        sum += element_of_a(row, k) * element_of_b;
      }
      d[i] = sum;
    }
  }
};

}  // namespace seesaw::ptx
