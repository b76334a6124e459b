// The C++ face from outside: plans, schedules and runs one problem whose answer is known, and sees
// its mistakes as exceptions. The query is zero, so out is the mean of the values and lse the log
// of their number.
#include <seesaw/ops/dense_decode.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr int64_t kBatch = 3, kHeads = 5, kPageSize = 4, kMaxPages = 8;
constexpr int64_t kQueryWidth = 576, kValueWidth = 512;

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "cpp_consumer: not so: %s\n", what);
    std::exit(1);
  }
}

constexpr seesaw_dense_decode_problem kProblem{.q_dtype = SEESAW_FLOAT32,
                                               .batch = kBatch,
                                               .h_q = kHeads,
                                               .page_size = kPageSize,
                                               .max_pages_per_sequence = kMaxPages};

struct Case {
  std::vector<int32_t> seq_lens = {32, 0, 5};
  std::vector<int32_t> block_table = std::vector<int32_t>(kBatch * kMaxPages);
  std::vector<float> q = std::vector<float>(kBatch * kHeads * kQueryWidth, 0.0F);
  std::vector<float> kv_cache =
      std::vector<float>(kBatch * kMaxPages * kPageSize * kQueryWidth, NAN);
  std::vector<float> out = std::vector<float>(kBatch * kHeads * kValueWidth, NAN);
  std::vector<float> lse = std::vector<float>(kBatch * kHeads, NAN);

  // Token t of a sequence holds t in every column; slots past the length stay NaN.
  Case() {
    for (size_t i = 0; i < block_table.size(); ++i) {
      block_table[i] = static_cast<int32_t>(block_table.size() - 1 - i);  // pages in reverse
    }
    for (int64_t sequence = 0; sequence < kBatch; ++sequence) {
      for (int64_t token = 0; token < seq_lens[static_cast<size_t>(sequence)]; ++token) {
        const int64_t entry = sequence * kMaxPages + token / kPageSize;
        const int64_t page = block_table[static_cast<size_t>(entry)];
        const int64_t slot = page * kPageSize + token % kPageSize;
        for (int64_t column = 0; column < kQueryWidth; ++column) {
          kv_cache[static_cast<size_t>(slot * kQueryWidth + column)] = static_cast<float>(token);
        }
      }
    }
  }

  void run(const seesaw::DenseDecode& decode) {
    const seesaw::AlignedBuffer schedule(decode.schedule_bytes());
    const seesaw::AlignedBuffer workspace(decode.workspace_bytes());
    const seesaw_call call{.schedule = schedule.data(),
                           .schedule_bytes = schedule.size(),
                           .workspace = workspace.data(),
                           .workspace_bytes = workspace.size()};
    const auto lengths = seesaw::make_tensor(seq_lens.data(), SEESAW_INT32, {kBatch});
    decode.prepare({.seq_lens = lengths}, call);
    require(!decode.pieces(schedule.data(), schedule.size()).empty(), "a schedule has pieces");
    decode.run(
        {.q = seesaw::make_tensor(q.data(), SEESAW_FLOAT32, {kBatch, 1, kHeads, kQueryWidth}),
         .kv_cache = seesaw::make_tensor(kv_cache.data(), SEESAW_FLOAT32,
                                         {kBatch * kMaxPages, kPageSize, 1, kQueryWidth}),
         .block_table = seesaw::make_tensor(block_table.data(), SEESAW_INT32, {kBatch, kMaxPages}),
         .seq_lens = lengths,
         .out = seesaw::make_tensor(out.data(), SEESAW_FLOAT32, {kBatch, 1, kHeads, kValueWidth}),
         .lse = seesaw::make_tensor(lse.data(), SEESAW_FLOAT32, {kBatch, kHeads, 1}),
         .scale = 1.0F},
        call);
  }

  void check_results() const {
    for (int64_t i = 0; i < kBatch * kHeads; ++i) {
      const auto length = static_cast<float>(seq_lens[static_cast<size_t>(i / kHeads)]);
      const float mean = length > 0 ? (length - 1) / 2 : 0.0F;
      require(std::abs(out[static_cast<size_t>(i * kValueWidth)] - mean) < 1e-5F,
              "out is the mean");
      const float found = lse[static_cast<size_t>(i)];
      require(length > 0 ? std::abs(found - std::log(length)) < 1e-5F : found == -INFINITY,
              "lse is the log of the length, -inf for an empty sequence");
    }
  }
};

void check_errors() {
  seesaw_dense_decode_problem wrong = kProblem;
  wrong.h_q = 0;
  try {
    const seesaw::DenseDecode decode(wrong);
    require(false, "h_q = 0 is refused");
  } catch (const seesaw::Error& error) {
    require(error.status() == SEESAW_INVALID_ARGUMENT, "h_q = 0 is an invalid argument");
    require(std::string(error.what()).find("h_q = 0") != std::string::npos,
            "the message says what arrived");
  }
}

}  // namespace

int main() {
  for (const seesaw::KernelSupport& answer : seesaw::DenseDecode::supports(kProblem)) {
    if (!answer.supported) {
      require(!answer.reason.empty(), "a refusal has a reason");
      continue;
    }
    seesaw::DenseDecode planned(kProblem, {.kernel = answer.kernel.c_str()});
    const seesaw::DenseDecode decode = std::move(planned);
    require(answer.kernel == decode.kernel(), "the kernel insisted on is the one planned");
    Case tensors;
    tensors.run(decode);
    tensors.check_results();
    std::printf("%s: correct\n", decode.kernel());
  }
  check_errors();
  return 0;
}
