# seesaw_fmt: {fmt} from its headers alone, so that what is shipped depends on no libfmt. Each object then
# compiles it again: src/ops/append/check.cpp takes 7 s of processor time at -O3 with it, and 2 s without.
# What nobody ships takes the system's library: seesaw_unshipped_fmt, and builds under sanitizers, for debugging
# and for emulated processors as a whole.
set(compiled fmt::fmt-header-only)
if(TARGET fmt::fmt)
  get_target_property(fmt_type fmt::fmt TYPE)
  if(fmt_type STREQUAL "SHARED_LIBRARY")  # a static one need not be position-independent
    set(compiled fmt::fmt)
  endif()
endif()
add_library(seesaw_unshipped_fmt INTERFACE)
target_link_libraries(seesaw_unshipped_fmt INTERFACE ${compiled})
add_library(seesaw_fmt INTERFACE)
if(SEESAW_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL "Debug" OR CMAKE_CROSSCOMPILING_EMULATOR)
  target_link_libraries(seesaw_fmt INTERFACE ${compiled})
else()
  target_link_libraries(seesaw_fmt INTERFACE fmt::fmt-header-only)
endif()
