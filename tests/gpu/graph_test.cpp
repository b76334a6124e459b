// CUDA graphs and streams: schedule and run captured once, replayed with other lengths; calls on
// two streams at once.
#include <gtest/gtest.h>

#include <cstring>

#include "dense_case.hpp"
#include "graph.hpp"

namespace seesaw::gpu_test {
namespace {

DenseCase graph_case() {
  DenseCase c;
  c.b = 16;
  c.s_q = 2;
  c.s_k = 4000;
  c.h_q = 64;
  c.lengths = Lengths::kVaried;
  c.spare_pages = 1100;  // for any lengths that a replay brings
  return c;
}

TEST(Graphs, ReplayWithChangedLengths) {
  const DenseCase c = graph_case();
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.poison_results();
  const Graph graph(run.stream(), [&] {
    run.schedule();
    run.run();
    run.run();  // a second layer with the same schedule
  });
  graph.replay();
  EXPECT_EQ(verdict(c, run.compare()), "");
  for (uint64_t seed = 2; seed < 8; ++seed) {
    DenseCase next = c;
    next.seed = seed;
    next.lengths = seed % 2 == 0 ? Lengths::kVaried : Lengths::kFixed;
    run.change_lengths(make_lengths(next));
    run.poison_results();
    graph.replay();
    EXPECT_EQ(verdict(c, run.compare()), "") << seed;
  }
}

// A server pads its graphs: the rest of the batch has length 0.
TEST(Graphs, ReplayWithASmallerBatch) {
  const DenseCase c = graph_case();
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.poison_results();
  const Graph graph(run.stream(), [&] {
    run.schedule();
    run.run();
  });
  for (const size_t live : {size_t{1}, size_t{5}, size_t{0}}) {
    std::vector<int32_t> lengths(16, 0);
    for (size_t i = 0; i < live; ++i) {
      lengths[i] = 4000 - static_cast<int32_t>(i) * 700;
    }
    run.change_lengths(lengths);
    run.poison_results();
    graph.replay();
    EXPECT_EQ(verdict(c, run.compare()), "") << live;
  }
}

TEST(Graphs, CapturedForFewerSequencesThanPlanned) {
  DenseCase c = graph_case();
  c.max_batch = 64;
  c.b = 5;
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.poison_results();
  const Graph graph(run.stream(), [&] {
    run.schedule();
    run.run();
  });
  graph.replay();
  EXPECT_EQ(verdict(c, run.compare()), "");
}

TEST(Streams, TwoAtOnceGiveTheBitsOfOne) {
  DenseRun runs[2];
  std::vector<uint16_t> alone[2];
  DenseCase cases[2] = {graph_case(), graph_case()};
  cases[0].h_q = 16;
  cases[1].h_q = 128;
  cases[1].seed = 9;
  for (int i = 0; i < 2; ++i) {
    runs[i].prepare(cases[i]);
    runs[i].plan();
    runs[i].poison_results();
    runs[i].schedule();
    runs[i].run();
    alone[i] = runs[i].out_bits();
    EXPECT_EQ(verdict(cases[i], runs[i].compare()), "");
    runs[i].poison_results();
  }
  for (int repeat = 0; repeat < 50; ++repeat) {
    for (DenseRun& run : runs) {
      run.schedule();
      run.run();
    }
  }
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(runs[i].out_bits(), alone[i]) << i;
  }
}

TEST(Streams, TheDefaultStreamWorksToo) {
  DenseCase c = graph_case();
  DenseRun run;
  run.prepare(c);
  run.plan();
  run.poison_results();
  run.stream().wait();
  run.call().stream = nullptr;
  run.schedule();
  run.run();
  must(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  EXPECT_EQ(verdict(c, run.compare()), "");
}

}  // namespace
}  // namespace seesaw::gpu_test
