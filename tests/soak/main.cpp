// The soak of the CPU: servers of random shapes, one a thread, new ones again and again.
//   seesaw_soak --minutes 10 --seed 1 --threads 2 --record FILE
#include <chrono>
#include <exception>
#include <iostream>

#include "soak/decode_server.hpp"

namespace seesaw::soak {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kStepsOfAServer = 150;

Totals serve(uint64_t seed, Clock::time_point end) {
  Totals totals;
  lab::Random random(seed);
  while (Clock::now() < end) {
    DecodeServer server(random_shape(random), random.bits());
    for (int i = 0; i < kStepsOfAServer && Clock::now() < end; ++i) {
      server.step();
    }
    totals += server.totals();
  }
  return totals;
}

int soak(const Flags& flags) {
  return run_soak({.name = "soak",
                   .kernel = "cpu.dense_decode",
                   .run =
                       [&](uint64_t epoch, double seconds) {
                         const auto end =
                             Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                std::chrono::duration<double>(seconds));
                         return on_threads(flags.threads, [&](int32_t thread) {
                           const uint64_t lane = lab::mix(epoch, static_cast<uint64_t>(thread));
                           return serve(lab::mix(flags.seed, lane), end);
                         });
                       }},
                  flags);
}

}  // namespace
}  // namespace seesaw::soak

int main(int argc, char** argv) {
  try {
    return seesaw::soak::soak(seesaw::soak::parse_flags(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
