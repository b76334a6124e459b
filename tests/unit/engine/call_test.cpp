// The tensors and buffers of a call: what is refused, and in which words. A refused call writes
// nothing.
#include <climits>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>

#include "support/host_call.hpp"
#include "unit/engine/expect_error.hpp"

namespace seesaw::testing {
namespace {

using Args = seesaw_dense_decode_args;

// A valid call on the CPU kernel; tests spoil a copy of its structs.
class Call : public ::testing::Test {
 protected:
  Call() : Call({.seq_lens = {100, 0, 65}, .s_q = 2, .h_q = 6, .h_kv = 2, .planned_batch = 3}) {}
  explicit Call(const DecodeSpec& spec)
      : case_(spec), host_(case_, case_.options("cpu.dense_decode", 2)), args_(host_.args) {
    host_.prepare();
  }

  seesaw_status run(const Args& args) const { return run(args, host_.call); }
  seesaw_status run(const Args& args, const seesaw_call& call) const {
    return seesaw_dense_decode_run(host_.decode.get(), &args, &call);
  }

  bool out_is_untouched() const {
    return std::all_of(host_.out.data(), host_.out.data() + host_.out.size(),
                       [](unsigned char byte) { return byte == GuardedBuffer::kPoisonByte; });
  }

  template <typename Struct>
  struct Mistake {
    const char* words;
    std::function<void(Struct&)> make;
  };
  void expect_refused(const std::string& words, const Args& args,
                      seesaw_status status = SEESAW_INVALID_ARGUMENT) {
    SCOPED_TRACE(words);
    expect_refusal(status, words, run(args));
    EXPECT_TRUE(out_is_untouched());
  }
  void expect_refused(std::initializer_list<Mistake<Args>> mistakes,
                      seesaw_status status = SEESAW_INVALID_ARGUMENT) {
    for (const Mistake<Args>& mistake : mistakes) {
      Args args = args_;
      mistake.make(args);
      expect_refused(mistake.words, args, status);
    }
  }

