// The products of gpu/ptx/wgmma.cuh: the 16 rows of one warp, 16 steps along k. B is gathered into
// floats once, so that the inner loop is plain.
#include "gpu/ptx/wgmma.cuh"

#include "gpu/ptx/tma.cuh"

namespace seesaw::ptx {
namespace {

constexpr int kRows = 16;   // of a warp
constexpr int kDepth = 16;  // of an instruction
constexpr int kChunk = 8;   // elements of 16 bytes

uint32_t start_of(uint32_t descriptor) { return (descriptor & 0x3FFFU) << 4; }

template <typename T>
float value_of(uint16_t bits) {
  T element;
  element.bits = bits;
  return static_cast<float>(element);
}

// Eight neighbouring elements.
template <typename T>
void read_plain_chunk(uint32_t at, float* values) {
  emulator::check_published(at, 16);
  uint16_t bits[kChunk];
  std::memcpy(bits, emulator::shared_at(at, sizeof(bits)), sizeof(bits));
  for (int i = 0; i < kChunk; ++i) values[i] = value_of<T>(bits[i]);
}

template <typename T>
void read_chunk(uint32_t address, float* values) {
  read_plain_chunk<T>(swizzled(address), values);
}

// Rows of 128 bytes along k: row `row`, 16 elements.
template <typename T>
void read_k_major(uint32_t descriptor, int row, float (&values)[kDepth]) {
  const uint32_t address = start_of(descriptor) + static_cast<uint32_t>(row) * 128;
  read_chunk<T>(address, values);
  read_chunk<T>(address + 16, values + kChunk);
}

// The same in the layout of descriptor_plain().
template <typename T>
void read_plain(uint32_t descriptor, int row, float (&values)[kDepth]) {
  const uint32_t k_stride = (descriptor >> 16) << 4;
  const uint32_t address =
      start_of(descriptor) + static_cast<uint32_t>(row / 8 * 256 + row % 8 * 16);
  read_plain_chunk<T>(address, values);
  read_plain_chunk<T>(address + k_stride, values + kChunk);
}

template <typename T, int N>
struct Operands {
  float a[kRows][kDepth];
  float b[kDepth][N];

  // Up to N = 64: B as [N][k]. Beyond, values: as [k][N], in tiles of 64 columns.
  void read_b(uint32_t descriptor) {
    if constexpr (N <= 64) {
      for (int n = 0; n < N; ++n) {
        float column[kDepth];
        read_k_major<T>(descriptor, n, column);
        for (int k = 0; k < kDepth; ++k) b[k][n] = column[k];
      }
    } else {
      const uint32_t tile_stride = (descriptor >> 16) << 4;
      for (int k = 0; k < kDepth; ++k) {
        for (int n = 0; n < N; n += kChunk) {
          read_chunk<T>(start_of(descriptor) + static_cast<uint32_t>(n / 64) * tile_stride +
                            static_cast<uint32_t>(k * 128 + n % 64 * 2),
                        &b[k][n]);
        }
      }
    }
  }

  // As [k][64], of which the warp has its 16 rows.
  void read_transposed_a(uint32_t descriptor, unsigned warp) {
    for (int k = 0; k < kDepth; ++k) {
      float column[kRows];
      const uint32_t address =
          start_of(descriptor) + static_cast<uint32_t>(k) * 128 + warp * kRows * 2;
      read_chunk<T>(address, column);
      read_chunk<T>(address + 16, column + kChunk);
      for (int row = 0; row < kRows; ++row) a[row][k] = column[row];
    }
  }

  // From the lanes' fragments: lane 4 (row % 8) + k % 8 / 2 has both rows' pairs.
  void read_a(const emulator::WarpProduct& product) {
    for (int row = 0; row < kRows; ++row) {
      for (int k = 0; k < kDepth; ++k) {
        const uint32_t pair = product.lanes[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2];
        a[row][k] = value_of<T>(static_cast<uint16_t>(pair >> (k % 2 * 16)));
      }
    }
  }

  void multiply(const emulator::WarpProduct& product) const {
    for (int row = 0; row < kRows; ++row) {
      float sums[N];
      const auto accumulator = [&](int n) -> float& {
        return product.lanes[row % 8 * 4 + n % 8 / 2].accumulators[n / 8 * 4 + row / 8 * 2 + n % 2];
      };
      for (int n = 0; n < N; ++n) sums[n] = product.accumulate ? accumulator(n) : 0.0F;
      for (int k = 0; k < kDepth; ++k) {
        for (int n = 0; n < N; ++n) sums[n] += a[row][k] * b[k][n];
      }
      for (int n = 0; n < N; ++n) accumulator(n) = sums[n];
    }
  }
};

}  // namespace

template <typename T, int N>
void Wgmma<T, N>::run_ss(const emulator::WarpProduct& product) {
  Operands<T, N> operands;
  for (int row = 0; row < kRows; ++row) {
    read_k_major<T>(product.a, static_cast<int>(product.warp) * kRows + row, operands.a[row]);
  }
  operands.read_b(product.b);
  operands.multiply(product);
}

template <typename T, int N>
void Wgmma<T, N>::run_plain_ss(const emulator::WarpProduct& product) {
  Operands<T, N> operands;
  for (int row = 0; row < kRows; ++row) {
    read_plain<T>(product.a, static_cast<int>(product.warp) * kRows + row, operands.a[row]);
  }
  operands.read_b(product.b);
  operands.multiply(product);
}

template <typename T, int N>
void Wgmma<T, N>::run_transposed_ss(const emulator::WarpProduct& product) {
  Operands<T, N> operands;
  operands.read_transposed_a(product.a, product.warp);
  operands.read_b(product.b);
  operands.multiply(product);
}

template <typename T, int N>
void Wgmma<T, N>::run_rs(const emulator::WarpProduct& product) {
  Operands<T, N> operands;
  operands.read_a(product);
  operands.read_b(product.b);
  operands.multiply(product);
}

template struct Wgmma<__nv_bfloat16, 16>;
template struct Wgmma<__nv_bfloat16, 32>;
template struct Wgmma<__nv_bfloat16, 64>;
template struct Wgmma<__nv_bfloat16, 128>;
template struct Wgmma<__nv_bfloat16, 256>;
template struct Wgmma<__half, 16>;
template struct Wgmma<__half, 32>;
template struct Wgmma<__half, 64>;
template struct Wgmma<__half, 128>;
template struct Wgmma<__half, 256>;

}  // namespace seesaw::ptx
