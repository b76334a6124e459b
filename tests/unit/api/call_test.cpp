// The tensors and buffers of a call: what is refused, and in which words. A refused call writes
// nothing.
#include <climits>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>

#include "support/decode_case.hpp"
#include "support/guarded_buffer.hpp"
#include "unit/api/expect_error.hpp"

namespace seesaw::testing {
namespace {

using Args = seesaw_dense_decode_args;

// A valid call on the CPU kernel; tests spoil a copy of it.
class Call : public ::testing::Test {
 protected:
  Call()
      : case_({.seq_lens = {100, 0, 65}, .s_q = 2, .h_q = 6, .h_kv = 2, .planned_batch = 3}),
        decode_(case_.descriptor("cpu.dense_decode", 2)),
        schedule_(decode_.schedule_bytes()),
        workspace_(decode_.workspace_bytes()),
        out_(case_.out_bytes()),
        lse_(case_.lse_bytes()) {
    const DenseDecodeTensors inputs = case_.inputs();
    args_.struct_size = sizeof(args_);
    args_.q = inputs.q;
    args_.kv_cache = inputs.kv_cache;
    args_.block_table = inputs.block_table;
    args_.seq_lens = inputs.seq_lens;
    args_.out = case_.out_tensor(out_.data());
    args_.lse = case_.lse_tensor(lse_.data());
    args_.scale = inputs.scale;
    args_.schedule = schedule_.data();
    args_.schedule_bytes = schedule_.size();
    args_.workspace = workspace_.data();
    args_.workspace_bytes = workspace_.size();
    fill_schedule();
  }

  void fill_schedule() { decode_.schedule(args_.seq_lens, schedule_.data(), schedule_.size()); }

  seesaw_status run(const Args& args) { return seesaw_dense_decode_run(decode_.get(), &args); }

  bool out_is_untouched() const {
    return std::all_of(out_.data(), out_.data() + out_.size(),
                       [](unsigned char byte) { return byte == GuardedBuffer::kPoisonByte; });
  }

  void expect_refused(const std::string& words, const Args& args) {
    SCOPED_TRACE(words);
    expect_refusal(SEESAW_INVALID_ARGUMENT, words, run(args));
    EXPECT_TRUE(out_is_untouched());
  }

  struct Mistake {
    const char* words;
    std::function<void(Args&)> make;
  };
  template <size_t Count>
  void expect_refused(const Mistake (&mistakes)[Count]) {
    for (const Mistake& mistake : mistakes) {
      Args args = args_;
      mistake.make(args);
      expect_refused(mistake.words, args);
    }
  }

