/* Seesaw: Multi-head Latent Attention (MLA). The C ABI.
 *
 * The life of a call:
 *   1. describe   seesaw_dense_decode_problem: shapes, dtypes, device; no data pointers.
 *   2. select     seesaw_dense_decode_supports(): every kernel in order of preference, and why not.
 *   3. plan       seesaw_dense_decode_plan_create(): kernel, workspace size, schedule size; from
 *                 maxima only, so before the sequence lengths are known.
 *   4. schedule   seesaw_dense_decode_schedule(): which worker does which tiles; from seq_lens into
 *                 a buffer of the caller's; one schedule serves all layers of a decoding step.
 *   5. run        seesaw_dense_decode_run(): attention, then the merge of what was split. No
 *                 allocation of device memory, no synchronisation, no copy to the host.
 *
 * Conventions. Sizes and strides are 64-bit and strides count elements. Every tensor's innermost
 * dimension has stride 1. Structs start with `struct_size`: set it to sizeof of the struct, zero
 * the rest, then fill in; later versions only append fields. Functions are thread-safe for
 * different schedule and workspace buffers. Nothing here prints, exits or throws.
 */
#ifndef SEESAW_SEESAW_H_
#define SEESAW_SEESAW_H_

#include <stddef.h>
#include <stdint.h>

#if defined(SEESAW_STATIC)
#define SEESAW_API
#elif defined(__GNUC__)
#define SEESAW_API __attribute__((visibility("default")))
#else
#define SEESAW_API
#endif

#define SEESAW_VERSION_MAJOR 0
#define SEESAW_VERSION_MINOR 1
#define SEESAW_VERSION_PATCH 0
#define SEESAW_VERSION_STRING "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* What a function returns. On anything but SEESAW_OK, seesaw_last_error() has the message. */
typedef enum seesaw_status {
  SEESAW_OK = 0,
  SEESAW_INVALID_ARGUMENT = 1, /* the caller's input is wrong */
  SEESAW_NOT_SUPPORTED = 2,    /* the input is right, but no kernel of this build does it here */
  SEESAW_DEVICE_ERROR = 3,     /* the CUDA driver or runtime reported an error */
  SEESAW_INTERNAL_ERROR = 4    /* a defect of this library, or out of memory */
} seesaw_status;

typedef enum seesaw_dtype {
  SEESAW_FLOAT32 = 1,
  SEESAW_BFLOAT16 = 2,
  SEESAW_FLOAT16 = 3,
  SEESAW_INT32 = 4
} seesaw_dtype;

typedef enum seesaw_device_type { SEESAW_CPU = 1, SEESAW_CUDA = 2 } seesaw_device_type;

/* type: a seesaw_device_type; index: 0 for the CPU, the CUDA ordinal for a GPU. */
typedef struct seesaw_device {
  int32_t type;
  int32_t index;
} seesaw_device;

#define SEESAW_MAX_RANK 4

/* A view of memory that the caller owns. Dimensions are outermost first; only the first `rank`
 * entries of shape and stride are read. */
typedef struct seesaw_tensor {
  void* data;
  int64_t shape[SEESAW_MAX_RANK];
  int64_t stride[SEESAW_MAX_RANK]; /* elements; the innermost is 1 */
  int32_t rank;
  int32_t dtype; /* seesaw_dtype */
  seesaw_device device;
} seesaw_tensor;

/* Flags of a problem. */
enum {
  /* Query token i of s_q sees the first seq_len - s_q + i + 1 keys (bottom-right aligned). */
  SEESAW_CAUSAL = 1u << 0,
  /* LSE in base 2 instead of natural log. */
  SEESAW_LSE_BASE2 = 1u << 1,
  /* LSE of a row with nothing to attend is +inf, as FlashMLA writes it, instead of -inf. */
  SEESAW_LSE_EMPTY_IS_POSITIVE_INFINITY = 1u << 2,
  /* A sequence's result depends neither on the rest of the batch nor on the number of workers. The
   * size of its splits does depend on max_pages_per_sequence: plan for the same everywhere. */
  SEESAW_BATCH_INVARIANT = 1u << 3,
  /* Also report negative lengths; on a GPU, also check lengths and block ids on the device. The
   * environment variable SEESAW_CHECK=1 does the same. On the CPU, block ids and too long lengths
   * are always checked. */
  SEESAW_CHECK_DATA = 1u << 4
};

