// Attention with a clock: the same steps and bits, each step noted. The kernel itself
// contains nothing of this: it calls its microkernel through a table, and a traced run gives it a
// table of its own. Steps: "query" (packing the query rows), "pack" (keys and values), "scores",
// "softmax", "accumulate", "store", "wait" (for the other workers), "merge". With few rows
// (README.md, [2]) values are not packed but paired inside "accumulate".

#include <omp.h>

#include <chrono>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include "attention/cpu/job.hpp"
#include "base/fork.hpp"
#include "cpu/select.hpp"

namespace seesaw::attention::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// Memory for spans is taken before the workers start: nothing may throw in a parallel region.
constexpr size_t kSpansPerWorker = 1 << 14;
constexpr double kSameSpanGapUs = 1.0;  // neighbours of one step this close are one span

// One worker's notes.
struct Recorder {
  const Microkernel* kernel = nullptr;  // the real one
  Clock::time_point start;
  int32_t worker = 0;
  int32_t sequence = -1;
  int32_t tile = -1;
  std::vector<TraceSpan> spans;
  uint64_t dropped = 0;

  double now_us() const {
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  }

  void add(const char* step, double begin_us, double end_us) {
    if (!spans.empty()) {
      TraceSpan& last = spans.back();
      if (last.step == std::string_view(step) && last.sequence == sequence && last.tile == tile &&
          begin_us - last.end_us < kSameSpanGapUs) {
        last.end_us = end_us;
        return;
      }
    }
    if (spans.size() == spans.capacity()) {
      ++dropped;
      return;
    }
    spans.push_back({step, worker, 0, sequence, 0, tile, 0, begin_us, end_us});
  }
};

thread_local Recorder* recorder = nullptr;  // of the worker that this thread is just now

// Notes a step from here to the end of the scope.
class Step {
 public:
  explicit Step(const char* name) : name_(name), begin_us_(recorder->now_us()) {}
  ~Step() { recorder->add(name_, begin_us_, recorder->now_us()); }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

 private:
  const char* name_;
  double begin_us_;
};

void pack_query(const PackedLayout& layout, const void* const* rows, DType dtype, uint32_t* query) {
  const Step step("query");
  recorder->kernel->pack_query(layout, rows, dtype, query);
}

void pack_keys(const PackedLayout& layout, const TokenRun& run, DType dtype, int64_t begin,
               uint32_t* keys) {
  const Step step("pack");
  recorder->kernel->pack_keys(layout, run, dtype, begin, keys);
}

void pack_records(const PackedLayout& layout, const CacheFormat& format, const RecordRun& run,
                  int64_t begin, uint32_t* keys) {
  const Step step("pack");
  recorder->kernel->pack_records(layout, format, run, begin, keys);
}

void pack_values(const PackedLayout& layout, const PackedTokens& tokens, int64_t begin) {
  const Step step("pack");
  recorder->kernel->pack_values(layout, tokens, begin);
}

void scores(const PackedLayout& layout, const ScoreTask& task) {
  const Step step("scores");
  recorder->kernel->scores(layout, task);
}

void softmax(const SoftmaxTask& task) {
  const Step step("softmax");
  recorder->kernel->softmax(task);
}

void accumulate(const PackedLayout& layout, const AccumulateTask& task) {
  const Step step("accumulate");
  recorder->kernel->accumulate(layout, task);
}

void store_row(const float* values, float factor, int64_t count, DType dtype, void* out) {
  const Step step("store");
  recorder->kernel->store_row(values, factor, count, dtype, out);
}

Microkernel with_clock(const Microkernel& kernel) {
  Microkernel timed = kernel;
  timed.pack_query = pack_query;
  timed.pack_keys = pack_keys;
  timed.pack_records = pack_records;
  timed.pack_values = pack_values;
  timed.scores = scores;
  timed.softmax = softmax;
  timed.accumulate = accumulate;
  timed.store_row = store_row;
  return timed;
}

// Does a worker's pieces one by one, so that each step is noted with its piece. `one_piece` has
// num_workers entries.
void do_pieces_noted(const Job& job, Recorder& notes, std::vector<split::WorkerPieces>& one_piece) {
  Job single = job;
  single.schedule.worker_pieces = one_piece.data();
  const split::WorkerPieces* pieces = job.schedule.worker_pieces + notes.worker;
  const auto worker = static_cast<size_t>(notes.worker);
  for (int32_t piece = pieces->begin; piece < pieces->end; ++piece) {
    notes.sequence = job.schedule.pieces[piece].sequence;
    notes.tile = job.schedule.pieces[piece].tile_begin;
    one_piece[worker].begin = piece;
    one_piece[worker].end = piece + 1;
    do_pieces(single, notes.worker);
  }
  notes.sequence = -1;
  notes.tile = -1;
}

bool merges_anything(const Job& job) {
  for (int64_t item = 0; item < job.call.items; ++item) {
    const int32_t* bounds = job.schedule.item_piece_begin + item;
    if (bounds[1] - bounds[0] > 1) {
      return true;
    }
  }
  return false;
}

}  // namespace

void trace(const Plan& plan, const Call& call, Trace* trace) {
  const Microkernel& kernel = microkernel_of(plan);
  const Microkernel timed = with_clock(kernel);
  const Job job = make_job(plan, call, kernel);
  const Job timed_job = make_job(plan, call, timed);
  const int32_t workers = plan.split.num_workers;
  const bool merges = merges_anything(job);
  std::vector<Recorder> notes(static_cast<size_t>(workers));
  std::vector<std::vector<split::WorkerPieces>> one_piece(
      notes.size(), std::vector<split::WorkerPieces>(notes.size()));
  for (size_t i = 0; i < notes.size(); ++i) {
    notes[i].kernel = &kernel;
    notes[i].worker = static_cast<int32_t>(i);
    notes[i].spans.reserve(kSpansPerWorker);
  }
  const Clock::time_point start = Clock::now();
  for (Recorder& worker : notes) {
    worker.start = start;
  }
  // As run: a thread may be several workers.
#pragma omp parallel num_threads(threads_here(threads_of(plan)))
  {
    const int32_t threads = omp_get_num_threads();
    for (int32_t worker = omp_get_thread_num(); worker < workers; worker += threads) {
      const auto index = static_cast<size_t>(worker);
      recorder = &notes[index];
      do_pieces_noted(timed_job, notes[index], one_piece[index]);
    }
    const double done_us = notes[0].now_us();
#pragma omp barrier
    const double all_done_us = notes[0].now_us();
    for (int32_t worker = omp_get_thread_num(); worker < workers; worker += threads) {
      const auto index = static_cast<size_t>(worker);
      recorder = &notes[index];
      notes[index].add("wait", done_us, all_done_us);
      const double begin_us = notes[index].now_us();
      merge_partials(job, worker);
      if (merges) {
        notes[index].add("merge", begin_us, notes[index].now_us());
      }
    }
    recorder = nullptr;
  }
  for (const Recorder& worker : notes) {
    trace->spans.insert(trace->spans.end(), worker.spans.begin(), worker.spans.end());
    trace->dropped += worker.dropped;
  }
}

}  // namespace seesaw::attention::cpu
