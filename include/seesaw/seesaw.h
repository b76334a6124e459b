/* Seesaw: Multi-head Latent Attention (MLA). The C ABI, once for all operations.
 *
 * An operation has a header of its own, seesaw/ops/<operation>.h, with two plain structs, its
 * problem (shapes, dtypes, masks: no data) and its arguments (the tensors of one call), and typed
 * inline wrappers of the functions below.
 *
 * The life of a call:
 *   1. describe   the operation's problem, and seesaw_options: where and how.
 *   2. select     seesaw_supports(): every kernel in order of preference, and why not.
 *   3. plan       seesaw_plan_create(): kernel, workspace size, schedule size; from maxima only, so
 *                 before any length is known. Immutable, shared by threads.
 *   4. prepare    seesaw_plan_prepare(): who does what, from the lengths, into a buffer of the
 *                 caller's; once for all layers of a decoding step. Operations whose plans have
 *                 schedule_bytes = 0 have nothing to prepare.
 *   5. run        seesaw_plan_run(). No allocation of device memory, no synchronisation, no copy to
 *                 the host.
 *
 * Conventions. Sizes and strides are 64-bit and strides count elements. Every tensor's innermost
 * dimension has stride 1 (of vectors any, but 1 of sinks and cu_seqlens_q). Structs start with
 * `struct_size`: set it to sizeof of the struct, zero the rest, then fill in; later versions only
 * append fields. Lists are written with the row size that the caller names, so rows grow the same
 * way. A field of a problem or of options that is 0 has its default, which seesaw_describe() lists.
 * Functions are thread-safe for different schedule and workspace buffers. Nothing here prints,
 * exits or throws.
 */
#ifndef SEESAW_SEESAW_H_
#define SEESAW_SEESAW_H_

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#if defined(SEESAW_STATIC)
#define SEESAW_API
#elif defined(__GNUC__)
#define SEESAW_API __attribute__((visibility("default")))
#else
#define SEESAW_API
#endif

/* In C++ every field starts at zero and struct_size at the size of the struct, so that designated
 * initialisers name only what matters. A number that has no default starts as NaN, which is
 * refused. */
#if defined(__cplusplus)
#define SEESAW_ZERO \
  {}
#define SEESAW_SIZE_OF(type) \
  { sizeof(type) }
#define SEESAW_NOT_GIVEN \
  { NAN }
#else
#define SEESAW_ZERO
#define SEESAW_NOT_GIVEN
#define SEESAW_SIZE_OF(type)
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
  SEESAW_INVALID_ARGUMENT = 1, /* the caller's input has a wrong value */
  SEESAW_NOT_SUPPORTED = 2,    /* the input is right, but no kernel of this build does it here */
  SEESAW_DEVICE_ERROR = 3,     /* the CUDA driver or runtime reported an error */
  SEESAW_INTERNAL_ERROR = 4,   /* a defect of this library, or out of memory */
  SEESAW_INVALID_TYPE = 5      /* the caller's input has a wrong dtype */
} seesaw_status;

typedef enum seesaw_dtype {
  SEESAW_FLOAT32 = 1,
  SEESAW_BFLOAT16 = 2,
  SEESAW_FLOAT16 = 3,
  SEESAW_INT32 = 4,
  SEESAW_INT64 = 5,
  SEESAW_UINT8 = 6 /* bytes: caches of formats that mix element types */
} seesaw_dtype;

/* What a cached token is made of. The formats of one element type have that dtype's number, and any
 * number of columns. The others fix theirs; a cache of such a format is a tensor of bytes whose
 * last dimension is what a token takes, its scales behind the page included
 * (docs/cache-formats.md). */
