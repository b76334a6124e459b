#include "gpu/trace.hpp"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <ranges>
#include <vector>

#include "gpu/device.hpp"
#include "gpu/faults.hpp"
#include "gpu/stamp.hpp"

namespace seesaw::gpu {
namespace {

struct DeviceFree {
  void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, DeviceFree>;

Status allocate(const TracedCall& call, size_t bytes, DeviceMemory* memory) {
  void* address = nullptr;
  SEESAW_RETURN_IF_ERROR(
      status_of(cudaMalloc(&address, bytes), call.where, "allocating room for the marks"));
  memory->reset(address);
  return status_of(cudaMemsetAsync(address, 0, bytes, call.stream), call.where,
                   "clearing the marks");
}

// What came back from the device.
struct Recorded {
  std::vector<TraceBlock> blocks;       // [worker][thread block of the worker]
  unsigned long long times_ns[2] = {};  // before attention, after the combine
  std::vector<std::byte> schedule;
};

Status record(const TracedCall& call, Recorded* recorded) {
  const auto must = [&](cudaError_t error, const char* what) {
    return status_of(error, call.where, what);
  };
  const auto copy_back = [&](void* to, const void* from, size_t bytes) {
    return must(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, call.stream),
                "copying the marks back");
  };
  recorded->blocks.resize(static_cast<size_t>(call.split.num_workers * call.blocks_of_worker));
  const size_t block_bytes = recorded->blocks.size() * sizeof(TraceBlock);
  DeviceMemory blocks;
  DeviceMemory times;
  SEESAW_RETURN_IF_ERROR(allocate(call, block_bytes, &blocks));
  SEESAW_RETURN_IF_ERROR(allocate(call, sizeof(recorded->times_ns), &times));
  auto* time = static_cast<unsigned long long*>(times.get());
  SEESAW_RETURN_IF_ERROR(
      must(call.set_blocks(static_cast<TraceBlock*>(blocks.get())), "naming the marks"));
  SEESAW_RETURN_IF_ERROR(must(cudaStreamSynchronize(call.stream), "waiting for what came before"));
  SEESAW_RETURN_IF_ERROR(must(launch_stamp(time, call.stream), "launching a stamp"));
  SEESAW_RETURN_IF_ERROR(call.attend());
  SEESAW_RETURN_IF_ERROR(call.combine());
  SEESAW_RETURN_IF_ERROR(must(launch_stamp(time + 1, call.stream), "launching a stamp"));
  SEESAW_RETURN_IF_ERROR(must(cudaStreamSynchronize(call.stream), "the traced call"));
  SEESAW_RETURN_IF_ERROR(take_fault(call.device, call.where));
  SEESAW_RETURN_IF_ERROR(copy_back(recorded->blocks.data(), blocks.get(), block_bytes));
  SEESAW_RETURN_IF_ERROR(copy_back(recorded->times_ns, time, sizeof(recorded->times_ns)));
  recorded->schedule.resize(split::schedule_bytes(call.split));
  SEESAW_RETURN_IF_ERROR(
      copy_back(recorded->schedule.data(), call.schedule, recorded->schedule.size()));
  return must(cudaStreamSynchronize(call.stream), "copying the marks back");
}

// The step of a tile that ends with a mark; null: none does.
const char* step_of(TileMark mark) {
  switch (mark) {
    case TileMark::kBegun:
      return nullptr;
    case TileMark::kHalfLanded:
      return "wait for tile";
    case TileMark::kScored:
      return "score";
    case TileMark::kPStored:
      return "softmax";
    case TileMark::kMultiplied:
      return "multiply";
    case TileMark::kOtherStored:
      return "wait for the other's softmax";
    case TileMark::kTurn:
      return "wait for its turn";
    case TileMark::kOtherMultiplied:
      return "multiply the other's";
    case TileMark::kRoom:
    case TileMark::kLastRoom:
      return "wait for room";
    case TileMark::kAsked:
    case TileMark::kLastAsked:
      return "ask for rows";
    case TileMark::kLanded:
    case TileMark::kLastLanded:
      return "wait for rows";
    case TileMark::kAnnounced:
    case TileMark::kLastAnnounced:
      return "convert and announce";
    case TileMark::kFound:
      return "find rows";
  }
  return nullptr;
}

// Turns an SM's clock into microseconds since the first stamp. The device's time moves in steps of
// up to a microsecond, so the rate comes from all blocks together.
class Timescale {
 public:
  explicit Timescale(const Recorded& recorded) : start_ns_(recorded.times_ns[0]) {
    double ns = 0;
    double cycles = 0;
    for (const TraceBlock& block : recorded.blocks) {
      if (block.left_clock > block.entered_clock) {
        ns += static_cast<double>(block.left_ns - block.entered_ns);
        cycles += static_cast<double>(block.left_clock - block.entered_clock);
      }
    }
    us_a_cycle_ = cycles > 0 ? ns / cycles * 1e-3 : 0;
  }

