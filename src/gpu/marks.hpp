// What the traced variant (trace.cu) notes the time of.
#pragma once

namespace seesaw::dense_decode::sm90 {

// What a consumer warpgroup has just reached, in the order of a piece.
enum class Mark : int {
  kEntered,    // the kernel's first instruction
  kGo,         // barriers made, the grid before has ended
  kOpened,     // the piece's queries are in shared memory
  kScored,     // the warpgroup's first tile is scored
  kFirstPair,  // the first two tiles are done
  kTilesDone,  // all tiles are done
  kFinished,   // the piece's result is written
  kLeft,       // nothing left to do
};
inline constexpr int kMarks = 8;

}  // namespace seesaw::dense_decode::sm90
