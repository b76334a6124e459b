/* The C ABI from C99: plan, prepare and run one tiny problem whose answer is known. Every key is
 * orthogonal to the query (the query is zero), so each of the 3 tokens weighs 1/3, out is the mean
 * of the values 1, 2, 3, and lse is log 3. */
#include <math.h>
#include <seesaw/ops/dense_decode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kHeads = 2, kQueryWidth = 576, kValueWidth = 512, kPageSize = 2, kPages = 2, kTokens = 3 };

static void require_ok(seesaw_status status, const char* what) {
  if (status != SEESAW_OK) {
    fprintf(stderr, "%s: %s: %s\n", what, seesaw_status_name(status), seesaw_last_error());
    exit(1);
  }
}

static void require(int condition, const char* what) {
  if (!condition) {
    fprintf(stderr, "c_consumer: not so: %s\n", what);
    exit(1);
  }
}

/* A packed tensor on the CPU. */
static seesaw_tensor view(void* data, int32_t dtype, int32_t rank, const int64_t* shape) {
  seesaw_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.rank = rank;
  tensor.dtype = dtype;
  tensor.device.type = SEESAW_CPU;
  int64_t stride = 1;
  for (int32_t d = rank - 1; d >= 0; --d) {
    tensor.shape[d] = shape[d];
    tensor.stride[d] = stride;
    stride *= shape[d];
  }
  return tensor;
}

/* A block of `size` bytes aligned to 256; *base is what to free. */
static void* aligned_block(uint64_t size, void** base) {
  *base = malloc((size_t)size + 256);
  require(*base != NULL, "malloc");
  return (void*)(((uintptr_t)*base + 255) / 256 * 256);
}

static seesaw_dense_decode_problem tiny_problem(void) {
  seesaw_dense_decode_problem problem;
  memset(&problem, 0, sizeof problem);
  problem.struct_size = sizeof problem;
  problem.q_dtype = SEESAW_FLOAT32; /* what is left zero has its default */
  problem.batch = 1;
  problem.h_q = kHeads;
  problem.page_size = kPageSize;
  problem.max_pages_per_sequence = kPages;
  return problem;
}

static float q[kHeads * kQueryWidth]; /* zero */
static float kv_cache[kPages * kPageSize * kQueryWidth];
static float out[kHeads * kValueWidth];
static float lse[kHeads];

static void run(const seesaw_plan* plan) {
  int32_t block_table[kPages] = {1, 0}; /* pages out of order */
  int32_t seq_lens[1] = {kTokens};
  for (int token = 0; token < kPages * kPageSize; ++token) {
    const int slot = block_table[token / kPageSize] * kPageSize + token % kPageSize;
    for (int column = 0; column < kQueryWidth; ++column) {
      kv_cache[slot * kQueryWidth + column] = token < kTokens ? (float)(token + 1) : NAN;
    }
  }

  seesaw_plan_details details;
  memset(&details, 0, sizeof details);
  details.struct_size = sizeof details;
  require_ok(seesaw_plan_info(plan, &details), "plan_info");
  void* schedule_base;
  void* workspace_base;
  seesaw_call call;
  memset(&call, 0, sizeof call);
  call.struct_size = sizeof call;
  call.schedule = aligned_block(details.schedule_bytes, &schedule_base);
  call.schedule_bytes = details.schedule_bytes;
  call.workspace = aligned_block(details.workspace_bytes, &workspace_base);
  call.workspace_bytes = details.workspace_bytes;

  seesaw_dense_decode_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.q = view(q, SEESAW_FLOAT32, 4, (const int64_t[]){1, 1, kHeads, kQueryWidth});
  args.kv_cache =
      view(kv_cache, SEESAW_FLOAT32, 4, (const int64_t[]){kPages, kPageSize, 1, kQueryWidth});
  args.block_table = view(block_table, SEESAW_INT32, 2, (const int64_t[]){1, kPages});
  args.seq_lens = view(seq_lens, SEESAW_INT32, 1, (const int64_t[]){1});
  args.out = view(out, SEESAW_FLOAT32, 4, (const int64_t[]){1, 1, kHeads, kValueWidth});
  args.lse = view(lse, SEESAW_FLOAT32, 3, (const int64_t[]){1, kHeads, 1});
  args.scale = 1.0F;

  require_ok(seesaw_dense_decode_prepare(plan, &args, &call), "prepare");
  require_ok(seesaw_dense_decode_run(plan, &args, &call), "run");
  printf("%s: out = %g, lse = %g\n", details.kernel, (double)out[0], (double)lse[0]);
  free(schedule_base);
  free(workspace_base);
}

/* What this process has asked of the library so far. */
static void check_stats(uint64_t runs, uint64_t refused) {
  seesaw_stats row;
  memset(&row, 0, sizeof row);
  row.struct_size = sizeof row;
  uint64_t runs_counted = 0;
  uint64_t refused_counted = 0;
  for (uint64_t i = 0; i < seesaw_stats_count(); ++i) {
    require_ok(seesaw_stats_get(i, &row), "stats_get");
    runs_counted += row.calls[SEESAW_STATS_RUN][SEESAW_OK];
    refused_counted += row.calls[SEESAW_STATS_PLAN][SEESAW_INVALID_ARGUMENT];
  }
  require(runs_counted == runs, "every run is counted");
  require(refused_counted == refused, "every refused plan is counted");
}

int main(void) {
  char version[32];
  snprintf(version, sizeof version, "%d.%d.%d", SEESAW_VERSION_MAJOR, SEESAW_VERSION_MINOR,
           SEESAW_VERSION_PATCH);
  require(strcmp(seesaw_version(), version) == 0, "library and header are of one version");

  seesaw_dense_decode_problem problem = tiny_problem();
  seesaw_plan* plan = NULL;
  require_ok(seesaw_dense_decode_plan_create(&problem, NULL, &plan), "plan_create");
  run(plan);
  seesaw_plan_destroy(plan);
  for (int i = 0; i < kHeads * kValueWidth; ++i) {
    require(fabsf(out[i] - 2.0F) < 1e-5F, "out is the mean of 1, 2, 3");
  }
  for (int head = 0; head < kHeads; ++head) {
    require(fabsf(lse[head] - logf(3.0F)) < 1e-5F, "lse is log 3");
  }

  problem.page_size = -1;
  plan = NULL;
  require(seesaw_dense_decode_plan_create(&problem, NULL, &plan) == SEESAW_INVALID_ARGUMENT,
          "a negative page size is an invalid argument");
  require(strstr(seesaw_last_error(), "page_size = -1") != NULL, "the message says what arrived");
  check_stats(1, 1);
  return 0;
}