typedef enum seesaw_format {
  SEESAW_FORMAT_FLOAT32 = SEESAW_FLOAT32,
  SEESAW_FORMAT_BFLOAT16 = SEESAW_BFLOAT16,
  SEESAW_FORMAT_FLOAT16 = SEESAW_FLOAT16,
  SEESAW_FORMAT_FP8_656 = 16,       /* DeepSeek-V3.2, GLM-5 */
  SEESAW_FORMAT_FP8_584 = 17,       /* DeepSeek-V4 */
  SEESAW_FORMAT_FP8_576 = 18,       /* dense engines: one scale of the whole cache */
  SEESAW_FORMAT_FP8_576_TOKEN = 19, /* the same with a scale a token, behind the page's rows */
  SEESAW_FORMAT_FP8_528 = 20,       /* DeepSeek-V4.1 */
  SEESAW_FORMAT_FP4_288 = 21,       /* DeepSeek-V4.1's extra cache */
  SEESAW_FORMAT_INDEXER_132 = 22,   /* keys of the lightning indexer */
  SEESAW_FORMAT_INT8_644 = 23       /* for CPUs: int8 latents, a scale a token */
} seesaw_format;

/* How the scales of a cache's tokens come about. A scale multiplies what is stored. */
typedef enum seesaw_scale_rule {
  SEESAW_SCALES_POWER_OF_TWO = 0, /* the least power of two with which no value is too large */
  SEESAW_SCALES_EXACT = 1,        /* the largest magnitude becomes the type's largest number */
  SEESAW_SCALES_GIVEN = 2         /* by the caller; what is too large saturates */
} seesaw_scale_rule;

/* Rotary embedding (RoPE, arXiv:2104.09864): which two columns of d_rope turn together. */
typedef enum seesaw_rotary {
  SEESAW_ROTARY_NONE = 0,
  SEESAW_ROTARY_INTERLEAVED = 1, /* 2i and 2i + 1, as DeepSeek's own code has them */
  SEESAW_ROTARY_HALF_SPLIT = 2   /* i and i + d_rope / 2: "neox" */
} seesaw_rotary;

/* The logarithm of a log-sum-exp (LSE). */
typedef enum seesaw_lse_base { SEESAW_LSE_NATURAL = 0, SEESAW_LSE_BASE2 = 1 } seesaw_lse_base;

/* LSE of a row with nothing to attend. FlashMLA writes +inf. */
typedef enum seesaw_empty_lse {
  SEESAW_EMPTY_LSE_NEGATIVE_INFINITY = 0,
  SEESAW_EMPTY_LSE_POSITIVE_INFINITY = 1
} seesaw_empty_lse;

typedef enum seesaw_device_type { SEESAW_CPU = 1, SEESAW_CUDA = 2 } seesaw_device_type;

/* type: a seesaw_device_type, 0 = SEESAW_CPU; index: 0 for the CPU, the CUDA ordinal for a GPU. */
typedef struct seesaw_device {
  int32_t type SEESAW_ZERO;
  int32_t index SEESAW_ZERO;
} seesaw_device;

#define SEESAW_MAX_RANK 4

/* A view of memory that the caller owns. Dimensions are outermost first; only the first `rank`
 * entries of shape and stride are read. */
typedef struct seesaw_tensor {
  void* data SEESAW_ZERO; /* NULL: not given, where the operation allows that */
  int64_t shape[SEESAW_MAX_RANK] SEESAW_ZERO;
  int64_t stride[SEESAW_MAX_RANK] SEESAW_ZERO; /* elements; the innermost is 1 */
  int32_t rank SEESAW_ZERO;
  int32_t dtype SEESAW_ZERO; /* seesaw_dtype */
  seesaw_device device SEESAW_ZERO;
  /* zero: room to grow, as arguments hold tensors by value */
  uint64_t reserved[2] SEESAW_ZERO;
} seesaw_tensor;

/* Where and how a problem is run: everything that does not change what is computed. NULL in place
 * of a pointer to options means all defaults. */
