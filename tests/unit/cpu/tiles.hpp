// One dot product of tiles by each implementation, for tiles_test.cpp.
#pragma once

#include <array>
#include <cstdint>

namespace seesaw::testing {

using TileWords = std::array<uint32_t, 16 * 16>;

// c += a b, as AMX does it. False: this machine, or this process, has no AMX.
bool amx_dot(TileWords* c, const TileWords& a, const TileWords& b);
void emulated_dot(TileWords* c, const TileWords& a, const TileWords& b);

// The bytes of the calling thread's tile configuration.
std::array<uint8_t, 64> tile_configuration();
void set_tile_configuration(const std::array<uint8_t, 64>& bytes);

}  // namespace seesaw::testing
