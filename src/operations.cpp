// All operations of the library: a new one adds its line, and its folder to ops/CMakeLists.txt.
#include "core/operation.hpp"
#include "ops/append/operation.hpp"
#include "ops/dense_decode/operation.hpp"
#include "ops/gather/operation.hpp"
#include "ops/merge_states/operation.hpp"
#include "ops/sparse_decode/operation.hpp"
#include "ops/sparse_prefill/operation.hpp"

namespace seesaw {

std::span<const Operation* const> operations() {
  static constexpr const Operation* kAll[] = {
      &dense_decode::kOperation, &merge_states::kOperation,  &append::kOperation,
      &gather::kOperation,       &sparse_decode::kOperation, &sparse_prefill::kOperation,
  };
  return kAll;
}

}  // namespace seesaw