typedef struct seesaw_options {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_options);
  seesaw_device device SEESAW_ZERO; /* of every tensor */
  /* CPU: workers; 0 = as many as OpenMP would use. Ignored on a GPU */
  int32_t num_threads SEESAW_ZERO;
  /* 1: a sequence's result depends neither on the rest of the batch nor on the number of workers.
   * The size of its splits does depend on the planned maxima: plan for the same everywhere */
  int32_t batch_invariant SEESAW_ZERO;
  /* 1: also report negative lengths; on a GPU, also check lengths and ids on the device. The
   * environment variable SEESAW_CHECK=1 does the same. On the CPU, ids and too long lengths are
   * always checked */
  int32_t check_data SEESAW_ZERO;
  int32_t reserved SEESAW_ZERO;
  /* a kernel's name to insist on it; NULL = the first that can */
  const char* kernel SEESAW_ZERO;
  /* a file of `seesaw tune`, or its text (begins with "{"), or "none"; NULL = the file that the
   * environment variable SEESAW_TUNE_FILE names, if any */
  const char* tuning SEESAW_ZERO;
} seesaw_options;

/* What every call brings beside the operation's arguments. */
typedef struct seesaw_call {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_call);
  /* filled by seesaw_plan_prepare() for the same lengths; alignment 256 */
  void* schedule SEESAW_ZERO;
  uint64_t schedule_bytes SEESAW_ZERO;
  /* contents need not survive between calls, nor be initialised; alignment 256 */
  void* workspace SEESAW_ZERO;
  uint64_t workspace_bytes SEESAW_ZERO;
  /* cudaStream_t; NULL = the default stream. Ignored on the CPU */
  void* stream SEESAW_ZERO;
} seesaw_call;

/* One kernel's answer to a problem. */
typedef struct seesaw_kernel_support {
  const char* kernel; /* e.g. "sm90.dense_decode.bf16"; lives as long as the library */
  const char* reason; /* why not, or ""; valid until this thread's next call into the library */
  int32_t supported;  /* 1: it can run this here */
  int32_t reserved;
} seesaw_kernel_support;

/* A number with a name. Both strings live as long as the library. */
typedef struct seesaw_number {
  const char* name; /* "num_workers" */
  const char* help;
  int64_t value;
} seesaw_number;

/* What a plan decided. Everything pointed to lives as long as the plan. */
typedef struct seesaw_plan_details {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_plan_details);
  const char* operation;
  const char* kernel;
  uint64_t workspace_bytes;
  uint64_t schedule_bytes; /* 0: there is nothing to prepare */
  int32_t tuned;           /* 1: numbers of a tuning file are in use */
  int32_t reserved;
  const char* tuning;           /* which, or why none */
  const char* tuning_key;       /* JSON: what an entry of a tuning file matches to be used here */
  const seesaw_number* numbers; /* what else the kernel decided: workers, tiles, ... */
  uint64_t num_numbers;
  uint64_t number_bytes; /* from one row of numbers to the next */
} seesaw_plan_details;

/* One contiguous run of KV tiles of one sequence that one worker does: tiles [tile_begin,
 * tile_end). */
typedef struct seesaw_piece {
  int32_t worker;
  int32_t sequence;
  int32_t row_group; /* which tiles of query rows; 0 where they are not cut into groups */
  int32_t tile_begin;
  int32_t tile_end;
  int32_t partial; /* slot of its partial result in the workspace, or -1: writes out directly */
} seesaw_piece;

/* What one worker did from begin_us to end_us, counted from the start of the call. */
typedef struct seesaw_trace_span {
  const char* step;  /* "pack", "scores", ...: see docs/profile.md; lives as long as the library */
  int32_t worker;    /* as in seesaw_piece; -1: the whole device */
  int32_t part;      /* CPU: 0. GPU: lanes that go from piece to piece, counted over the worker's
                        thread blocks, then those that go from tile to tile: see docs/profile.md */
  int32_t sequence;  /* -1: of no sequence */
  int32_t row_group; /* as in seesaw_piece */
  int32_t tile;      /* first KV tile concerned; -1: of no tile. If of_tile: the lane's, from 0 */
  int32_t of_tile;   /* 1: a step of one tile, inside of the steps of pieces that others report */
  double begin_us;
  double end_us;
} seesaw_trace_span;

