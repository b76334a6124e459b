// Prometheus' text exposition format (version 0.0.4), written without allocating.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "seesaw/seesaw.h"

namespace seesaw::engine {

// Appends to a caller's buffer, which it never overruns, and counts the most bytes that the same
// text could take with other numbers.
class PrometheusWriter {
 public:
  PrometheusWriter(char* buffer, uint64_t size) : buffer_(buffer), size_(size) {}

  PrometheusWriter& text(std::string_view text);
  PrometheusWriter& label_value(std::string_view text);  // quoted and escaped
  PrometheusWriter& help(std::string_view text);         // escaped
  PrometheusWriter& number(uint64_t value);
  PrometheusWriter& seconds(uint64_t nanoseconds);  // exact: "12.000000345"
  void terminate();  // with a zero, in the last byte if there is no room

  uint64_t most_bytes() const { return most_; }  // the zero included

 private:
  void write(std::string_view text);
  void escaped(std::string_view text, std::string_view special);

  char* buffer_;
  uint64_t size_;
  uint64_t used_ = 0;  // of the buffer
  uint64_t most_ = 0;
};

// Every metric of `rows`, HELP and TYPE lines included.
void write_prometheus(std::span<const seesaw_stats> rows, PrometheusWriter* writer);

}  // namespace seesaw::engine
