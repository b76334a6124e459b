#include "baselines/cpu/products.hpp"

#include <algorithm>
#include <span>
#include <unordered_map>

namespace seesaw::baselines::cpu {
namespace {

using Memory = dnnl::memory;

Memory::data_type dnnl_dtype(DType dtype) {
  return dtype == DType::kBFloat16 ? Memory::data_type::bf16 : Memory::data_type::f32;
}

// Dimensions `used` of a view. A stride of a dimension of size 1 is free, but oneDNN wants each
// matrix dense in one of its two dimensions.
OperandLayout operand(const View& view, std::span<const size_t> used) {
  OperandLayout layout;
  layout.dtype = view.dtype;
  layout.rank = static_cast<int>(used.size());
  for (size_t i = 0; i < used.size(); ++i) {
    layout.dims[i] = view.shape[used[i]];
    layout.strides[i] = std::max<int64_t>(view.stride[used[i]], 1);
  }
  int64_t& rows = layout.strides[used.size() - 2];
  int64_t& columns = layout.strides[used.size() - 1];
  if (rows != 1 && columns != 1) {
    (view.shape[3] == 1 ? columns : rows) = 1;
  }
  return layout;
}

bool same_value(int64_t planned, int64_t actual) {
  return planned == DNNL_RUNTIME_DIM_VAL || planned == actual;
}

bool fits(const OperandLayout& planned, const OperandLayout& actual) {
  return planned.rank == actual.rank && planned.dtype == actual.dtype &&
         std::equal(planned.dims, planned.dims + planned.rank, actual.dims, same_value) &&
         std::equal(planned.strides, planned.strides + planned.rank, actual.strides, same_value);
}

// What both say; DNNL_RUNTIME_DIM_VAL where they differ.
OperandLayout common(const OperandLayout& first, const OperandLayout& second) {
  OperandLayout both = first;
  for (int i = 0; i < first.rank; ++i) {
    both.dims[i] = first.dims[i] == second.dims[i] ? first.dims[i] : DNNL_RUNTIME_DIM_VAL;
    both.strides[i] =
        first.strides[i] == second.strides[i] ? first.strides[i] : DNNL_RUNTIME_DIM_VAL;
  }
  return both;
}

Memory::desc description(const OperandLayout& layout) {
  if (layout.rank == 0) {
    return {};
  }
  const auto vector_of = [&](const dnnl_dims_t& values) {
    return Memory::dims(values, values + layout.rank);
  };
  return {vector_of(layout.dims), dnnl_dtype(layout.dtype), vector_of(layout.strides)};
}

}  // namespace

ProductLayout layout_of(const Gemm& step) {
  static constexpr size_t kMatrix[] = {2, 3};
  static constexpr size_t kHeads[] = {1, 2, 3};
  static constexpr size_t kSequences[] = {0, 2, 3};
  static constexpr size_t kAll[] = {0, 1, 2, 3};
  const bool one_sequence = step.c.shape[0] == 1;
  const bool one_head = step.c.shape[1] == 1;
  const std::span<const size_t> used = one_sequence && one_head ? std::span<const size_t>(kMatrix)
                                       : one_sequence           ? std::span<const size_t>(kHeads)
                                       : one_head ? std::span<const size_t>(kSequences)
                                                  : std::span<const size_t>(kAll);
  ProductLayout layout{.a = operand(step.a, used),
                       .b = operand(step.b, used),
                       .c = operand(step.c, used),
                       .bias = {},
                       .accumulate = step.accumulate};
  if (step.bias.present()) {
    layout.bias = operand(step.bias, used);
    // Its rows are one row: any stride does, oneDNN wants that of a packed matrix.
    std::fill(layout.bias.strides, layout.bias.strides + used.size() - 1, step.bias.shape[3]);
  }
  return layout;
}

Product::Product(const ProductLayout& first, const ProductLayout& second,
                 const dnnl::engine& engine)
    : planned_{common(first.a, second.a), common(first.b, second.b), common(first.c, second.c),
               common(first.bias, second.bias), first.accumulate},
      engine_(engine) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (planned_.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  const Memory::desc a = description(planned_.a);
  const Memory::desc b = description(planned_.b);
  const Memory::desc c = description(planned_.c);
  const dnnl::matmul::desc product = planned_.bias.rank == 0
                                         ? dnnl::matmul::desc(a, b, c)
                                         : dnnl::matmul::desc(a, b, description(planned_.bias), c);
  const dnnl::matmul::primitive_desc prepared(product, attributes, engine);
  product_ = dnnl::matmul(prepared);
  scratch_ = prepared.scratchpad_desc();
}

Status Product::run(const Gemm& step, void* scratch, const dnnl::stream& stream) const {
  const ProductLayout layout = layout_of(step);
  if (!fits(planned_.a, layout.a) || !fits(planned_.b, layout.b) || !fits(planned_.c, layout.c) ||
      !fits(planned_.bias, layout.bias) || planned_.accumulate != layout.accumulate) {
    return {StatusCode::kInternalError,
            "baselines: a product of another shape than planned, allowed: the shapes that planning "
            "saw. Report it with the problem."};
  }
  const auto memory = [&](const OperandLayout& operand, void* data) {
    return Memory(description(operand), engine_, data);
  };
  std::unordered_map<int, Memory> arguments{
      {DNNL_ARG_SRC, memory(layout.a, step.a.data)},
      {DNNL_ARG_WEIGHTS, memory(layout.b, step.b.data)},
      {DNNL_ARG_DST, memory(layout.c, step.c.data)},
      {DNNL_ARG_SCRATCHPAD, Memory(scratch_, engine_, scratch)}};
  if (layout.bias.rank != 0) {
    arguments.emplace(DNNL_ARG_BIAS, memory(layout.bias, step.bias.data));
  }
  product_.execute(stream, arguments);
  return {};
}

bool has_products_of(DType dtype) {
  // Below AVX-512 oneDNN 2.6 has only a reference loop for bfloat16; for float16 nothing anywhere.
  static const bool has_bfloat16 = (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) &
                                    static_cast<unsigned>(dnnl::cpu_isa::avx512_core)) ==
                                   static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return dtype == DType::kFloat32 || (dtype == DType::kBFloat16 && has_bfloat16);
}

}  // namespace seesaw::baselines::cpu
