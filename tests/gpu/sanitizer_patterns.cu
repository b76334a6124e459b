// Minimal kernels whose synchronisation is right by the PTX ISA, in the patterns that the Hopper
// kernel uses: what compute-sanitizer reports on them is a limit of the tool, not a finding.
// `seesaw_sanitizer_patterns N` runs pattern N; docs/notebook/0011 and 0054 have what came out.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

namespace {

constexpr int kThreads = 384;  // two consumer warpgroups and a producer warpgroup
constexpr int kConsumers = 256;

__device__ void named_sync(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
__device__ void named_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// 0: two warpgroups of three meet at a named barrier, from two places in the code, and read what
// the other wrote before it.
__global__ void two_places(float* out) {
  __shared__ float value[kConsumers];
  const int t = static_cast<int>(threadIdx.x);
  if (t < 128) {
    value[t] = 1.0F;
    named_sync(1, kConsumers);
    out[t] = value[t + 128];
  } else if (t < kConsumers) {
    value[t] = 2.0F;
    named_sync(1, kConsumers);
    out[t] = value[t - 128] * 2.0F;
  }
}

// 1: one warpgroup arrives and goes on, the other waits: the barrier orders the write before it.
__global__ void arrive_and_sync(float* out) {
  __shared__ float value[128];
  const int t = static_cast<int>(threadIdx.x);
  if (t < 128) {
    value[t] = 3.0F;
    named_arrive(2, kConsumers);
  } else if (t < kConsumers) {
    named_sync(2, kConsumers);
    out[t] = value[t - 128];
  }
}

__device__ void wait_for_phase(unsigned barrier, unsigned parity) {
  unsigned done = 0;
  while (done == 0) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
  }
}
__device__ void arrive_for_warp(unsigned barrier) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
  }
}

// 2: 16-byte asynchronous copies that complete on an mbarrier, read by another warpgroup that
// waited for its phase.
__global__ void copy_and_mbarrier(const float4* in, float* out) {
  __shared__ alignas(16) float4 staged[128];
  __shared__ alignas(8) unsigned long long barrier;
  const int t = static_cast<int>(threadIdx.x);
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(&barrier));
  if (t == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 128;" ::"r"(address));
  }
  __syncthreads();
  if (t >= kConsumers) {
    const int i = t - kConsumers;
    const auto to = static_cast<unsigned>(__cvta_generic_to_shared(&staged[i]));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + i) : "memory");
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(address) : "memory");
  } else {
    wait_for_phase(address, 0);
    out[t] = staged[t % 128].x;
  }
}

__device__ void raise_registers(bool producer) {
  if (producer) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
  }
}

// 3: two warpgroups hand a value there and another back, round after round: arrive on one barrier,
// wait on the other. The one array is written by left and read by right, the other the reverse, and
// each round's writes come after the last round's reads by the barrier between them.
// 4: the same with registers redistributed, and by one lane of four for all four, as rows are.
template <bool kAsRows>
__global__ void __launch_bounds__(kThreads, 1) there_and_back(float* out) {
  __shared__ float there[128];
  __shared__ float back[128];
  constexpr int kRounds = 6;
  const int t = static_cast<int>(threadIdx.x);
  if (kAsRows) raise_registers(t >= kConsumers);
  const int slot = kAsRows ? t % 128 / 4 : t % 128;
  const bool writes = !kAsRows || t % 4 == 0;
  float sum = 0.0F;
  if (t < 128) {
    for (int round = 0; round < kRounds; ++round) {
      if (writes) there[slot] = static_cast<float>(round);
      named_arrive(3, kConsumers);
      named_sync(4, kConsumers);
      sum += back[slot];
    }
  } else if (t < kConsumers) {
    for (int round = 0; round < kRounds; ++round) {
      named_sync(3, kConsumers);
      sum += there[slot];
      if (writes) back[slot] = sum;
      named_arrive(4, kConsumers);
    }
  }
  out[t] = sum;
}

// 5: two warpgroups meet at one barrier from two places, round after round, and read what the other
// wrote; two sets of values take turns, so that a set is written again two rounds later.
__global__ void meet_in_rounds(float* out) {
  __shared__ float value[2][kConsumers];
  const int t = static_cast<int>(threadIdx.x);
  float sum = 0.0F;
  if (t < 128) {
    for (int round = 0; round < 6; ++round) {
      value[round % 2][t] = static_cast<float>(round);
      named_sync(5, kConsumers);
      sum += value[round % 2][t + 128];
    }
  } else if (t < kConsumers) {
    for (int round = 0; round < 6; ++round) {
      value[round % 2][t] = static_cast<float>(-round);
      named_sync(5, kConsumers);
      sum += value[round % 2][t - 128];
    }
  }
  out[t] = sum;
}

