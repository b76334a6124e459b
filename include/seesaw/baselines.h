/* Seesaw baselines: whole attention layers to compare with. The C ABI of libseesaw_baselines, a
 * library of its own: libseesaw depends neither on it nor on oneDNN or cuBLAS, which it uses.
 *
 * The life of a call:
 *   1. describe    seesaw_baseline_problem: model, shapes, dtype, device; no data pointers.
 *   2. parameters  seesaw_baselines_parameters(): names (of a PyTorch state_dict) and shapes.
 *   3. select      seesaw_baselines_supports(): every backend, and why not.
 *   4. predict     seesaw_baselines_cost(): operations and bytes, without a device or data.
 *   5. plan        seesaw_baselines_plan_create(): backend, matrix products, workspace size.
 *   6. run         seesaw_baselines_run(): x -> out. No tensor is allocated in it. On a GPU:
 *                  asynchronous on the stream given.
 *
 * Conventions are those of seesaw.h: sized structs (set struct_size, zero the rest), 64-bit sizes,
 * strides in elements, statuses, messages in four parts, thread-safe for different workspaces;
 * nothing prints, exits or throws. Weights are PyTorch Linear's: y = x W^T + b, W [outputs,
 * inputs].
 *
 * Words: B = batch, N = tokens (new ones, in x), P = past_tokens (in the cache before the call),
 * S = P + N (keys), H = num_heads, D = head_dim, D' = d_latent of traditional MLA,
 * L = d_latent of DeepSeek's MLA, R = d_rope, V = d_v.
 */
#ifndef SEESAW_BASELINES_H_
#define SEESAW_BASELINES_H_

#include "seesaw/seesaw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which layer. Query token i sits at position P + i. A row that sees no key (by mask) attends to
 * nothing: its attention output is 0, so that `out` is what the biases after it give. (PyTorch's
 * softmax of a row of -inf is NaN.) A row that sees keys, but whose scores of them overflowed all
 * to -inf, or one to +inf, is NaN, on every backend as in PyTorch. */
typedef enum seesaw_baseline_model {
  /* Multi-head attention (arXiv:1706.03762, section 3.2.2), "mha":
   *   Q, K, V = x Wq^T + bq, ...   [B, N, H D]
   *   out     = concat_h(softmax(Q_h K_h^T / sqrt(D)) V_h) Wo^T + bo
   * Cache: a token's K and V of all heads, 2 H D wide. */
  SEESAW_BASELINE_MHA = 1,
  /* "Traditional MLA", plain, "traditional_mla": one attention pattern for all heads, over latents
   * of the flattened heads; the score matrix of all queries is materialised:
   *   Q, K, V    = x Wq^T + bq, ...                 [B, N, H D]
   *   Q', K', V' = Q Wq'^T + bq', ...               [B, N, D']
   *   O'         = softmax(Q' K'^T / sqrt(D')) V'   [B, N, D']
   *   out        = (O' Wr^T + br) Wo^T + bo
   * Cache: a token's K' and V', 2 D' wide. */
  SEESAW_BASELINE_TRADITIONAL_MLA = 2,
  /* The memory-efficient form of traditional MLA, "chunked_mla": one combined projection, queries
   * in chunks of chunk_size against all keys, the mask sliced per chunk:
   *   [Q_unused, Q', K', V'] = x Wc^T + bc          [B, N, H D + 3 D'], then as above.
   * Q_unused is computed, as the model's definition does, unless SEESAW_BASELINE_SKIP_UNUSED. */
  SEESAW_BASELINE_CHUNKED_MLA = 3,
  /* MLA of DeepSeek-V2 (arXiv:2405.04434, section 2.1), expanded: keys and values of every head are
   * projected up from the cached latents, "deepseek_mla_expanded":
   *   q_h           = [qN_h, rope(qR_h)]    from x Wq^T, or RMSNorm(x Wqa^T) Wqb^T
   *   [c, r]        = x Wkva^T;  cache row = [RMSNorm(c), rope(r)]                L + R numbers
   *   [kN_h, v_h]   = Wkvb,h RMSNorm(c)                                    for all S tokens
   *   out           = concat_h(softmax((qN_h kN_h^T + qR_h r^T) scale) v_h) Wo^T */
  SEESAW_BASELINE_DEEPSEEK_MLA_EXPANDED = 4,
  /* The same, absorbed, "deepseek_mla_absorbed": with Wkvb,h = [W_UK,h; W_UV,h], the latents
   * themselves are keys and values of all heads:
   *   q'_h = [qN_h W_UK,h, qR_h]            L + R numbers
   *   o'_h = softmax(q'_h cache^T scale) cache[:, 0:L]
   *   out  = concat_h(o'_h W_UV,h^T) Wo^T
   * Same parameters, same cache, same result up to rounding. */
  SEESAW_BASELINE_DEEPSEEK_MLA_ABSORBED = 5
} seesaw_baseline_model;