/* Dense MLA decoding: q [batch, s_q, h_q, d_qk] over a paged cache
 * kv_cache [num_pages, page_size, h_kv, d_qk], whose first d_v columns are also the values.
 *   out[b, i, h, :] = softmax(scale * q[b, i, h, :] K^T) V over the keys that token i sees,
 *   lse[b, h, i]    = log(sum(exp(scale * q K^T))).
 * Query head h reads KV head h / (h_q / h_kv). DeepSeek-V2 (arXiv:2405.04434), section 2.1.2, in
 * its absorbed form. */
typedef struct seesaw_dense_decode_problem {
  uint64_t struct_size;
  seesaw_device device;
  int32_t q_dtype;                /* float32, bfloat16 or float16; out has the same */
  int32_t kv_dtype;               /* float32, bfloat16 or float16 */
  int64_t batch;                  /* the most sequences of one call; a call may bring fewer */
  int64_t s_q;                    /* query tokens of each sequence, >= 1 */
  int64_t h_q;                    /* query heads, a multiple of h_kv */
  int64_t h_kv;                   /* KV heads, 1 in MLA */
  int64_t d_qk;                   /* columns of q and of the cache, 576 in DeepSeek's models */
  int64_t d_v;                    /* columns of out, the first d_v of the cache's, 512 */
  int64_t page_size;              /* tokens of a page, >= 1 */
  int64_t max_pages_per_sequence; /* columns of the block table */
  int64_t kv_page_stride;         /* elements; 0 = packed */
  int64_t kv_token_stride;        /* elements; 0 = packed */
  int64_t kv_head_stride;         /* elements; 0 = packed */
  uint32_t flags;
  int32_t num_threads; /* CPU: workers; 0 = as many as OpenMP would use. Ignored on a GPU */
  const char* kernel;  /* a kernel's name to insist on it; NULL = the first that can */
  const char* tuning;  /* a file of `seesaw tune`, or its text (begins with "{"), or "none"; NULL =
                          the file that the environment variable SEESAW_TUNE_FILE names, if any */
} seesaw_dense_decode_problem;

/* One kernel's answer to a problem. */
typedef struct seesaw_kernel_support {
  const char* kernel; /* e.g. "sm90.dense_decode"; lives as long as the library */
  int32_t supported;  /* 1: it can run this here */
  char reason[244];   /* why not; empty if supported */
} seesaw_kernel_support;

/* What a plan decided. All sizes in bytes. */
typedef struct seesaw_dense_decode_plan_info {
  uint64_t struct_size;
  const char* kernel;
  uint64_t workspace_bytes;  /* alignment 256 */
  uint64_t schedule_bytes;   /* alignment 256 */
  int32_t num_workers;       /* CPU threads, or thread blocks that share the KV work */
  int32_t tile_tokens;       /* KV tokens of a tile */
  int32_t tile_rows;         /* query rows of a tile */
  int32_t fixed_split_tiles; /* batch-invariant mode: tiles of every split; otherwise 0 */
  int32_t piece_cost_tiles;  /* what starting and ending a piece costs the schedule, in tiles */
  int32_t split_cost_tiles;  /* what cutting any sequence costs it, in tiles */
  int32_t chunk_tokens;      /* CPU: tokens packed at a time; otherwise 0 */
  int32_t tuned;             /* 1: numbers of a tuning file are in use */
  const char* tuning;        /* which, or why none; lives as long as the plan, as the next */
  const char* tuning_key;    /* JSON: what an entry of a tuning file matches to be used here */
} seesaw_dense_decode_plan_info;

/* One contiguous run of KV tiles of one sequence that one worker does: tiles [tile_begin,
 * tile_end).
 */
typedef struct seesaw_piece {
  int32_t worker;
  int32_t sequence;
  int32_t tile_begin;
  int32_t tile_end;
  int32_t partial; /* slot of its partial result in the workspace, or -1: writes out directly */
} seesaw_piece;