typedef struct seesaw_plan seesaw_plan; /* opaque, immutable */

/* "0.1.0". */
SEESAW_API const char* seesaw_version(void);

/* The message of this thread's last failure: where, what arrived, what is allowed, what to do.
 * Valid until this thread's next call into the library. Never NULL. */
SEESAW_API const char* seesaw_last_error(void);

/* Name of a status: "SEESAW_INVALID_ARGUMENT". */
SEESAW_API const char* seesaw_status_name(seesaw_status status);

/* What the library knows of itself as JSON, zero-terminated, into buffer [size]: for every
 * operation the fields of its problem, its arguments, its kernels with what `seesaw tune` may set;
 * the fields of options; dtypes, formats and statuses. The same text for the life of the process:
 * ask once with size 0 for *needed. */
SEESAW_API seesaw_status seesaw_describe(char* buffer, uint64_t size, uint64_t* needed);

/* Asks every kernel of the operation, in order of preference. `problem`: the operation's, e.g.
 * seesaw_dense_decode_problem. Writes min(capacity, *count) rows of row_bytes bytes and sets *count
 * to the number of kernels. rows may be NULL if capacity is 0. options->kernel is ignored. Fails
 * only if the problem itself is malformed. */
SEESAW_API seesaw_status seesaw_supports(const char* operation, const void* problem,
                                         const seesaw_options* options, seesaw_kernel_support* rows,
                                         uint64_t row_bytes, uint64_t capacity, uint64_t* count);

/* Chooses a kernel and sizes its buffers. *plan is the caller's to destroy. Host only. */
SEESAW_API seesaw_status seesaw_plan_create(const char* operation, const void* problem,
                                            const seesaw_options* options, seesaw_plan** plan);
SEESAW_API void seesaw_plan_destroy(seesaw_plan* plan);

/* What the plan decided: as much as details->struct_size holds. */
SEESAW_API seesaw_status seesaw_plan_info(const seesaw_plan* plan, seesaw_plan_details* details);

/* The problem of these arguments, e.g. seesaw_dense_decode_args: fields of `problem` that are 0 and
 * that shapes, strides or dtypes tell are filled in; the others stay. Reads no data. */
SEESAW_API seesaw_status seesaw_problem_of(const char* operation, const void* args, void* problem);

/* Fills call->schedule. Of args, only what the operation's header marks so is read. On a GPU: one
 * small launch on call->stream, capturable in a graph. Deterministic. */
SEESAW_API seesaw_status seesaw_plan_prepare(const seesaw_plan* plan, const void* args,
                                             const seesaw_call* call);

/* Runs the operation. On a GPU: asynchronous on call->stream, capturable in a graph; leaves the
 * caller's current device as it was. Same inputs, same schedule: same bits. */
SEESAW_API seesaw_status seesaw_plan_run(const seesaw_plan* plan, const void* args,
                                         const seesaw_call* call);

/* Lists a schedule in host memory (copy it there first if it was made on a GPU), in order of
 * worker. Writes min(capacity, *count) pieces of row_bytes bytes and sets *count.
 * SEESAW_NOT_SUPPORTED if the plan's kernel has no schedule. */
SEESAW_API seesaw_status seesaw_plan_pieces(const seesaw_plan* plan, const void* schedule,
                                            uint64_t schedule_bytes, seesaw_piece* pieces,
                                            uint64_t row_bytes, uint64_t capacity, uint64_t* count);

/* Runs as seesaw_plan_run does and records who did what when, in order of worker, part and time.
 * For looking, not for production: it allocates, waits for the device, and is a little slower than
 * a run. Writes min(capacity, *count) spans of row_bytes bytes and sets *count.
 * SEESAW_NOT_SUPPORTED if the plan's kernel has no such variant. */
