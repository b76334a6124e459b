// Grids of a stream, one after the other; and programmatic dependent launch as late as it may be: a
// dependent grid is started before the one that it depends on, which is run when the dependent one
// first waits for it. So a read of that grid's results that does not wait for it sees what was
// there before.
#pragma once

namespace seesaw::emulator {

// Runs what has been launched and not run. cudaStreamSynchronize and copies do so too.
void finish_stream();

}  // namespace seesaw::emulator