  DecodeCase case_;
  DenseDecode decode_;
  GuardedBuffer schedule_;
  GuardedBuffer workspace_;
  GuardedBuffer out_;
  GuardedBuffer lse_;
  Args args_{};
};

TEST_F(Call, GoodOneRuns) {
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();
  EXPECT_FALSE(out_is_untouched());
}

TEST_F(Call, ShapesMustFit) {
  expect_refused({
      {"q has rank 3", [](Args& a) { a.q.rank = 3; }},
      {"q has rank 5", [](Args& a) { a.q.rank = 5; }},
      {"q has rank -1", [](Args& a) { a.q.rank = -1; }},
      {"q has shape [2, 2, 6, 576]", [](Args& a) { a.q.shape[0] = 2; }},
      {"q has shape [3, 1, 6, 576]", [](Args& a) { a.q.shape[1] = 1; }},
      {"q has shape [3, 2, 7, 576]", [](Args& a) { a.q.shape[2] = 7; }},
      {"q has shape [3, 2, 6, 192]", [](Args& a) { a.q.shape[3] = 192; }},
      {"kv_cache has rank 2", [](Args& a) { a.kv_cache.rank = 2; }},
      {"kv_cache has shape [-1,", [](Args& a) { a.kv_cache.shape[0] = -1; }},
      {"kv_cache has shape", [](Args& a) { a.kv_cache.shape[1] = 32; }},
      {"kv_cache has shape", [](Args& a) { a.kv_cache.shape[2] = 1; }},
      {"kv_cache has shape", [](Args& a) { a.kv_cache.shape[3] = 512; }},
      {"block_table has rank 1", [](Args& a) { a.block_table.rank = 1; }},
      {"block_table has shape", [](Args& a) { a.block_table.shape[1] = 1; }},
      {"block_table has shape", [](Args& a) { a.block_table.shape[0] = 4; }},
      {"seq_lens has rank 2", [](Args& a) { a.seq_lens.rank = 2; }},
      {"seq_lens has shape [-1]", [](Args& a) { a.seq_lens.shape[0] = -1; }},
      {"b = seq_lens.shape[0] = 4", [](Args& a) { a.seq_lens.shape[0] = 4; }},
      {"out has shape [3, 2, 6, 576]", [](Args& a) { a.out.shape[3] = 576; }},
      {"out has rank 3", [](Args& a) { a.out.rank = 3; }},
      {"lse has shape [3, 2, 6]", [](Args& a) { std::swap(a.lse.shape[1], a.lse.shape[2]); }},
  });
}

TEST_F(Call, DtypesMustFit) {
  expect_refused({
      {"q has dtype 1 (float32)", [](Args& a) { a.q.dtype = SEESAW_FLOAT32; }},
      {"q has dtype 42", [](Args& a) { a.q.dtype = 42; }},
      {"kv_cache has dtype 3 (float16)", [](Args& a) { a.kv_cache.dtype = SEESAW_FLOAT16; }},
      {"block_table has dtype 1", [](Args& a) { a.block_table.dtype = SEESAW_FLOAT32; }},
      {"seq_lens has dtype 1", [](Args& a) { a.seq_lens.dtype = SEESAW_FLOAT32; }},
      {"out has dtype 1", [](Args& a) { a.out.dtype = SEESAW_FLOAT32; }},
      {"lse has dtype 2", [](Args& a) { a.lse.dtype = SEESAW_BFLOAT16; }},
  });
}

TEST_F(Call, StridesMustFit) {
  expect_refused({
      {"q has stride 2 in dimension 3", [](Args& a) { a.q.stride[3] = 2; }},
      {"q has stride -576 in dimension 2", [](Args& a) { a.q.stride[2] = -576; }},
      {"has stride 9223372036854775807", [](Args& a) { a.q.stride[0] = INT64_MAX; }},
      {"kv_cache has page stride", [](Args& a) { a.kv_cache.stride[0] += 8; }},
      {"kv_cache has token stride", [](Args& a) { a.kv_cache.stride[1] -= 1; }},
      {"kv_cache has head stride", [](Args& a) { a.kv_cache.stride[2] = 1; }},
      {"block_table has stride 2 in dimension 1", [](Args& a) { a.block_table.stride[1] = 2; }},
      {"seq_lens has stride -1", [](Args& a) { a.seq_lens.stride[0] = -1; }},
      {"out has stride 0 in dimension 1", [](Args& a) { a.out.stride[1] = 0; }},
      {"out has stride 3 in dimension 3", [](Args& a) { a.out.stride[3] = 3; }},
      {"lse has stride 0 in dimension 0", [](Args& a) { a.lse.stride[0] = 0; }},
  });
}

TEST_F(Call, MemoryMustBeThere) {
  expect_refused({
      {"q has data = NULL", [](Args& a) { a.q.data = nullptr; }},
      {"kv_cache has data = NULL", [](Args& a) { a.kv_cache.data = nullptr; }},
      {"block_table has data = NULL", [](Args& a) { a.block_table.data = nullptr; }},
      {"seq_lens has data = NULL", [](Args& a) { a.seq_lens.data = nullptr; }},
      {"out has data = NULL", [](Args& a) { a.out.data = nullptr; }},
      {"multiples of 2 bytes", [](Args& a) { a.q.data = static_cast<char*>(a.q.data) + 1; }},
      {"multiples of 4 bytes",
       [](Args& a) { a.seq_lens.data = static_cast<char*>(a.seq_lens.data) + 2; }},
      {"q is on cuda:0",
       [](Args& a) {
         a.q.device = {SEESAW_CUDA, 0};
       }},
      {"out has device type 9", [](Args& a) { a.out.device.type = 9; }},
  });
}

TEST_F(Call, ScaleMustBeFinite) {
  expect_refused({
      {"scale = nan", [](Args& a) { a.scale = std::numeric_limits<float>::quiet_NaN(); }},
      {"scale = inf", [](Args& a) { a.scale = std::numeric_limits<float>::infinity(); }},
  });
}

TEST_F(Call, StructsMustBeWhatTheySay) {
  expect_refused({
      {"struct_size = 0", [](Args& a) { a.struct_size = 0; }},
      {"struct_size = 99999", [](Args& a) { a.struct_size = 99'999; }},
      {"reserved = 1", [](Args& a) { a.reserved = 1; }},
  });
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seesaw_dense_decode_args = NULL",
                 seesaw_dense_decode_run(decode_.get(), nullptr));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "plan = NULL", seesaw_dense_decode_run(nullptr, &args_));
}

TEST_F(Call, BuffersMustHoldWhatWasPlanned) {
  ASSERT_GT(args_.workspace_bytes, 0U);
  expect_refused({
      {"schedule = NULL", [](Args& a) { a.schedule = nullptr; }},
      {"schedule_bytes = ", [](Args& a) { a.schedule_bytes -= 1; }},
      {"schedule at address", [](Args& a) { a.schedule = static_cast<char*>(a.schedule) + 16; }},
      {"workspace = NULL", [](Args& a) { a.workspace = nullptr; }},
      {"workspace_bytes = ", [](Args& a) { a.workspace_bytes -= 1; }},
      {"workspace at address", [](Args& a) { a.workspace = static_cast<char*>(a.workspace) + 64; }},
  });
}

TEST_F(Call, TheScheduleMustBeForTheseLengths) {
  case_.set_length(0, 300);  // more tiles than when it was made; the table is as wide as before
  args_.seq_lens = case_.inputs().seq_lens;
  const Args changed = args_;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[0] = 300", run(changed));
  case_.set_length(0, 20);
  expect_refused("schedule made for other lengths", args_);
  fill_schedule();
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();
}

TEST_F(Call, TheScheduleMustBeThisPlans) {
  schedule_.poison();
  expect_refused("schedule begins with 0xffffffff", args_);

  DenseDecodeDescriptor other_descriptor = case_.descriptor("cpu.dense_decode", 2);
  other_descriptor.batch = 2;
  const DenseDecode other(other_descriptor);
  seesaw_tensor two = args_.seq_lens;
  two.shape[0] = 2;
  other.schedule(two, schedule_.data(), schedule_.size());
  expect_refused("schedule of another plan", args_);

  decode_.schedule(two, schedule_.data(), schedule_.size());
  expect_refused("schedule of 2 sequences", args_);
}

TEST_F(Call, SchedulingChecksItsArguments) {
  const auto schedule = [&](const seesaw_tensor* seq_lens, void* buffer, uint64_t bytes) {
    return seesaw_dense_decode_schedule(decode_.get(), seq_lens, buffer, bytes, nullptr);
  };
  const seesaw_tensor& good = args_.seq_lens;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens = NULL",
                 schedule(nullptr, schedule_.data(), schedule_.size()));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "schedule = NULL",
                 schedule(&good, nullptr, schedule_.size()));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "schedule_bytes = 1",
                 schedule(&good, schedule_.data(), 1));
  seesaw_tensor wrong = good;
  wrong.dtype = SEESAW_FLOAT32;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens has dtype",
                 schedule(&wrong, schedule_.data(), schedule_.size()));
  wrong = good;
  wrong.shape[0] = 9;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "b = seq_lens.shape[0] = 9",
                 schedule(&wrong, schedule_.data(), schedule_.size()));
  case_.set_length(1, INT32_MAX);
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[1] = 2147483647",
                 schedule(&good, schedule_.data(), schedule_.size()));
}