/* The tensors of one call. All on the problem's device. */
typedef struct seesaw_dense_decode_args {
  uint64_t struct_size;
  seesaw_tensor q;           /* [b, s_q, h_q, d_qk], b <= the plan's batch */
  seesaw_tensor kv_cache;    /* [num_pages, page_size, h_kv, d_qk] */
  seesaw_tensor block_table; /* [b, max_pages_per_sequence] int32: page ids */
  seesaw_tensor seq_lens;    /* [b] int32: tokens in the cache, the s_q new ones included; a
                                negative length counts as 0 */
  seesaw_tensor out;         /* [b, s_q, h_q, d_v], dtype of q; every element is written */
  seesaw_tensor lse;         /* [b, h_q, s_q] float32; data NULL if not wanted */
  float scale;               /* of the scores; finite */
  uint32_t reserved;
  void* schedule; /* filled by seesaw_dense_decode_schedule for the same b and seq_lens */
  uint64_t schedule_bytes;
  void* workspace; /* contents need not survive between calls, nor be initialised */
  uint64_t workspace_bytes;
  void* stream; /* cudaStream_t; NULL = the default stream. Ignored on the CPU */
} seesaw_dense_decode_args;

typedef struct seesaw_dense_decode_plan seesaw_dense_decode_plan; /* opaque, immutable */

/* "0.1.0". */
SEESAW_API const char* seesaw_version(void);

/* The message of this thread's last failure: where, what arrived, what is allowed, what to do.
 * Valid until this thread's next call into the library. Never NULL. */
SEESAW_API const char* seesaw_last_error(void);

/* Name of a status: "SEESAW_INVALID_ARGUMENT". */
SEESAW_API const char* seesaw_status_name(seesaw_status status);

/* One device, or why there is none of its type. */
typedef struct seesaw_device_info {
  seesaw_device device;
  int32_t usable;        /* 1: kernels can run on it */
  int32_t num_units;     /* cores the process may use, or streaming multiprocessors */
  uint64_t memory_bytes; /* of the whole device */
  char name[128];
  char features[128]; /* instruction sets and what is used of them, or "compute capability 9.0" */
  char reason[232];   /* why not usable; empty if it is */
} seesaw_device_info;

/* Lists the CPU, then the GPUs, or one unusable entry that says why there are none. Writes
 * min(capacity, *count) rows and sets *count. */
SEESAW_API seesaw_status seesaw_list_devices(seesaw_device_info* rows, uint64_t capacity,
                                             uint64_t* count);

/* Asks every kernel of this build, in order of preference. Writes min(capacity, *count) rows and
 * sets *count to the number of kernels. rows may be NULL if capacity is 0. problem->kernel is
 * ignored. Fails only if the problem itself is malformed. */
SEESAW_API seesaw_status seesaw_dense_decode_supports(const seesaw_dense_decode_problem* problem,
                                                      seesaw_kernel_support* rows,
                                                      uint64_t capacity, uint64_t* count);

/* Chooses a kernel and sizes its buffers. *plan is the caller's to destroy. Host only. */
SEESAW_API seesaw_status seesaw_dense_decode_plan_create(const seesaw_dense_decode_problem* problem,
                                                         seesaw_dense_decode_plan** plan);
SEESAW_API void seesaw_dense_decode_plan_destroy(seesaw_dense_decode_plan* plan);
SEESAW_API seesaw_status seesaw_dense_decode_plan_get_info(const seesaw_dense_decode_plan* plan,
                                                           seesaw_dense_decode_plan_info* info);

/* Fills `schedule` from seq_lens [b] int32, b <= the plan's batch. On a GPU: one small launch on
 * `stream`, capturable in a graph. Deterministic. */
SEESAW_API seesaw_status seesaw_dense_decode_schedule(const seesaw_dense_decode_plan* plan,
                                                      const seesaw_tensor* seq_lens, void* schedule,
                                                      uint64_t schedule_bytes, void* stream);

/* Lists a schedule in host memory (copy it there first if it was made on a GPU), as worker order.
 * Writes min(capacity, *count) pieces and sets *count. */
SEESAW_API seesaw_status seesaw_dense_decode_schedule_pieces(const seesaw_dense_decode_plan* plan,
                                                             const void* schedule,
                                                             uint64_t schedule_bytes,
                                                             seesaw_piece* pieces,
                                                             uint64_t capacity, uint64_t* count);

/* Attention and merge. On a GPU: asynchronous on args->stream, capturable in a graph; leaves the
 * caller's current device as it was. Same inputs, same schedule: same bits. */
SEESAW_API seesaw_status seesaw_dense_decode_run(const seesaw_dense_decode_plan* plan,
                                                 const seesaw_dense_decode_args* args);

