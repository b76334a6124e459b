/* Seesaw layers: the MLA layer of a model, from hidden states to hidden states, made from a
 * published checkpoint. The C ABI of libseesaw_layers, a library of its own over libseesaw (append,
 * gather, dense_decode) and oneDNN (matrix products); libseesaw depends on neither. On the CPU.
 *
 * DeepSeek-V2 (arXiv:2405.04434, section 2.1), V3 and R1, Kimi K2, GLM-4.7-Flash and their kin:
 *   q = x Wq^T, or RMSNorm(x Wqa^T) Wqb^T;  [c, r] = x Wkva^T           biases: attention_bias
 *   cache row of the token's slot = [RMSNorm(c), rotary(r)], in the cache's format
 *   absorbed:  o_h = attention(q_nope,h W_UK,h, rotary(q_rope,h); cache) W_UV,h^T
 *   expanded:  o_h = attention(q_nope,h, rotary(q_rope,h); W_UK,h c, r; W_UV,h c)
 *   out = concat_h(o_h) Wo^T,      with kv_b_proj by heads = [W_UK,h; W_UV,h]
 * Rotary embedding is arXiv:2104.09864, with YaRN (arXiv:2309.00071) if rope_scaling has it. Both
 * forms attend the tokens as the cache holds them, so that their results are equal up to rounding,
 * and do not depend on how a prompt was cut into calls.
 *
 * Conventions are those of seesaw.h. Words: b = sequences, s = new tokens of each, h = heads. */
#ifndef SEESAW_LAYERS_H_
#define SEESAW_LAYERS_H_

#include "seesaw/seesaw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a call attends. */
typedef enum seesaw_mla_form {
  SEESAW_MLA_AUTO = 0,     /* the one that should be faster: expanded for prompts, else absorbed */
  SEESAW_MLA_ABSORBED = 1, /* by dense_decode, over the cache as it lies */
  SEESAW_MLA_EXPANDED = 2  /* keys and values of every head made from the cached latents */
} seesaw_mla_form;

/* A parameter by its published name: "kv_b_proj.weight". On the CPU, contiguous, float32, bfloat16
 * or float16. A matrix of uint8 is FP8 (e4m3) as DeepSeek-V3 publishes it: it comes with
 * "NAME_scale_inv", [ceil(n / 128), ceil(m / 128)] float32 or bfloat16, which its blocks of 128 x
 * 128 are multiplied by. */
typedef struct seesaw_named_tensor {
  const char* name SEESAW_ZERO;
  seesaw_tensor tensor SEESAW_ZERO;
} seesaw_named_tensor;

typedef struct seesaw_mla_layer_options {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_mla_layer_options);
  seesaw_device device SEESAW_ZERO; /* the CPU; a GPU is refused */
  /* of x and out, and of the weights as the layer keeps them: float32, bfloat16 or float16;
   * default: kv_a_proj_with_mqa.weight's, of FP8 bfloat16 */
  int32_t dtype SEESAW_ZERO;
  int32_t num_threads SEESAW_ZERO; /* 0 = as many as OpenMP would use */
  /* before the parameters' names; default: "", of a checkpoint "model.layers.N.self_attn." */
  const char* prefix SEESAW_ZERO;
} seesaw_mla_layer_options;

typedef struct seesaw_mla_layer_info {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_mla_layer_info);
  int64_t d_model SEESAW_ZERO;    /* hidden_size: columns of x and out */
  int64_t num_heads SEESAW_ZERO;  /* num_attention_heads */
  int64_t d_q_latent SEESAW_ZERO; /* q_lora_rank; 0: the query has one projection */
  int64_t d_latent SEESAW_ZERO;   /* kv_lora_rank */
  int64_t d_nope SEESAW_ZERO;     /* qk_nope_head_dim */
  int64_t d_rope SEESAW_ZERO;     /* qk_rope_head_dim */
  int64_t d_v SEESAW_ZERO;        /* v_head_dim: of a head, after up-projection */
  float scale SEESAW_ZERO;        /* of the scores, YaRN's factor included */
  int32_t dtype SEESAW_ZERO;
  uint64_t weight_bytes SEESAW_ZERO; /* that the layer holds */
} seesaw_mla_layer_info;

