#include "cpu/amx.hpp"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace seesaw::cpu {

#if defined(__x86_64__) && defined(__linux__)
namespace {

bool cpu_has_amx() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) {
    return false;
  }
  constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
  return (edx & kAmxBf16) != 0 && (edx & kAmxTile) != 0;
}

AmxAnswer ask() {
  if (!cpu_has_amx()) {
    return AmxAnswer::kNotInCpu;
  }
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h
  constexpr long kTileData = 18;               // the state's number in XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 ? AmxAnswer::kGranted
                                                                     : AmxAnswer::kRefusedBySystem;
}

}  // namespace

AmxAnswer ask_for_amx() {
  static const AmxAnswer answer = ask();
  return answer;
}

#else

AmxAnswer ask_for_amx() { return AmxAnswer::kNotInCpu; }

#endif

}  // namespace seesaw::cpu