TEST_F(Call, BlockIdsAndLengthsAreChecked) {
  const int64_t num_pages = args_.kv_cache.shape[0];
  const auto first_id = static_cast<const int32_t*>(args_.block_table.data)[1];
  case_.set_block_table(0, 1, static_cast<int32_t>(num_pages));
  expect_refused("block_table[0, 1] = ", args_);
  case_.set_block_table(0, 1, -1);
  expect_refused("block_table[0, 1] = -1", args_);
  case_.set_block_table(0, 1, first_id);
  case_.set_length(2, INT32_MAX);
  expect_refused("seq_lens[2] = 2147483647", args_);
  case_.set_length(2, 65);
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();
}

TEST_F(Call, NegativeLengthsCountAsZeroUnlessChecked) {
  case_.set_length(1, -7);
  fill_schedule();
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();

  const auto expect_reported = [&](const DenseDecodeDescriptor& descriptor) {
    const DenseDecode checking(descriptor);
    expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[1] = -7",
                   seesaw_dense_decode_schedule(checking.get(), &args_.seq_lens, schedule_.data(),
                                                schedule_.size(), nullptr));
    expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[1] = -7",
                   seesaw_dense_decode_run(checking.get(), &args_));
  };
  DenseDecodeDescriptor descriptor = case_.descriptor("cpu.dense_decode", 2);
  descriptor.flags |= SEESAW_CHECK_DATA;
  expect_reported(descriptor);
  descriptor.flags = 0;
  ASSERT_EQ(setenv("SEESAW_CHECK", "1", 1), 0);
  expect_reported(descriptor);
  ASSERT_EQ(unsetenv("SEESAW_CHECK"), 0);
}

