// What the traced variants of attention kernels note the time of (marks.cuh, clock_marks.cuh), and
// where. A *lane* of a thread block is threads that go from piece to piece together.
#pragma once

namespace seesaw::gpu {

// What a lane has just reached, in the order of a piece.
enum class Mark : int {
  kEntered,    // the kernel's first instruction
  kGo,         // barriers made, the grid before has ended
  kOpened,     // the piece's queries are there
  kScored,     // the lane's first tile is scored
  kFirstPair,  // the first two tiles are done
  kTilesDone,  // all tiles are done
  kFinished,   // the piece's result is written
  kLeft,       // nothing left to do
};
inline constexpr int kMarks = 8;

inline constexpr int kTracedPieces = 32;  // of a worker; later ones are run, but not noted
inline constexpr int kTracedLanes = 2;    // of a thread block; others are not noted

// What a thread block notes, zero where nothing was reached. Clocks count the SM's cycles; the
// two pairs of clock and time say when that was.
struct TraceBlock {
  unsigned long long entered_ns, entered_clock;
  unsigned long long left_ns, left_clock;
  unsigned long long clock[kTracedLanes][kTracedPieces][kMarks];
};

}  // namespace seesaw::gpu