  DecodeCase case_;
  HostCall host_;
  Args args_;
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
  expect_refused(
      {
          {"q has dtype float32", [](Args& a) { a.q.dtype = SEESAW_FLOAT32; }},
          {"q has dtype 42", [](Args& a) { a.q.dtype = 42; }},
          {"kv_cache has dtype float16", [](Args& a) { a.kv_cache.dtype = SEESAW_FLOAT16; }},
          {"block_table has dtype float32", [](Args& a) { a.block_table.dtype = SEESAW_FLOAT32; }},
          {"seq_lens has dtype float32", [](Args& a) { a.seq_lens.dtype = SEESAW_FLOAT32; }},
          {"out has dtype float32", [](Args& a) { a.out.dtype = SEESAW_FLOAT32; }},
          {"lse has dtype bfloat16", [](Args& a) { a.lse.dtype = SEESAW_BFLOAT16; }},
      },
      SEESAW_INVALID_TYPE);
}

TEST_F(Call, StridesMustFit) {
  expect_refused({
      {"q has stride 2 in dimension 3", [](Args& a) { a.q.stride[3] = 2; }},
      {"q has stride -576 in dimension 2", [](Args& a) { a.q.stride[2] = -576; }},
      {"has stride 9223372036854775807", [](Args& a) { a.q.stride[0] = INT64_MAX; }},
      {"kv_cache has stride", [](Args& a) { a.kv_cache.stride[0] += 8; }},
      {"Set kv_token_stride", [](Args& a) { a.kv_cache.stride[1] -= 1; }},
      {"Set kv_head_stride", [](Args& a) { a.kv_cache.stride[2] = 1; }},
      {"block_table has stride 2 in dimension 1", [](Args& a) { a.block_table.stride[1] = 2; }},
      {"seq_lens has stride -1", [](Args& a) { a.seq_lens.stride[0] = -1; }},
      {"out has stride 0 in dimension 1", [](Args& a) { a.out.stride[1] = 0; }},
      {"out has stride 8 in dimension 2", [](Args& a) { a.out.stride[2] = 8; }},
      {"lse has stride 1 in dimension", [](Args& a) { a.lse.stride[0] = 1; }},
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
      {"out is on a device of type 9", [](Args& a) { a.out.device.type = 9; }},
  });
}

TEST_F(Call, ScaleMustBeFiniteAndGiven) {
  expect_refused({
      {"scale = nan", [](Args& a) { a.scale = std::numeric_limits<float>::quiet_NaN(); }},
      {"scale = inf", [](Args& a) { a.scale = std::numeric_limits<float>::infinity(); }},
  });
  Args left_out = args_;
  left_out.scale = Args{.q = {}}.scale;  // as designated initialisers leave it
  expect_refused("scale = nan, allowed: a finite number. Set it: of the scores", left_out);
  Args zero = args_;
  zero.scale = 0.0F;
  EXPECT_EQ(run(zero), SEESAW_OK);
}

TEST_F(Call, StructsMustBeWhatTheySay) {
  expect_refused({
      {"struct_size = 0", [](Args& a) { a.struct_size = 0; }},
      {"struct_size = 99999", [](Args& a) { a.struct_size = 99'999; }},
      // Of q, whose pointer would be half the caller's.
      {"struct_size = 12", [](Args& a) { a.struct_size = offsetof(Args, q) + 4; }},
  });
  expect_refused({{"q with reserved words", [](Args& a) { a.q.reserved[1] = 1; }}},
                 SEESAW_NOT_SUPPORTED);
  const seesaw_plan* plan = host_.decode.get();
  expect_refusal(SEESAW_INVALID_ARGUMENT, "args = NULL",
                 seesaw_plan_run(plan, nullptr, &host_.call));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "call = NULL", seesaw_plan_run(plan, &args_, nullptr));
  expect_refusal(SEESAW_INVALID_ARGUMENT, "plan = NULL",
                 seesaw_plan_run(nullptr, &args_, &host_.call));
}

TEST_F(Call, BuffersMustHoldWhatWasPlanned) {
  ASSERT_GT(host_.call.workspace_bytes, 0U);
  const auto shifted = [](void* memory, int bytes) { return static_cast<char*>(memory) + bytes; };
  const Mistake<seesaw_call> mistakes[] = {
      {"schedule = NULL", [](seesaw_call& c) { c.schedule = nullptr; }},
      {"schedule of ", [](seesaw_call& c) { c.schedule_bytes -= 1; }},
      {"schedule at address", [&](seesaw_call& c) { c.schedule = shifted(c.schedule, 16); }},
      {"workspace = NULL", [](seesaw_call& c) { c.workspace = nullptr; }},
      {"workspace of ", [](seesaw_call& c) { c.workspace_bytes -= 1; }},
      {"workspace at address", [&](seesaw_call& c) { c.workspace = shifted(c.workspace, 64); }},
      {"struct_size = 1", [](seesaw_call& c) { c.struct_size = 1; }},
  };
  for (const auto& mistake : mistakes) {
    seesaw_call call = host_.call;
    mistake.make(call);
    expect_refusal(SEESAW_INVALID_ARGUMENT, mistake.words, run(args_, call));
    EXPECT_TRUE(out_is_untouched());
  }
}

TEST_F(Call, TheScheduleMustBeForTheseLengths) {
  case_.set_length(0, 300);  // more tiles than when it was made; the table is as wide as before
  args_.seq_lens = case_.inputs().seq_lens;
  const Args changed = args_;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[0] = 300", run(changed));
  case_.set_length(0, 20);
  expect_refused("schedule made for other lengths", args_);
  host_.prepare();
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();
}

TEST_F(Call, TheScheduleMustBeThisPlans) {
  host_.schedule.poison();
  expect_refused("schedule begins with 0xffffffff", args_);

  seesaw_dense_decode_problem smaller = case_.problem();
  smaller.batch = 2;
  const DenseDecode other(smaller, case_.options("cpu.dense_decode", 2));
  Args two = args_;
  two.seq_lens.shape[0] = 2;
  other.prepare(two, host_.call);
  expect_refused("schedule of another plan", args_);

  host_.decode.prepare(two, host_.call);
  expect_refused("schedule of 2 sequences", args_);
}

TEST_F(Call, PreparingChecksWhatItReadsAndNothingElse) {
  const auto prepare = [&](const Args& args, const seesaw_call& call) {
    return seesaw_dense_decode_prepare(host_.decode.get(), &args, &call);
  };
  EXPECT_EQ(prepare({.seq_lens = args_.seq_lens}, host_.call), SEESAW_OK) << seesaw_last_error();
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens has rank 0", prepare({}, host_.call));
  seesaw_call small = host_.call;
  small.schedule_bytes = 1;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "schedule of 1 bytes", prepare(args_, small));
  small.schedule = nullptr;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "schedule = NULL", prepare(args_, small));
  seesaw_call without_workspace = host_.call;
  without_workspace.workspace = nullptr;
  EXPECT_EQ(prepare(args_, without_workspace), SEESAW_OK) << seesaw_last_error();
  Args wrong = args_;
  wrong.seq_lens.dtype = SEESAW_FLOAT32;
  expect_refusal(SEESAW_INVALID_TYPE, "seq_lens has dtype", prepare(wrong, host_.call));
  wrong = args_;
  wrong.seq_lens.shape[0] = 9;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "b = seq_lens.shape[0] = 9", prepare(wrong, host_.call));
  case_.set_length(1, INT32_MAX);
  expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[1] = 2147483647", prepare(args_, host_.call));
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
  host_.prepare();
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();

