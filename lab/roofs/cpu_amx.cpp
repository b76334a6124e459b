// The rate of AMX's bfloat16 tiles: from registers, and with every operand loaded from the first
// cache as a product of matrices loads them.
#include "lab/roofs/cpu_loops.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace seesaw::lab {
namespace {

// Tiles of 16 rows of 64 bytes; a product of two is 16 x 16 x 32 multiply-adds.
constexpr int64_t kTileBytes = 16 * 64;
constexpr double kFlopsPerProduct = 2.0 * 16 * 16 * 32;
constexpr int kPanels = 8;  // tiles of each operand: 32 KB in all

bool may_use_amx() {
  static const bool granted = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmxBf16) != 0 &&
           (edx & kAmxTile) != 0 && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return granted;
}

// All eight tiles whole and zero, to the end of the scope.
class Tiles {
 public:
  Tiles() {
    alignas(64) uint8_t configuration[64] = {1};  // the palette
    for (int tile = 0; tile < 8; ++tile) {
      configuration[16 + 2 * tile] = 64;
      configuration[48 + tile] = 16;
    }
    asm volatile("ldtilecfg %0" : : "m"(configuration) : "memory");
  }
  ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace

double run_amx_registers(int, int64_t steps) {
  if (!may_use_amx()) {
    return 0;
  }
  const Tiles tiles;
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile(
        "tdpbf16ps %tmm6, %tmm4, %tmm0\n\t"
        "tdpbf16ps %tmm7, %tmm4, %tmm1\n\t"
        "tdpbf16ps %tmm6, %tmm5, %tmm2\n\t"
        "tdpbf16ps %tmm7, %tmm5, %tmm3");
  }
  return static_cast<double>(steps) * 4 * kFlopsPerProduct;
}

double run_amx_first_cache(int, int64_t steps) {
  if (!may_use_amx()) {
    return 0;
  }
  alignas(64) static thread_local uint8_t operands[4][kPanels * kTileBytes];
  std::memset(operands, 0, sizeof(operands));
  const Tiles tiles;
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t place = step % kPanels * kTileBytes;
    asm volatile(
        "tileloadd (%0,%4,1), %%tmm4\n\t"
        "tileloadd (%1,%4,1), %%tmm6\n\t"
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
        "tileloadd (%2,%4,1), %%tmm7\n\t"
        "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
        "tileloadd (%3,%4,1), %%tmm5\n\t"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
        "tdpbf16ps %%tmm7, %%tmm5, %%tmm3"
        :
        : "r"(operands[0] + place), "r"(operands[1] + place), "r"(operands[2] + place),
          "r"(operands[3] + place), "r"(int64_t{64})
        : "memory");
  }
  return static_cast<double>(steps) * 4 * kFlopsPerProduct;
}

}  // namespace seesaw::lab

#else

namespace seesaw::lab {
double run_amx_registers(int, int64_t) { return 0; }
double run_amx_first_cache(int, int64_t) { return 0; }
}  // namespace seesaw::lab

#endif
