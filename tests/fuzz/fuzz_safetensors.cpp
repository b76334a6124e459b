// Any bytes, read as a safetensors file and then as a case: refused with a message, or inside the
// file. AddressSanitizer sees reads beyond the input.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "case.hpp"
#include "error.hpp"
#include "io/safetensors.hpp"
#include "lab/elements.hpp"

namespace {

void require(bool truth) {
  if (!truth) {
    __builtin_trap();
  }
}

// Four parts: "where: arrived, allowed. advice", and the exit code of bad input.
void check_refusal(const seesaw::tools::Failure& failure) {
  const std::string message = failure.what();
  require(failure.code() == seesaw::tools::ExitCode::kBadInput);
  require(message.rfind("fuzz", 0) == 0 && message.find(": ") != std::string::npos);
  require(message.size() < 1000 && message.back() == '.');
}

// Sums every byte of a tensor, so that each is read.
void read_all(const std::byte* data, uint64_t size_bytes) {
  volatile uint8_t sum = 0;
  for (uint64_t i = 0; i < size_bytes; ++i) {
    sum = static_cast<uint8_t>(sum + std::to_integer<uint8_t>(data[i]));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seesaw::tools;
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const SafetensorsHeader header = parse_safetensors(file, "fuzz");
    for (const TensorEntry& entry : header.tensors) {
      read_all(file.data() + header.data_begin + entry.begin, entry.end - entry.begin);
    }
    const Case result = read_case(header, file.data() + header.data_begin, 1 << 20, "fuzz");
    for (const seesaw_tensor& tensor : {result.args.q, result.args.kv_cache}) {
      read_all(static_cast<const std::byte*>(tensor.data), seesaw::lab::packed_bytes(tensor));
    }
    const auto entries =
        static_cast<size_t>(result.problem.batch * result.problem.max_pages_per_sequence);
    require(result.block_table.size() == entries);
    require(result.seq_lens.size() == static_cast<size_t>(result.problem.batch));
    int64_t query_tokens = 0;
    for (const int32_t tokens : result.query_lens()) {
      require(tokens >= 0 && tokens <= result.problem.s_q);
      query_tokens += tokens;
    }
    require(result.problem.ragged == 0 || query_tokens == result.args.q.shape[0]);
  } catch (const Failure& failure) {
    check_refusal(failure);
  }
  return 0;
}