  const auto expect_reported = [&](const seesaw_options& options) {
    const DenseDecode checking(case_.problem(), options);
    expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[1] = -7",
                   seesaw_dense_decode_prepare(checking.get(), &args_, &host_.call));
    expect_refusal(SEESAW_INVALID_ARGUMENT, "seq_lens[1] = -7",
                   seesaw_dense_decode_run(checking.get(), &args_, &host_.call));
  };
  seesaw_options options = case_.options("cpu.dense_decode", 2);
  options.check_data = 1;
  expect_reported(options);
  options.check_data = 0;
  ASSERT_EQ(setenv("SEESAW_CHECK", "1", 1), 0);
  expect_reported(options);
  ASSERT_EQ(unsetenv("SEESAW_CHECK"), 0);
}

// The problem that tensors have is the one that they were planned with.
TEST_F(Call, ProblemsAreReadOffTensors) {
  const seesaw_dense_decode_problem found = DenseDecode::problem_of(args_, {.causal = 1});
  const seesaw_dense_decode_problem planned = case_.problem();
  EXPECT_EQ(found.q_dtype, planned.q_dtype);
  EXPECT_EQ(found.kv_format, planned.kv_format);
  EXPECT_EQ(found.batch, 3);
  EXPECT_EQ(found.s_q, 2);
  EXPECT_EQ(found.h_q, 6);
  EXPECT_EQ(found.h_kv, 2);
  EXPECT_EQ(found.d_qk, planned.d_qk);
  EXPECT_EQ(found.d_v, planned.d_v);
  EXPECT_EQ(found.page_size, planned.page_size);
  EXPECT_EQ(found.max_pages_per_sequence, planned.max_pages_per_sequence);
  EXPECT_EQ(found.kv_page_stride, planned.kv_page_stride);
  EXPECT_EQ(found.kv_token_stride, planned.kv_token_stride);
  EXPECT_EQ(found.causal, 1);
  EXPECT_EQ(DenseDecode::problem_of(args_, {.batch = 9}).batch, 9);
  Args without_out = args_;
  without_out.out = {};
  EXPECT_EQ(DenseDecode::problem_of(without_out).d_v, 0);
  seesaw_dense_decode_problem problem;
  without_out.q.rank = 99;
  expect_refusal(SEESAW_INVALID_ARGUMENT, "q has rank 99",
                 seesaw_problem_of("dense_decode", &without_out, &problem));
}

