// A little inference server on the CPU: sequences of random lengths arrive, grow token by token in
// pages of one pool, and leave; each step schedules and decodes. Memory that no sequence owns holds
// NaN, so that a read of it shows.
#pragma once

#include <cstdint>
#include <vector>

#include "lab/random.hpp"
#include "seesaw/ops/dense_decode.h"
#include "soak/soak.hpp"
#include "support/guarded_buffer.hpp"

namespace seesaw::soak {

struct ServerShape {
  int64_t slots = 1;  // sequences at a time
  int64_t max_tokens = 1;
  seesaw_dense_decode_problem problem{};
  seesaw_options options{};
};

// Shapes that a server may have: any of them, small.
ServerShape random_shape(lab::Random& random);

class DecodeServer {
 public:
  DecodeServer(const ServerShape& shape, uint64_t seed);

  // One decoding step. Throws std::runtime_error, with the seed, if anything is not as it should
  // be.
  void step();

  const Totals& totals() const { return totals_; }

 private:
  struct Sequence {
    int64_t length = 0;
    int64_t last = 0;  // leaves before it is longer
  };

  void arrive(size_t slot);
  void leave(size_t slot);
  void append_token(size_t slot);
  void fill_query();
  void decode();
  void run();
  void compare();
  void expect_refusal();
  [[noreturn]] void fail(const std::string& what) const;

  ServerShape shape_;
  uint64_t seed_;
  lab::Random random_;
  DenseDecode plan_;
  std::vector<Sequence> sequences_;
  std::vector<int32_t> free_pages_;
  std::vector<int32_t> block_table_;
  std::vector<int32_t> lengths_;
  std::vector<unsigned char> q_;
  std::vector<unsigned char> cache_;
  testing::GuardedBuffer out_;
  testing::GuardedBuffer lse_;
  testing::GuardedBuffer schedule_;
  testing::GuardedBuffer workspace_;
  seesaw_dense_decode_args args_;
  seesaw_call call_{};
  uint64_t steps_ = 0;
  Totals totals_;
};

}  // namespace seesaw::soak
