// The emulator's side of src/gpu/ptx/wgmma.cuh. Descriptors have the bits that the hardware reads;
// products are computed a warp at a time (wgmma.cpp).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace seesaw::ptx {

template <int N>
void pin(float (&)[N]) {}

inline void wgmma_fence() {}
inline void wgmma_commit() { emulator::commit_products(); }
template <int kPending>
void wgmma_wait() {
  emulator::wait_for_products(kPending);
}

inline constexpr uint32_t kStepKMajor = 2;
inline constexpr uint32_t kStepMnMajor = 128;

inline constexpr uint32_t kDescriptorHigh = 0x40000040U;
inline constexpr uint32_t kPlainHigh = 256 >> 4;
inline uint32_t descriptor_plain(uint32_t address) {
  return ((128U >> 4) << 16) | ((address & 0x3FFFFU) >> 4);
}
inline uint32_t descriptor_k_major(uint32_t address) {
  return (1U << 16) | ((address & 0x3FFFFU) >> 4);
}
inline uint32_t descriptor_mn_major(uint32_t address, uint32_t tile_stride) {
  return ((tile_stride >> 4) << 16) | ((address & 0x3FFFFU) >> 4);
}

enum class Major : int { kK = 0, kMn = 1 };

// N = 64: B is K-major (scores); N = 128 and 256: B is MN-major (values), as in the real file; N =
// 16 and 32: B is K-major, and A is what the caller says.
template <typename T, int N>
struct Wgmma {
  static constexpr int kRegisters = N / 2;

  template <Major kMajorOfA>
  static void ss(float (&d)[kRegisters], uint32_t a, uint32_t b, bool accumulate) {
    static_assert(N == 16 || N == 32);
    issue(d, a, nullptr, b, accumulate, kMajorOfA == Major::kK ? run_ss : run_transposed_ss);
  }

  template <uint32_t kHighA = kDescriptorHigh>
  static void ss(float (&d)[kRegisters], uint32_t a, uint32_t b, bool accumulate) {
    issue(d, a, nullptr, b, accumulate, kHighA == kDescriptorHigh ? run_ss : run_plain_ss);
  }
  static void rs(float (&d)[kRegisters], const uint32_t* a, uint32_t b, bool accumulate) {
    issue(d, 0, a, b, accumulate, run_rs);
  }

 private:
  static void run_ss(const emulator::WarpProduct& product);
  static void run_plain_ss(const emulator::WarpProduct& product);  // A without swizzle
  static void run_transposed_ss(const emulator::WarpProduct& product);
  static void run_rs(const emulator::WarpProduct& product);

  static void issue(float* d, uint32_t a, const uint32_t* fragments, uint32_t b, bool accumulate,
                    emulator::WarpProduct::Run run) {
    emulator::WarpProduct product;
    product.run = run;
    product.a = a;
    product.b = b;
    product.accumulate = accumulate;
    product.warp = threadIdx.x / 32 % 4;
    emulator::WarpProduct::Lane& lane = product.lanes[threadIdx.x % 32];
    lane.accumulators = d;
    if (fragments != nullptr) std::memcpy(lane.a, fragments, sizeof(lane.a));
    emulator::issue_product(product);
  }
};

}  // namespace seesaw::ptx
