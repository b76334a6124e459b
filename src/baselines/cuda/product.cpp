#include "baselines/cuda/product.hpp"

#include <algorithm>

namespace seesaw::baselines {
namespace {

bool rows_are_contiguous(const View& view) { return view.stride[3] == 1 || view.shape[3] == 1; }
bool columns_are_contiguous(const View& view) { return view.stride[2] == 1 || view.shape[2] == 1; }

// A dimension of size 1 does not move: its stride is as good as 0.
int64_t stride_of(const View& view, size_t dim) {
  return view.shape[dim] == 1 ? 0 : view.stride[dim];
}

// Whether dimension `dim`'s matrices, stacked, are the rows of one matrix.
bool rows_stack(const View& view, size_t dim) {
  return rows_are_contiguous(view) && stride_of(view, dim) != 0 &&
         (view.shape[2] == 1 || view.stride[dim] == view.shape[2] * view.stride[2]);
}

void stack_rows(View& view, size_t dim) {
  view.stride[2] = view.shape[2] == 1 ? view.stride[dim] : view.stride[2];
  view.shape[2] *= view.shape[dim];
  view.shape[dim] = 1;
}

// One b for all matrices of dimension `dim`: a's and c's become rows, if they lie so.
void fold(Gemm& step, size_t dim) {
  const bool shared = stride_of(step.b, dim) == 0;
  if (shared && rows_stack(step.a, dim) && rows_stack(step.c, dim)) {
    stack_rows(step.a, dim);
    stack_rows(step.c, dim);
  }
}

Operand operand_of(const View& view) {
  Operand operand;
  operand.transposed = !rows_are_contiguous(view);
  const int64_t row_length = operand.transposed ? view.shape[2] : view.shape[3];
  const int64_t rows = operand.transposed ? view.shape[3] : view.shape[2];
  operand.row_stride = operand.transposed ? view.stride[3] : view.stride[2];
  if (rows == 1) {  // its stride may be anything, but cuBLASLt looks at it
    operand.row_stride = row_length;
  }
  return operand;
}

// Gives the two outer dimensions to the batch and to the loop.
void share_out(const Gemm& step, Product* product) {
  const int64_t outer = step.c.shape[0];
  const int64_t inner = step.c.shape[1];
  const View* views[] = {&step.a, &step.b, &step.c};
  Operand* operands[] = {&product->a, &product->b, &product->c};
  const bool one_stride = outer == 1 || inner == 1 ||
                          std::all_of(std::begin(views), std::end(views), [&](const View* view) {
                            return stride_of(*view, 0) == inner * stride_of(*view, 1);
                          });
  const bool batch_is_inner = one_stride ? inner > 1 : inner >= outer;
  product->batch = one_stride ? outer * inner : std::max(outer, inner);
  product->loops = one_stride ? 1 : std::min(outer, inner);
  for (size_t i = 0; i < 3; ++i) {
    operands[i]->batch_stride = stride_of(*views[i], batch_is_inner ? 1 : 0);
    operands[i]->loop_stride = one_stride ? 0 : stride_of(*views[i], batch_is_inner ? 0 : 1);
  }
}

bool strides_are_aligned(const Operand& operand, DType dtype) {
  const int64_t size = size_of(dtype);
  return operand.row_stride * size % kAlignedBytes == 0 &&
         operand.batch_stride * size % kAlignedBytes == 0 &&
         operand.loop_stride * size % kAlignedBytes == 0;
}

// Never larger, so that rows still fit their strides; 2 stays, as a vector is another product.
int64_t odd_size(int64_t size) { return size > 2 ? (size - 1) | 1 : size; }

void make_strides_odd(Operand& operand) {
  operand.row_stride |= 1;
  operand.batch_stride |= operand.batch_stride == 0 ? 0 : 1;
  operand.loop_stride |= operand.loop_stride == 0 ? 0 : 1;
}

}  // namespace

bool is_product(const Gemm& step) {
  const auto is_matrix = [](const View& view) {
    return rows_are_contiguous(view) || columns_are_contiguous(view);
  };
  return is_matrix(step.a) && is_matrix(step.b) && rows_are_contiguous(step.c) &&
         step.a.dtype == step.b.dtype;
}

Product product_of(const Gemm& step) {
  Gemm folded = step;
  fold(folded, 1);
  if (folded.c.shape[1] == 1) {
    fold(folded, 0);
  }
  Product product;
  product.m = folded.c.shape[2];
  product.n = folded.c.shape[3];
  product.k = folded.a.shape[3];
  product.a = operand_of(folded.a);
  product.b = operand_of(folded.b);
  product.c = operand_of(folded.c);
  share_out(folded, &product);
  product.in = step.a.dtype;
  product.out = step.c.dtype;
  product.bias = step.bias.present();
  product.accumulate = step.accumulate;
  return product;
}

Alignment alignment_of(const Product& product) {
  if (!strides_are_aligned(product.a, product.in) || !strides_are_aligned(product.b, product.in) ||
      !strides_are_aligned(product.c, product.out)) {
    return Alignment::kNone;
  }
  const int64_t in = size_of(product.in);
  const int64_t a_row = product.a.transposed ? product.m : product.k;
  const int64_t b_row = product.b.transposed ? product.k : product.n;
  const bool whole = a_row * in % kAlignedBytes == 0 && b_row * in % kAlignedBytes == 0 &&
                     product.n * size_of(product.out) % kAlignedBytes == 0;
  return whole ? Alignment::kWhole : Alignment::kRows;
}

Varying varying_between(const Product& one, const Product& other) {
  return {one.m != other.m, one.n != other.n, one.k != other.k};
}

Product weakened(const Product& product, Alignment alignment, const Varying& varying) {
  Product weak = product;
  if (alignment == Alignment::kWhole) {
    return weak;
  }
  weak.m = varying.m ? odd_size(weak.m) : weak.m;
  weak.n = varying.n ? odd_size(weak.n) : weak.n;
  weak.k = varying.k ? odd_size(weak.k) : weak.k;
  if (alignment == Alignment::kNone) {
    make_strides_odd(weak.a);
    make_strides_odd(weak.b);
    make_strides_odd(weak.c);
  }
  return weak;
}

}  // namespace seesaw::baselines