/* The tensors of one call, on the CPU. Every sequence has s new tokens in x, its last ones: those
 * at the places [seq_len - s, seq_len). Where seq_len < s, the first s - seq_len rows have no
 * token: they attend to nothing, and nothing is stored of them. */
typedef struct seesaw_mla_layer_args {
  uint64_t struct_size SEESAW_SIZE_OF(seesaw_mla_layer_args);
  seesaw_tensor x SEESAW_ZERO; /* [b, s, d_model], after the layer's input norm */
  /* [num_pages, page_size, 1, columns], as dense_decode has it: the new tokens' slots are written,
   * nothing else. Pages of places that are written belong to one sequence */
  seesaw_tensor kv_cache SEESAW_ZERO;
  seesaw_tensor block_table SEESAW_ZERO; /* [b, max_pages_per_sequence] int32 page ids */
  /* [b] int32: tokens of each sequence, the new ones included; negative counts as 0 */
  seesaw_tensor seq_lens SEESAW_ZERO;
  seesaw_tensor out SEESAW_ZERO; /* [b, s, d_model]; every element is written; may be x itself */
  /* [1] float32, for formats of one scale (fp8_576); data NULL: 1 */
  seesaw_tensor kv_scale SEESAW_ZERO;
  int32_t kv_format SEESAW_ZERO; /* seesaw_format; default: that of the cache's dtype */
  int32_t form SEESAW_ZERO;      /* seesaw_mla_form */
} seesaw_mla_layer_args;

typedef struct seesaw_mla_layer seesaw_mla_layer; /* opaque, immutable */

/* The message of this thread's last failure in this library. Never NULL. */
SEESAW_API const char* seesaw_layers_last_error(void);

/* A layer from a model's configuration, the text of its config.json, and its parameters. They are
 * copied; tensors with other names are left alone. *layer is the caller's to destroy.
 * SEESAW_INVALID_ARGUMENT: an entry of the configuration is missing, malformed or not computed here
 * (rope_scaling other than YaRN), a parameter is missing or has another shape. SEESAW_INVALID_TYPE:
 * a parameter has another dtype. SEESAW_NOT_SUPPORTED: a device that is not the CPU. */
SEESAW_API seesaw_status seesaw_layers_mla_create(const char* config_json,
                                                  const seesaw_named_tensor* tensors,
                                                  uint64_t num_tensors,
                                                  const seesaw_mla_layer_options* options,
                                                  seesaw_mla_layer** layer);

/* The same for layer number `index` of a published checkpoint: a folder with config.json and
 * safetensors files, by model.safetensors.index.json where that is, else all of them. Files are not
 * trusted: a damaged one is SEESAW_INVALID_ARGUMENT. */
SEESAW_API seesaw_status seesaw_layers_mla_from_checkpoint(const char* folder, int64_t index,
                                                           const seesaw_mla_layer_options* options,
                                                           seesaw_mla_layer** layer);
SEESAW_API void seesaw_layers_mla_destroy(seesaw_mla_layer* layer);

/* As much as info->struct_size holds. */
SEESAW_API seesaw_status seesaw_layers_mla_get_info(const seesaw_mla_layer* layer,
                                                    seesaw_mla_layer_info* info);

/* dtype and last dimension of a cache of this format for the layer: [num_pages, page_size, 1,
 * *columns]. kv_format 0: the layer's dtype. SEESAW_INVALID_ARGUMENT: a format of other columns. */
SEESAW_API seesaw_status seesaw_layers_mla_cache_row(const seesaw_mla_layer* layer,
                                                     int32_t kv_format, int32_t* dtype,
                                                     int64_t* columns);

/* Causal attention of the new tokens over themselves and the cached ones: [b, s, d_model] to [b, s,
 * d_model]. Waits until it is done. Shapes, lengths, page ids, formats and the memory that the call
 * takes are checked before anything is written. Allocates its intermediates. Same inputs, same
 * bits. Calls of several threads, with caches of their own, may share a layer. */
SEESAW_API seesaw_status seesaw_layers_mla_forward(const seesaw_mla_layer* layer,
                                                   const seesaw_mla_layer_args* args);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* SEESAW_LAYERS_H_ */
