#include "unit/cpu/tiles.hpp"

#include "cpu/amx.hpp"
#include "cpu/amx_tiles.hpp"

namespace seesaw::testing {
namespace {

template <typename Tiles>
void dot(TileWords* c, const TileWords& a, const TileWords& b) {
  cpu::SavedState saved;
  Tiles::enter(&saved);
  Tiles::template load<0>(c->data(), 64);
  Tiles::template load<4>(a.data(), 64);
  Tiles::template load<6>(b.data(), 64);
  Tiles::template dot<0, 4, 6>();
  Tiles::template store<0>(c->data(), 64);
  Tiles::leave(saved);
}

}  // namespace

void emulated_dot(TileWords* c, const TileWords& a, const TileWords& b) {
  dot<cpu::EmulatedTiles>(c, a, b);
}

#if defined(__x86_64__)
bool amx_dot(TileWords* c, const TileWords& a, const TileWords& b) {
  if (cpu::ask_for_amx() != cpu::AmxAnswer::kGranted) {
    return false;
  }
  dot<cpu::AmxTiles>(c, a, b);
  return true;
}

std::array<uint8_t, 64> tile_configuration() {
  std::array<uint8_t, 64> bytes;
  asm volatile("sttilecfg %0" : "=m"(bytes));
  return bytes;
}

void set_tile_configuration(const std::array<uint8_t, 64>& bytes) {
  asm volatile("ldtilecfg %0" : : "m"(bytes));
}
#else
bool amx_dot(TileWords*, const TileWords&, const TileWords&) { return false; }
std::array<uint8_t, 64> tile_configuration() { return {}; }
void set_tile_configuration(const std::array<uint8_t, 64>&) {}
#endif

}  // namespace seesaw::testing