  double us(const TraceBlock& block, unsigned long long clock) const {
    const double cycles = static_cast<double>(clock) - static_cast<double>(block.entered_clock);
    return time_us(block.entered_ns) + cycles * us_a_cycle_;
  }
  double time_us(unsigned long long time_ns) const {
    return (static_cast<double>(time_ns) - static_cast<double>(start_ns_)) * 1e-3;
  }

 private:
  unsigned long long start_ns_;
  double us_a_cycle_ = 0;
};

// Spans of one lane.
class LaneSpans {
 public:
  LaneSpans(const TraceBlock& block, int lane, const Timescale& scale, TraceSpan base, Trace* trace)
      : block_(block), lane_(lane), scale_(scale), base_(base), trace_(trace) {}

  void start() {
    base_.sequence = -1;
    base_.tile = -1;
    add("start", clock(0, Mark::kEntered), clock(0, Mark::kGo));
  }

  void piece(int index, const split::Piece& piece) {
    base_.sequence = piece.sequence;
    base_.row_group = piece.row_group;
    base_.tile = piece.tile_begin;
    // The next piece's first scores are issued before the last one is written out, and waited for
    // afterwards.
    const unsigned long long before =
        index == 0 ? clock(0, Mark::kGo) : clock(index - 1, Mark::kFinished);
    const unsigned long long opened = std::max(before, clock(index, Mark::kOpened));
    const unsigned long long first_pair = clock(index, Mark::kFirstPair);
    const unsigned long long tiles_done = clock(index, Mark::kTilesDone);
    if (index == 0) {
      add("query copy", before, opened);
    }
    add("first tile", opened, clock(index, Mark::kScored));
    if (first_pair != 0) {
      add("first pair", clock(index, Mark::kScored), first_pair);
      add("steady", first_pair, tiles_done);
    }
    add("epilogue", tiles_done, clock(index, Mark::kFinished));
  }

 private:
  unsigned long long clock(int piece, Mark mark) const {
    return block_.clock[lane_][piece][static_cast<int>(mark)];
  }
  void add(const char* step, unsigned long long begin, unsigned long long end) {
    if (begin == 0 || end <= begin) {
      return;  // not reached, or nothing between
    }
    base_.step = step;
    base_.begin_us = scale_.us(block_, begin);
    base_.end_us = scale_.us(block_, end);
    trace_->spans.push_back(base_);
  }

