// Whether this process may use AMX's tiles.
#pragma once

namespace seesaw::cpu {

enum class AmxAnswer { kGranted, kNotInCpu, kRefusedBySystem };

// Asks the operating system the first time: tiles are 8 KB of state a thread, and Linux saves them
// for those alone who asked. It refuses if some thread's alternate signal stack is too small for
// them. The permission is the whole process's and stays.
AmxAnswer ask_for_amx();

}  // namespace seesaw::cpu