/* dtype of a mask's seesaw_tensor, beside those of seesaw_dtype: one byte, 0 hides. */
enum { SEESAW_BASELINE_UINT8 = 100 };

/* Flags of a problem. */
enum {
  /* Query token i sees keys [0, P + i]. */
  SEESAW_BASELINE_CAUSAL = 1u << 0,
  /* Linear layers have biases: all of MHA and traditional MLA; of DeepSeek's model q_a_proj,
   * kv_a_proj_with_mqa and o_proj (its attention_bias). */
  SEESAW_BASELINE_BIAS = 1u << 1,
  /* Chunked MLA: leave the H D columns that nothing reads out of the combined projection. */
  SEESAW_BASELINE_SKIP_UNUSED = 1u << 2
};

/* Fields that a model does not use are ignored; 0 takes the default in brackets. */
typedef struct seesaw_baseline_problem {
  uint64_t struct_size;
  seesaw_device device;
  int32_t model;          /* seesaw_baseline_model */
  int32_t dtype;          /* of x, weights, cache and out: float32, bfloat16 or float16 */
  int64_t batch;          /* B >= 1, exactly */
  int64_t tokens;         /* N >= 1, exactly */
  int64_t cache_capacity; /* tokens that the cache holds per sequence, >= N; 0 [no cache: S = N] */
  int64_t d_model;        /* columns of x and out */
  int64_t num_heads;      /* H */
  int64_t head_dim;       /* D, of MHA and traditional MLA [d_model / num_heads] */
  int64_t d_latent;       /* D' [head_dim]; L of DeepSeek's model [512] */
  int64_t d_q_latent;     /* DeepSeek: rank of the query's projection; 0 = q_proj alone */
  int64_t d_nope;         /* DeepSeek: a head's columns without position [128] */
  int64_t d_rope;         /* R, even: a head's rotary columns [64] */
  int64_t d_v;            /* V: a head's value columns [128] */
  int64_t chunk_size;     /* chunked MLA: queries at a time [1024], at most 65,536 chunks */
  double rope_theta;      /* DeepSeek: pair i turns by position * theta^(-2i/R) [10000] */
  float norm_epsilon;     /* DeepSeek: of the RMSNorms [1e-6] */
  /* of the scores [1/sqrt(D), 1/sqrt(D'), seesaw_mla_softmax_scale(d_nope, R, rope_factor,
   * rope_mscale_all_dim)] */
  float scale;
  uint32_t flags;
  int32_t num_threads; /* CPU: 0 [as many as OpenMP would use]. Ignored on a GPU */
  /* DeepSeek: YaRN (arXiv:2309.00071), as rope_scaling of the published configurations has it.
   * Factor 0 [no rope scaling]; the pairs between beta_fast and beta_slow turns in the original
   * context are slowed down by degrees; sines and cosines times m(mscale) / m(mscale_all_dim), with
   * m(x) = 0.1 x ln(factor) + 1 */
  double rope_factor;
  int64_t rope_original_positions; /* original_max_position_embeddings */
  double rope_beta_fast;           /* [32] */
  double rope_beta_slow;           /* [1] */
  double rope_mscale;              /* [1] */
  double rope_mscale_all_dim;      /* [0] */
} seesaw_baseline_problem;

/* One parameter: a vector or a matrix, contiguous, of the problem's dtype. */
typedef struct seesaw_baseline_parameter {
  const char* name; /* "q_proj.weight"; lives as long as the library */
  int64_t shape[2]; /* [outputs, inputs] of a Linear; [n, 1] of a vector */
  int32_t rank;     /* 2 or 1 */
  int32_t reserved;
} seesaw_baseline_parameter;

/* What one call does, counted over the algorithm's own steps with P = past_tokens. A product of
 * [m, k] and [k, n] counts 2 m n k operations and reads or writes each of its elements once; a
 * causal mask skips nothing. Softmax, norms and copies count bytes only. */
typedef struct seesaw_baseline_cost {
  uint64_t struct_size;
  double projection_operations;   /* products with weights */
  double attention_operations;    /* Q K^T and P V */
  double projection_bytes;        /* moved by products with weights */
  double attention_bytes;         /* moved by Q K^T, softmax and P V */
  double other_bytes;             /* moved by norms, rotary embedding and copies */
  uint64_t parameter_count;       /* numbers in all parameters */
  uint64_t weight_bytes;          /* of all parameters */
  uint64_t cache_bytes_per_token; /* one token of one sequence */
  uint64_t score_bytes;           /* most scores and probabilities held at once */
  uint64_t intermediate_bytes;    /* most that all steps hold at once: the workspace that the
                                     algorithm needs, without a backend's own */
} seesaw_baseline_cost;

