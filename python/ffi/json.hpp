// Just enough JSON to hand lists and records to Python as one string, so that no container object
// of tvm-ffi, whose layout is not part of its ABI, crosses the boundary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace seesaw::python {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(int64_t number);
  JsonWriter& value(uint64_t number);
  // A double that holds a whole number, written as an integer: all its digits, of any size.
  JsonWriter& whole(double number);
  JsonWriter& boolean(bool flag);

  const std::string& text() const { return text_; }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();  // a comma, unless this is the first of its container or follows a key
  void append_string(std::string_view text);

  std::string text_;
};

}  // namespace seesaw::python