/* What one worker did from begin_us to end_us, counted from the start of the call. */
typedef struct seesaw_trace_span {
  const char* step; /* "pack", "scores", ...: see docs/profile.md; lives as long as the library */
  int32_t worker;   /* as in seesaw_piece; -1: the whole device */
  int32_t part;     /* CPU: 0. GPU: thread_block_of_the_worker * 2 + warpgroup */
  int32_t sequence; /* -1: of no sequence */
  int32_t tile;     /* first KV tile concerned; -1: of no tile */
  double begin_us;
  double end_us;
} seesaw_trace_span;

/* Runs as seesaw_dense_decode_run does and records who did what when, in order of worker, part and
 * time. For looking, not for production: it allocates, waits for the device, and is a little slower
 * than a run. Writes min(capacity, *count) spans and sets *count. SEESAW_NOT_SUPPORTED if the
 * plan's kernel has no such variant. */
SEESAW_API seesaw_status seesaw_dense_decode_trace(const seesaw_dense_decode_plan* plan,
                                                   const seesaw_dense_decode_args* args,
                                                   seesaw_trace_span* spans, uint64_t capacity,
                                                   uint64_t* count);

/* Counters of what this process asked of the library since it was loaded: one row for each kernel
 * of each operation, and one, kernel "none", for calls that ended before a kernel was chosen.
 * They only grow (gauges, marked so, aside); take differences. Reading them locks nothing, so a row
 * read while calls run may hold some numbers of a call and not yet the others. A call counts when
 * it returns; a CUDA graph's replays are no calls and are not seen. docs/monitoring.md. */
enum { SEESAW_STATS_PLAN = 0, SEESAW_STATS_SCHEDULE = 1, SEESAW_STATS_RUN = 2 };
#define SEESAW_STATS_FUNCTIONS 3
#define SEESAW_STATS_STATUSES 8 /* of which seesaw_status uses the first */

typedef struct seesaw_stats {
  uint64_t struct_size;
  const char* operation; /* "dense_decode" */
  const char* kernel;    /* as seesaw_dense_decode_supports names it, or "none" */
  int32_t lengths_known; /* 1: host memory. 0: seq_lens lie on the device, where nothing is waited
                            for: kv_tokens, kv_bytes and the counts of a schedule stay 0 */
  int32_t reserved;
  /* [function][status]: calls of plan_create, schedule and run that returned this status. */
  uint64_t calls[SEESAW_STATS_FUNCTIONS][SEESAW_STATS_STATUSES];
  /* [function]: time inside these calls, refused ones too; on a GPU that is launching, not running.
   */
  uint64_t nanoseconds[SEESAW_STATS_FUNCTIONS];
  /* Of the runs that returned SEESAW_OK: */
  uint64_t sequences;
  uint64_t tensor_bytes;     /* of q, out and lse */
  uint64_t kv_bytes_planned; /* of the cache, were every sequence as long as the plan allows */
  uint64_t kv_tokens;        /* sum of seq_lens, negative ones as 0 */
  uint64_t kv_bytes;         /* of these tokens' rows of the cache, each once a sequence */
  /* Of the schedules that returned SEESAW_OK: */
  uint64_t pieces;          /* runs of tiles, as seesaw_dense_decode_schedule_pieces lists them */
  uint64_t split_sequences; /* sequences of more than one piece */
  uint64_t partials;        /* pieces whose partial results have to be merged */
  /* Gauges: */
  uint64_t plans;           /* made and not destroyed */
  uint64_t workspace_bytes; /* the most that a plan ever asked for */
} seesaw_stats;

/* Rows that there are; the same for the life of the process. */
SEESAW_API uint64_t seesaw_stats_count(void);

/* Reads row `index` < seesaw_stats_count(): as much as stats->struct_size holds. */
SEESAW_API seesaw_status seesaw_stats_get(uint64_t index, seesaw_stats* stats);

/* All rows in Prometheus' text format, zero-terminated, into buffer [size]. *needed is a size that
 * suffices for every call of this process, whatever the counters have grown to: ask once with
 * size 0 and allocate once. A smaller buffer is refused, and holds an empty string then. */
SEESAW_API seesaw_status seesaw_stats_prometheus(char* buffer, uint64_t size, uint64_t* needed);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* SEESAW_SEESAW_H_ */