typedef struct seesaw_baselines_plan_info {
  uint64_t struct_size;
  const char* backend;         /* "cpu.onednn" or "cuda.cublaslt" */
  uint64_t workspace_bytes;    /* alignment 256; for the largest P */
  uint64_t num_parameters;     /* weights that a run takes */
  int64_t cache_width;         /* elements of a token in the cache */
  int64_t max_past_tokens;     /* cache_capacity - N, or 0 */
  uint64_t num_products;       /* matrix products of one call */
  uint64_t converted_products; /* of these, with operands first converted to float32, because the
                                  backend has no product of the dtype on this machine */
} seesaw_baselines_plan_info;

/* The tensors of one call, all on the problem's device and contiguous, except the mask and the
 * positions, which may have any strides >= 0 (0 repeats a dimension). */
typedef struct seesaw_baselines_args {
  uint64_t struct_size;
  seesaw_tensor x;              /* [B, N, d_model] */
  const seesaw_tensor* weights; /* num_weights of them, in the order of the parameters */
  uint64_t num_weights;
  seesaw_tensor
      mask; /* SEESAW_BASELINE_UINT8 [1 or B, 1 or H, N, S]: 0 hides key s from query n. Traditional
               and chunked MLA: [1 or B, 1, N, S]. data NULL: none. Joins with CAUSAL */
  seesaw_tensor positions; /* int32 [B, N]: for the rotary embedding; data NULL: P + i */
  seesaw_tensor cache; /* [B, cache_capacity, cache_width]; tokens [0, P) are read, [P, P + N) are
                          written. data NULL if the capacity is 0 */
  seesaw_tensor out;   /* [B, N, d_model]; every element is written */
  int64_t past_tokens; /* P, the same for every sequence; 0 to max_past_tokens */
  void* workspace;     /* need not be initialised, nor survive between calls */
  uint64_t workspace_bytes;
  void* stream; /* cudaStream_t; NULL = the default stream. Ignored on the CPU */
} seesaw_baselines_args;

typedef struct seesaw_baselines_plan seesaw_baselines_plan; /* opaque, immutable */

/* The message of this thread's last failure in this library. Never NULL. */
SEESAW_API const char* seesaw_baselines_last_error(void);

/* "mha", "traditional_mla", "chunked_mla", "deepseek_mla_expanded", "deepseek_mla_absorbed"; NULL
 * for a number that is no model. */
SEESAW_API const char* seesaw_baselines_model_name(int32_t model);

/* Lists the parameters in the order that a run takes them. Writes min(capacity, *count) rows and
 * sets *count. */
SEESAW_API seesaw_status seesaw_baselines_parameters(const seesaw_baseline_problem* problem,
                                                     seesaw_baseline_parameter* rows,
                                                     uint64_t capacity, uint64_t* count);

/* Asks every backend. Writes min(capacity, *count) rows and sets *count. */
SEESAW_API seesaw_status seesaw_baselines_supports(const seesaw_baseline_problem* problem,
                                                   seesaw_kernel_support* rows, uint64_t capacity,
                                                   uint64_t* count);

/* Operations and bytes of one call. A pure function: no device is needed. */
SEESAW_API seesaw_status seesaw_baselines_cost(const seesaw_baseline_problem* problem,
                                               int64_t past_tokens, seesaw_baseline_cost* cost);

/* Chooses a backend and prepares its matrix products. *plan is the caller's to destroy. */
SEESAW_API seesaw_status seesaw_baselines_plan_create(const seesaw_baseline_problem* problem,
                                                      seesaw_baselines_plan** plan);
SEESAW_API void seesaw_baselines_plan_destroy(seesaw_baselines_plan* plan);
SEESAW_API seesaw_status seesaw_baselines_plan_get_info(const seesaw_baselines_plan* plan,
                                                        seesaw_baselines_plan_info* info);

/* One call of the layer. Products accumulate in float32, scores and softmax are float32, and what
 * goes into the next product is rounded to the dtype. Same inputs, same plan: same bits on the
 * CPU. */
SEESAW_API seesaw_status seesaw_baselines_run(const seesaw_baselines_plan* plan,
                                              const seesaw_baselines_args* args);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* SEESAW_BASELINES_H_ */