TEST_F(Call, WhatWasNotPlannedIsRefused) {
  expect_refused({
      {"sinks given with sinks = 0",
       [](Args& a) { a.sinks = make_tensor(&a, SEESAW_FLOAT32, {6}); }},
      {"max_logits given with max_logits = 0", [](Args& a) { a.max_logits = a.lse; }},
      {"tree_mask given with tree_mask = 0",
       [](Args& a) {
         a.tree_mask = make_tensor(&a, SEESAW_UINT8, {3, 2, 1});
       }},
      {"cu_seqlens_q given with ragged = 0",
       [](Args& a) { a.cu_seqlens_q = make_tensor(&a, SEESAW_INT32, {4}); }},
      {"soft_cap given with soft_cap = 0", [](Args& a) { a.soft_cap = 1; }},
  });
}

// The same with everything that may be asked for besides.
class FullCall : public Call {
 protected:
  FullCall()
      : Call({.seq_lens = {100, 0, 65},
              .s_q = 3,
              .h_q = 6,
              .causal = 1,
              .window = 50,
              .tree = true,
              .sinks = {1, 2, 3, 4, 5, 6},
              .soft_cap = 1,
              .max_logits = true,
              .query_lens = {3, 0, 1}}) {}
};

TEST_F(FullCall, RunsAndMayLeaveOutWhatWasPlanned) {
  EXPECT_EQ(run(args_), SEESAW_OK) << seesaw_last_error();
  Args less = args_;
  less.sinks = less.max_logits = less.tree_mask = {};
  less.soft_cap = 0;
  EXPECT_EQ(run(less), SEESAW_OK) << seesaw_last_error();
}

TEST_F(FullCall, MistakesAreRefused) {
  static const int32_t backwards[] = {0, 3, 2, 4};
  static const int32_t too_many[] = {0, 0, 0, 4};
  static const int32_t beyond[] = {0, 3, 3, 5};
  const auto begins = [](const int32_t* data) { return make_tensor(data, SEESAW_INT32, {4}); };
  expect_refused({
      {"soft_cap = -1", [](Args& a) { a.soft_cap = -1; }},
      {"soft_cap = inf", [](Args& a) { a.soft_cap = INFINITY; }},
      {"sinks has shape [5]", [](Args& a) { a.sinks.shape[0] = 5; }},
      {"sinks has stride 2", [](Args& a) { a.sinks.stride[0] = 2; }},
      {"tree_mask has shape [3, 3]", [](Args& a) { a.tree_mask.shape[0] = 3; }},
      {"tree_mask has 0 bytes a query token", [](Args& a) { a.tree_mask.shape[1] = 0; }},
      {"q has rank 4", [](Args& a) { a.q.rank = 4; }},
      {"lse has shape [5, 4]", [](Args& a) { a.lse.shape[0] = 5; }},
      {"cu_seqlens_q not given", [](Args& a) { a.cu_seqlens_q = {}; }},
      {"cu_seqlens_q has shape [3]", [](Args& a) { a.cu_seqlens_q.shape[0] = 3; }},
      {"cu_seqlens_q has stride 2", [](Args& a) { a.cu_seqlens_q.stride[0] = 2; }},
      {"cu_seqlens_q[2] = 2", [&](Args& a) { a.cu_seqlens_q = begins(backwards); }},
      {"cu_seqlens_q[3] = 4", [&](Args& a) { a.cu_seqlens_q = begins(too_many); }},
      {"cu_seqlens_q[3] = 5", [&](Args& a) { a.cu_seqlens_q = begins(beyond); }},
  });
}