SEESAW_API seesaw_status seesaw_plan_trace(const seesaw_plan* plan, const void* args,
                                           const seesaw_call* call, seesaw_trace_span* spans,
                                           uint64_t row_bytes, uint64_t capacity, uint64_t* count);

/* One device, or why there is none of its type. Strings are valid until this thread's next call
 * into the library. */
typedef struct seesaw_device_info {
  seesaw_device device;
  int32_t usable;        /* 1: kernels can run on it */
  int32_t num_units;     /* cores the process may use, or streaming multiprocessors */
  uint64_t memory_bytes; /* of the whole device */
  const char* name;
  const char* features; /* instruction sets and what is used of them, or the compute capability */
  const char* reason;   /* why not usable, or "" */
} seesaw_device_info;

/* Lists the CPU, then the GPUs, or one unusable entry that says why there are none. Writes
 * min(capacity, *count) rows of row_bytes bytes and sets *count. */
SEESAW_API seesaw_status seesaw_list_devices(seesaw_device_info* rows, uint64_t row_bytes,
                                             uint64_t capacity, uint64_t* count);

/* Counters of what this process asked of the library since it was loaded: one row for each kernel
 * of each operation, and one, kernel "none", for calls that ended before a kernel was chosen.
 * They only grow (gauges, marked so, aside); take differences. Reading them locks nothing, so a row
 * read while calls run may hold some numbers of a call and not yet the others. A call counts when
 * it returns; a CUDA graph's replays are no calls and are not seen. docs/monitoring.md. */
enum { SEESAW_STATS_PLAN = 0, SEESAW_STATS_PREPARE = 1, SEESAW_STATS_RUN = 2 };
#define SEESAW_STATS_FUNCTIONS 3
#define SEESAW_STATS_STATUSES 8 /* of which seesaw_status uses the first */

typedef struct seesaw_stats {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_stats);
  const char* operation; /* "dense_decode", or "none" */
  const char* kernel;    /* as seesaw_supports names it, or "none" */
  int32_t lengths_known; /* 1: host memory. 0: lengths lie on the device, where nothing is waited
          for: kv_tokens, kv_bytes and the counts of a schedule stay 0 */
  int32_t reserved;
  /* [function][status]: calls of plan_create, plan_prepare and plan_run that returned this. */
  uint64_t calls[SEESAW_STATS_FUNCTIONS][SEESAW_STATS_STATUSES];
  /* [function]: time inside these calls, refused ones too; on a GPU that is launching, not running.
   */
  uint64_t nanoseconds[SEESAW_STATS_FUNCTIONS];
  /* Of the runs that returned SEESAW_OK: */
  uint64_t sequences;
  uint64_t tensor_bytes;     /* of the arguments, the cache aside */
  uint64_t kv_bytes_planned; /* of the cache, were every sequence as long as the plan allows */
  uint64_t kv_tokens;        /* sum of the lengths, negative ones as 0 */
  uint64_t kv_bytes;         /* of these tokens' rows of the cache, each once a sequence */
  /* Of the schedules that were made and returned SEESAW_OK: */
  uint64_t pieces;          /* runs of tiles, as seesaw_plan_pieces lists them */
  uint64_t split_sequences; /* sequences of more than one piece */
  uint64_t partials;        /* pieces whose partial results have to be combined */
  /* Gauges: */
  uint64_t plans;           /* made and not destroyed */
  uint64_t workspace_bytes; /* the most that a plan ever asked for */
} seesaw_stats;

/* Rows that there are; the same for the life of the process. */
SEESAW_API uint64_t seesaw_stats_count(void);

/* Reads row `index` < seesaw_stats_count(): as much as stats->struct_size holds. */
SEESAW_API seesaw_status seesaw_stats_get(uint64_t index, seesaw_stats* stats);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* SEESAW_SEESAW_H_ */
