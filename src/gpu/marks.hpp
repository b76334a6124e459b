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

// What a lane has just done with a tile, for kernels that note tiles one by one. Each ends a step
// that began at the lane's mark before (step_of, trace.cpp).
enum class TileMark : int {
  // of a consumer, at its own tile n
  kBegun,        // it turns to the tile's scores; ends no step
  kHalfLanded,   // the first half of the columns has landed
  kScored,       // all has landed and is scored
  kPStored,      // masks, softmax; the probabilities are in their place
  kMultiplied,   // its part of the values is multiplied
  kOtherStored,  // of the other warpgroup's tile, between its own: the probabilities are there
  kTurn,         // of a kernel that lets products go in turn: it may multiply that tile
  kOtherMultiplied,
  // of a producer, at filling n of its buffer, in two halves
  kRoom,   // the half may be overwritten
  kAsked,  // its copies are under way
  kLastRoom,
  kLastAsked,
  kLanded,     // its rows are there
  kAnnounced,  // converted, and the consumers told
  kFound,      // the next tile's rows are found
  kLastLanded,
  kLastAnnounced,
};
inline constexpr int kTileMarks = 17;

inline constexpr int kTracedTiles = 32;  // of a lane; later ones are not noted
inline constexpr int kTileLanes = 4;     // of a thread block, producers among them

inline constexpr int kTracedPieces = 32;  // of a worker; later ones are run, but not noted
inline constexpr int kTracedLanes = 2;    // of a thread block; others are not noted

// What a thread block notes, zero where nothing was reached. Clocks count the SM's cycles; the
// two pairs of clock and time say when that was.
struct TraceBlock {
  unsigned long long entered_ns, entered_clock;
  unsigned long long left_ns, left_clock;
  unsigned long long clock[kTracedLanes][kTracedPieces][kMarks];
  unsigned long long tile_clock[kTileLanes][kTracedTiles][kTileMarks];
};

}  // namespace seesaw::gpu