// 6: rounds as in 3, then a meeting as in 5 but at one place: how a piece's row sums are handed
// over after its tiles.
__global__ void rounds_then_meet(float* out) {
  __shared__ float value[2][kConsumers];
  const int t = static_cast<int>(threadIdx.x);
  if (t >= kConsumers) return;
  float sum = 0.0F;
  for (int piece = 0; piece < 4; ++piece) {
    for (int round = 0; round < 3; ++round) {
      if (t < 128) {
        named_arrive(3, kConsumers);
        named_sync(4, kConsumers);
      } else {
        named_sync(3, kConsumers);
        named_arrive(4, kConsumers);
      }
    }
    value[piece % 2][t] = static_cast<float>(piece);
    named_sync(5, kConsumers);
    sum += value[piece % 2][(t + 128) % kConsumers];
  }
  out[t] = sum;
}

// Rows that a warpgroup of four warps copies for others, round after round.
struct Rows {
  float4* staged;
  unsigned full, empty;  // mbarriers: arrivals of four warps
};

__device__ Rows start_rows(float4* staged, unsigned long long* barriers) {
  const auto full = static_cast<unsigned>(__cvta_generic_to_shared(&barriers[0]));
  const auto empty = static_cast<unsigned>(__cvta_generic_to_shared(&barriers[1]));
  if (threadIdx.x == 0) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 4;" ::"r"(full));
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 4;" ::"r"(empty));
  }
  __syncthreads();
  return {staged, full, empty};
}

__device__ void copy_row(const Rows& rows, const float4* in, int row, unsigned round) {
  wait_for_phase(rows.empty, (round & 1) ^ 1);
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(rows.staged + row));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + row) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  arrive_for_warp(rows.full);
}

// 7: a warpgroup copies rows, two read them; one of the readers tells the other by a named barrier,
// and that one alone tells the copier that the rows may be overwritten. So Q's rotary box goes
// round.
__global__ void released_for_another(const float4* in, float* out) {
  __shared__ alignas(16) float4 staged[128];
  __shared__ alignas(8) unsigned long long barriers[2];  // full, empty: arrivals of four warps
  const int t = static_cast<int>(threadIdx.x);
  const Rows rows = start_rows(staged, barriers);
  float sum = 0.0F;
  for (unsigned round = 0; round < 4; ++round) {
    if (t >= kConsumers) {
      copy_row(rows, in, t - kConsumers, round);
    } else {
      wait_for_phase(rows.full, round & 1);
      sum += staged[t % 128].x;
      if (t >= 128) {
        named_arrive(6, kConsumers);
      } else {
        named_sync(6, kConsumers);
        arrive_for_warp(rows.empty);
      }
    }
  }
  out[t] = sum;
}

// 8: 3, 6 and 7 together, the whole order of a piece: rows are copied, read and released, values go
// there and back tile by tile, sums are exchanged at the end.
__global__ void whole_piece(const float4* in, float* out) {
  __shared__ alignas(16) float4 staged[128];
  __shared__ alignas(8) unsigned long long barriers[2];
  __shared__ float there[128];
  __shared__ float back[128];
  __shared__ float value[2][kConsumers];
  const int t = static_cast<int>(threadIdx.x);
  const Rows rows = start_rows(staged, barriers);
  float sum = 0.0F;
  for (unsigned piece = 0; piece < 4; ++piece) {
    if (t >= kConsumers) {
      copy_row(rows, in, t - kConsumers, piece);
      continue;
    }
    wait_for_phase(rows.full, piece & 1);
    sum += staged[t % 128].x;
    for (int tile = 0; tile < 3; ++tile) {
      if (t < 128) {
        there[t] = sum;
        named_arrive(3, kConsumers);
        named_sync(4, kConsumers);
        sum += back[t];
      } else {
        named_sync(3, kConsumers);
        sum += there[t - 128];
        back[t - 128] = sum;
        named_arrive(4, kConsumers);
      }
    }
    if (t < 128) arrive_for_warp(rows.empty);
    value[piece % 2][t] = sum;
    named_sync(5, kConsumers);
    sum += value[piece % 2][(t + 128) % kConsumers];
  }
  out[t] = sum;
}

}  // namespace

int main(int argc, char** argv) {
  const int pattern = argc > 1 ? std::atoi(argv[1]) : 0;
  float* out = nullptr;
  float4* in = nullptr;
  cudaMalloc(&out, kThreads * sizeof(float));
  cudaMalloc(&in, 128 * sizeof(float4));
  cudaMemset(in, 0, 128 * sizeof(float4));
  if (pattern == 0) {
    two_places<<<1, kThreads>>>(out);
  } else if (pattern == 1) {
    arrive_and_sync<<<1, kThreads>>>(out);
  } else if (pattern == 3) {
    there_and_back<false><<<1, kThreads>>>(out);
  } else if (pattern == 4) {
    there_and_back<true><<<1, kThreads>>>(out);
  } else if (pattern == 5) {
    meet_in_rounds<<<1, kThreads>>>(out);
  } else if (pattern == 6) {
    rounds_then_meet<<<1, kThreads>>>(out);
  } else if (pattern == 7) {
    released_for_another<<<1, kThreads>>>(in, out);
  } else if (pattern == 8) {
    whole_piece<<<1, kThreads>>>(in, out);
  } else {
    copy_and_mbarrier<<<1, kThreads>>>(in, out);
  }
  const cudaError_t error = cudaDeviceSynchronize();
  std::printf("pattern %d: %s\n", pattern, cudaGetErrorString(error));
  return error == cudaSuccess ? 0 : 1;
}