TEST_F(FullCall, ItsProblemIsReadOffTensors) {
  const seesaw_dense_decode_problem found =
      DenseDecode::problem_of(args_, {.s_q = 3, .causal = 1, .window = 50});
  EXPECT_EQ(found.batch, 3);
  EXPECT_EQ(found.s_q, 3);
  EXPECT_EQ(found.h_q, 6);
  EXPECT_EQ(found.d_qk, 576);
  EXPECT_EQ(found.d_v, 512);
  EXPECT_EQ(found.window, 50);
  for (const int32_t told :
       {found.tree_mask, found.sinks, found.max_logits, found.soft_cap, found.ragged}) {
    EXPECT_EQ(told, 1);
  }
}

TEST_F(Call, PiecesListTheSchedule) {
  const std::vector<seesaw_piece> pieces =
      host_.decode.pieces(host_.schedule.data(), host_.schedule.size());
  std::vector<int32_t> next_tile(3, 0);
  int32_t worker = 0;
  for (const seesaw_piece& piece : pieces) {
    EXPECT_GE(piece.worker, worker);
    worker = piece.worker;
    EXPECT_EQ(piece.tile_begin, next_tile[static_cast<size_t>(piece.sequence)]);
    next_tile[static_cast<size_t>(piece.sequence)] = piece.tile_end;
  }
  const int64_t tile_tokens = host_.decode.number("tile_tokens");
  for (size_t i = 0; i < 3; ++i) {
    const int64_t length = case_.spec().length(static_cast<int64_t>(i));
    EXPECT_EQ(next_tile[i], (length + tile_tokens - 1) / tile_tokens);
  }
  seesaw_piece one;
  uint64_t count = 0;
  const auto list_one = [&] {
    return seesaw_plan_pieces(host_.decode.get(), host_.schedule.data(), host_.schedule.size(),
                              &one, sizeof(one), 1, &count);
  };
  ASSERT_EQ(list_one(), SEESAW_OK);
  EXPECT_EQ(count, pieces.size());
  host_.schedule.poison();
  expect_refusal(SEESAW_INVALID_ARGUMENT, "schedule begins with", list_one());
}

TEST_F(Call, PlanDetailsAreWrittenAsFarAsTheCallerKnowsThem) {
  seesaw_plan_details details{};
  details.struct_size = offsetof(seesaw_plan_details, schedule_bytes);
  details.schedule_bytes = 42;
  ASSERT_EQ(seesaw_plan_info(host_.decode.get(), &details), SEESAW_OK);
  EXPECT_EQ(details.workspace_bytes, host_.decode.workspace_bytes());
  EXPECT_EQ(details.schedule_bytes, 42U);
  EXPECT_STREQ(host_.decode.details().operation, "dense_decode");
  EXPECT_EQ(host_.decode.number("num_workers"), 2);
  EXPECT_EQ(host_.decode.number("fixed_split_tiles"), 0);
  EXPECT_EQ(host_.decode.number("no such number"), 0);
}

// 192^-1/2 m^2, m = 0.1 ln(40) + 1 = 1.3688879 in DeepSeek-V3; without YaRN m = 1.
TEST(Scale, IsThatOfTheModel) {
  EXPECT_FLOAT_EQ(seesaw_mla_softmax_scale(128, 64, 0.0, 0.0), 0.072168784F);
  EXPECT_FLOAT_EQ(seesaw_mla_softmax_scale(128, 64, 40.0, 1.0), 0.072168784F * 1.8738542F);
  EXPECT_FLOAT_EQ(seesaw_mla_softmax_scale(128, 64, 40.0, 0.0), 0.072168784F);
  EXPECT_FLOAT_EQ(seesaw_mla_softmax_scale(128, 64, 1.0, 1.0), 0.072168784F);
}

}  // namespace
}  // namespace seesaw::testing
