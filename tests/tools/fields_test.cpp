// Fields of the ABI's structs by table: from text and back, defaults, flags.
#include "fields.hpp"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "options.hpp"

namespace seesaw::tools {
namespace {

const Field& field(const std::vector<Field>& fields, const std::string& name) {
  for (const Field& known : fields) {
    if (known.name == name) {
      return known;
    }
  }
  throw std::runtime_error("no field " + name);
}

const Field& of_problem(const std::string& name) { return field(dense_decode().problem, name); }

TEST(Fields, EveryChoiceIsReadAsItIsShown) {
  seesaw_dense_decode_problem problem;
  for (const Field& each : dense_decode().problem) {
    for (const auto& [name, value] : each.choices) {
      parse_field(each, name, &problem, "test");
      EXPECT_EQ(get_number(each, &problem), value) << each.name;
      EXPECT_EQ(field_text(each, &problem), name) << each.name;
    }
  }
}

TEST(Fields, EndsOfARangeAreInItAndTheirNeighboursAreNot) {
  seesaw_dense_decode_problem problem;
  for (const Field& each : dense_decode().problem) {
    if (!each.is_whole()) {
      continue;
    }
    for (const int64_t value : {each.least, each.most}) {
      parse_field(each, std::to_string(value), &problem, "test");
      EXPECT_EQ(get_number(each, &problem), value) << each.name;
    }
    for (const int64_t value : {each.least - 1, each.most + 1}) {
      EXPECT_THROW(parse_field(each, std::to_string(value), &problem, "test"), Failure);
    }
    for (const char* text : {"", "1x", "1.0", "99999999999999999999"}) {
      EXPECT_THROW(parse_field(each, text, &problem, "test"), Failure) << text;
    }
  }
}

TEST(Fields, ShortWordsAreUnderstood) {
  seesaw_dense_decode_problem problem;
  parse_field(of_problem("q_dtype"), "fp16", &problem, "test");
  parse_field(of_problem("kv_format"), "fp32", &problem, "test");
  parse_field(of_problem("causal"), "True", &problem, "test");
  EXPECT_EQ(problem.q_dtype, SEESAW_FLOAT16);
  EXPECT_EQ(problem.kv_format, SEESAW_FORMAT_FLOAT32);
  EXPECT_EQ(problem.causal, 1);
  EXPECT_EQ(field_json(of_problem("causal"), &problem), true);
}

TEST(Fields, OptionsHoldTextAndDevices) {
  seesaw_options options;
  parse_field(field(description().options, "kernel"), std::string("a") + ".b", &options, "test");
  parse_field(field(description().options, "device"), "cuda:3", &options, "test");
  EXPECT_STREQ(options.kernel, "a.b");
  EXPECT_EQ(options.device.type, SEESAW_CUDA);
  EXPECT_EQ(options.device.index, 3);
  EXPECT_EQ(fields_json(description().options, &options)["device"], "cuda:3");
  for (const char* text : {"cuda:", "cuda:-1", "cuda:1x", "tpu", ""}) {
    EXPECT_THROW(parse_device(text), Failure) << text;
  }
}

TEST(Fields, WhatInputsTell) {
  for (const char* name : {"q_dtype", "kv_format", "batch", "s_q", "h_q", "h_kv", "d_qk",
                           "page_size", "max_pages_per_sequence", "kv_token_stride"}) {
    EXPECT_TRUE(dense_decode().told_by_inputs(of_problem(name))) << name;
  }
  for (const char* name : {"d_v", "causal", "lse_base", "empty_lse"}) {
    EXPECT_FALSE(dense_decode().told_by_inputs(of_problem(name))) << name;
  }
}

TEST(Fields, CompleteFillsInWhatFollows) {
  const seesaw_dense_decode_problem usual = complete({.batch = 1, .h_q = 16});
  EXPECT_EQ(usual.d_qk, 576);
  EXPECT_EQ(usual.d_v, 512);
  EXPECT_EQ(usual.kv_format, SEESAW_FORMAT_BFLOAT16);
  const seesaw_dense_decode_problem narrow =
      complete({.q_dtype = SEESAW_FLOAT16, .batch = 1, .h_q = 16, .d_qk = 320});
  EXPECT_EQ(narrow.d_v, 320);
  EXPECT_EQ(narrow.kv_format, SEESAW_FORMAT_FLOAT16);
  EXPECT_THROW(complete({.batch = 1, .h_q = 16, .h_kv = 3}), Error);
}

TEST(Flags, SetFieldsAndKnowWhichWereGiven) {
  CLI::App app;
  seesaw_dense_decode_problem problem{.batch = 8, .h_q = 128};
  add_problem_flags(app, &problem, {"d_v"});
  for (const Field& each : dense_decode().problem) {
    if (!each.flag.empty()) {
      EXPECT_EQ(app.get_option_no_throw(each.first_flag()) != nullptr, each.name != "d_v");
    }
  }
  app.parse("--heads 16 --kv fp16 --causal --lse-base e");
  EXPECT_EQ(problem.h_q, 16);
  EXPECT_EQ(problem.batch, 8);
  EXPECT_EQ(problem.causal, 1);
  EXPECT_EQ(given_arguments(app, dense_decode().problem, &problem),
            (std::vector<std::string>{"--kv-format", "float16", "--heads", "16", "--causal",
                                      "--lse-base", "e"}));
  seesaw_dense_decode_problem other{.batch = 3, .h_q = 4, .lse_base = SEESAW_LSE_BASE2};
  copy_given(app, dense_decode().problem, &problem, &other);
  EXPECT_EQ(other.batch, 3);
  EXPECT_EQ(other.h_q, 16);
  EXPECT_EQ(other.lse_base, SEESAW_LSE_NATURAL);
  EXPECT_THROW(app.parse("--heads 0"), Failure);
}

}  // namespace
}  // namespace seesaw::tools