  const TraceBlock& block_;
  int lane_;
  const Timescale& scale_;
  TraceSpan base_;
  Trace* trace_;
};

// Spans of the tiles of one lane: a step begins where the lane's step before ended, or where a
// piece began or ended meanwhile.
void add_tile_spans(const TraceBlock& block, int lane, const Timescale& scale, TraceSpan base,
                    Trace* trace) {
  struct Reached {
    unsigned long long clock;
    const char* step;
    int32_t tile;
  };
  std::vector<Reached> reached;
  for (int32_t tile = 0; tile < kTracedTiles; ++tile) {
    for (int mark = 0; mark < kTileMarks; ++mark) {
      if (const unsigned long long clock = block.tile_clock[lane][tile][mark]; clock != 0) {
        reached.push_back({clock, step_of(static_cast<TileMark>(mark)), tile});
      }
    }
  }
  if (reached.empty()) {
    return;
  }
  const auto add_piece_mark = [&](int piece_lane, int piece, Mark mark) {
    if (const auto clock = block.clock[piece_lane][piece][static_cast<int>(mark)]; clock != 0) {
      reached.push_back({clock, nullptr, -1});
    }
  };
  add_piece_mark(0, 0, Mark::kGo);
  for (int piece = 0; lane < kTracedLanes && piece < kTracedPieces; ++piece) {
    for (const Mark mark : {Mark::kOpened, Mark::kTilesDone, Mark::kFinished}) {
      add_piece_mark(lane, piece, mark);
    }
  }
  std::ranges::stable_sort(reached, {}, &Reached::clock);
  for (size_t i = 1; i < reached.size(); ++i) {
    if (reached[i].step != nullptr && reached[i].clock > reached[i - 1].clock) {
      base.step = reached[i].step;
      base.tile = reached[i].tile;
      base.begin_us = scale.us(block, reached[i - 1].clock);
      base.end_us = scale.us(block, reached[i].clock);
      trace->spans.push_back(base);
    }
  }
}

void add_device_spans(const Recorded& recorded, const Timescale& scale, Trace* trace) {
  double first_us = scale.time_us(recorded.times_ns[1]);
  double last_us = 0;
  for (const TraceBlock& block : recorded.blocks) {
    if (block.left_ns != 0) {
      first_us = std::min(first_us, scale.time_us(block.entered_ns));
      last_us = std::max(last_us, scale.time_us(block.left_ns));
    }
  }
  TraceSpan span{};
  span.worker = -1;
  span.sequence = -1;
  span.tile = -1;
  span.step = "launch";
  span.end_us = first_us;
  trace->spans.push_back(span);
  span.step = "combine";
  span.begin_us = last_us;
  span.end_us = scale.time_us(recorded.times_ns[1]);
  trace->spans.push_back(span);
}

void add_spans(const TracedCall& call, Recorded& recorded, Trace* trace) {
  const Timescale scale(recorded);
  const split::ScheduleView schedule = split::schedule_view(recorded.schedule.data(), call.split);
  add_device_spans(recorded, scale, trace);
  for (int32_t worker = 0; worker < call.split.num_workers; ++worker) {
    const int32_t begin = schedule.worker_pieces[worker].begin;
    const int32_t end = schedule.worker_pieces[worker].end;
    const int32_t rest = schedule.worker_pieces[worker].rest;
    const int32_t pieces = end - begin + (rest >= 0 ? 1 : 0);
    trace->dropped += static_cast<uint64_t>(std::max(pieces - kTracedPieces, 0));
    for (int32_t part = 0; part < call.lanes * call.blocks_of_worker; ++part) {
      const auto block = static_cast<size_t>(worker * call.blocks_of_worker + part / call.lanes);
      TraceSpan base{};
      base.worker = worker;
      base.part = part;
      LaneSpans lane(recorded.blocks[block], part % call.lanes, scale, base, trace);
      lane.start();
      for (int32_t i = 0; i < std::min(pieces, kTracedPieces); ++i) {
        lane.piece(i, schedule.pieces[begin + i < end ? begin + i : rest]);
      }
    }
    for (int32_t part = 0; part < kTileLanes * call.blocks_of_worker; ++part) {
      const auto block = static_cast<size_t>(worker * call.blocks_of_worker + part / kTileLanes);
      TraceSpan base{};
      base.worker = worker;
      base.part = call.lanes * call.blocks_of_worker + part;
      base.sequence = -1;
      base.row_group = -1;
      base.of_tile = 1;
      add_tile_spans(recorded.blocks[block], part % kTileLanes, scale, base, trace);
    }
  }
}

}  // namespace

Status trace_call(const TracedCall& call, Trace* trace) {
  Recorded recorded;
  SEESAW_RETURN_IF_ERROR(record(call, &recorded));
  add_spans(call, recorded, trace);
  return {};
}

}  // namespace seesaw::gpu