TEST_F(Call, PiecesListTheSchedule) {
  const std::vector<seesaw_piece> pieces = decode_.pieces(schedule_.data(), schedule_.size());
  std::vector<int32_t> next_tile(3, 0);
  int32_t worker = 0;
  for (const seesaw_piece& piece : pieces) {
    EXPECT_GE(piece.worker, worker);
    worker = piece.worker;
    EXPECT_EQ(piece.tile_begin, next_tile[static_cast<size_t>(piece.sequence)]);
    next_tile[static_cast<size_t>(piece.sequence)] = piece.tile_end;
  }
  const int64_t tile_tokens = decode_.info().tile_tokens;
  for (size_t i = 0; i < 3; ++i) {
    const int64_t length = case_.spec().length(static_cast<int64_t>(i));
    EXPECT_EQ(next_tile[i], (length + tile_tokens - 1) / tile_tokens);
  }
  seesaw_piece one;
  uint64_t count = 0;
  ASSERT_EQ(seesaw_dense_decode_schedule_pieces(decode_.get(), schedule_.data(), schedule_.size(),
                                                &one, 1, &count),
            SEESAW_OK);
  EXPECT_EQ(count, pieces.size());
  schedule_.poison();
  expect_refusal(SEESAW_INVALID_ARGUMENT, "schedule begins with",
                 seesaw_dense_decode_schedule_pieces(decode_.get(), schedule_.data(),
                                                     schedule_.size(), &one, 1, &count));
}

TEST_F(Call, PlanInfoIsWrittenAsFarAsTheCallerKnowsIt) {
  seesaw_dense_decode_plan_info info{};
  info.struct_size = offsetof(seesaw_dense_decode_plan_info, num_workers);
  info.num_workers = -42;
  ASSERT_EQ(seesaw_dense_decode_plan_get_info(decode_.get(), &info), SEESAW_OK);
  EXPECT_EQ(info.workspace_bytes, decode_.workspace_bytes());
  EXPECT_EQ(info.num_workers, -42);
  EXPECT_EQ(decode_.info().num_workers, 2);
  EXPECT_EQ(decode_.info().fixed_split_tiles, 0);
}

}  // namespace
}  // namespace seesaw::testing
