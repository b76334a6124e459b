// AMX's tiles, twice: the instructions, and the same arithmetic in plain C++ for machines without
// them. A tile is 16 rows of 64 bytes; there are eight, numbered at compile time as the
// instructions want it. Part of tile_microkernel.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "cpu/lanes.hpp"
#include "cpu/microkernel.hpp"

namespace seesaw::cpu {
namespace {

constexpr int kTileRows = 16;
constexpr int kTileRowBytes = 64;

#if defined(__x86_64__)
// In assembly of our own: compilers' intrinsics take tile numbers as literals only, which no
// template has, and GCC's do not say that they read and write memory.
struct AmxTiles {
  template <int kTile>
  [[gnu::always_inline]] static inline void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  [[gnu::always_inline]] static inline void load(const void* first, int64_t row_bytes) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
                 :
                 : "r"(first), "r"(row_bytes), "i"(kTile)
                 : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] static inline void store(void* first, int64_t row_bytes) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                 :
                 : "r"(first), "r"(row_bytes), "i"(kTile)
                 : "memory");
  }
  // c[m][n] += sum over k of a[m][k] * b[k][n], pairs of bfloat16.
  template <int kC, int kA, int kB>
  [[gnu::always_inline]] static inline void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }

  // Keeps a vector from being fused into what uses it. (__builtin_assoc_barrier takes it apart, GCC
  // 12.)
  [[gnu::always_inline]] static inline void keep(Floats* value) { asm("" : "+v"(*value)); }

  // The calling thread's configuration is the program's: it comes back as it was. What its tiles
  // hold does not; by the calling convention no tile outlives a call.
  static void enter(SavedState* saved) {
    asm volatile("sttilecfg %0" : "=m"(saved->bytes));
    SavedState ours{};
    constexpr int kPalette = 1, kColumnBytes = 16, kRows = 48;  // offsets in the configuration
    ours.bytes[0] = kPalette;
    for (int tile = 0; tile < 8; ++tile) {
      ours.bytes[kColumnBytes + 2 * tile] = kTileRowBytes;
      ours.bytes[kRows + tile] = kTileRows;
    }
    asm volatile("ldtilecfg %0" : : "m"(ours.bytes) : "memory");
  }
  static void leave(const SavedState& saved) {
    asm volatile("ldtilecfg %0" : : "m"(saved.bytes) : "memory");
  }
};
#endif

struct EmulatedTiles {
  using Tile = std::array<std::array<uint32_t, 16>, kTileRows>;

  static Tile& tile(int number) {
    static thread_local std::array<Tile, 8> tiles;
    return tiles[static_cast<size_t>(number)];
  }

  template <int kTile>
  static void zero() {
    tile(kTile) = {};
  }
  template <int kTile>
  static void load(const void* first, int64_t row_bytes) {
    for (int row = 0; row < kTileRows; ++row) {
      std::memcpy(tile(kTile)[static_cast<size_t>(row)].data(),
                  static_cast<const char*>(first) + row * row_bytes, kTileRowBytes);
    }
  }
  template <int kTile>
  static void store(void* first, int64_t row_bytes) {
    for (int row = 0; row < kTileRows; ++row) {
      std::memcpy(static_cast<char*>(first) + row * row_bytes,
                  tile(kTile)[static_cast<size_t>(row)].data(), kTileRowBytes);
    }
  }
  template <int kC, int kA, int kB>
  static void dot() {
    dot(tile(kC), tile(kA), tile(kB));
  }
  static void keep(Floats*) {}  // this region has no fused instructions
  static void enter(SavedState*) {}
  static void leave(const SavedState&) {}

 private:
  // TDPBF16PS as Intel's manual has it: even and odd elements of the pairs are summed apart, each
  // by a fused multiply-add; their sum is added to c. Denormal numbers count as zero, coming and
  // going. A product of two bfloat16 that float can hold is exact in float, so that its sum is
  // rounded once whether it is fused or not.
  static void dot(Tile& c, const Tile& a, const Tile& b) {
    for (size_t m = 0; m < kTileRows; ++m) {
      Floats even{}, odd{};
      for (size_t k = 0; k < kTileRows; ++k) {
        const auto pairs = cpu::load<Words>(b[k].data());
        const Words pair = Words{} + a[m][k];
        even = flushed(even + element(pair << 16) * element(pairs << 16));
        odd = flushed(odd + element(pair & 0xFFFF0000U) * element(pairs & 0xFFFF0000U));
      }
      const Floats old = flushed(cpu::load<Floats>(c[m].data()));
      cpu::store(flushed(old + flushed(even + odd)), c[m].data());
    }
  }

  static Floats flushed(Floats value) {
    const Words bits = reinterpret_cast<Words>(value);
    return reinterpret_cast<Floats>((bits & 0x7FFFFFFFU) < 0x00800000U ? bits & 0x80000000U : bits);
  }
  static Floats element(Words bits) { return flushed(reinterpret_cast<Floats>(bits)); }
};

}  // namespace
}  // namespace seesaw::cpu
