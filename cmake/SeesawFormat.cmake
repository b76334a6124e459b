# seesaw_fmt: {fmt} from its headers alone, so that what is shipped depends on no libfmt. Compiled into
# every object under sanitizers it took most of their build: src/ops/dense_decode/problem.cpp, 166 lines,
# 15 s of processor time with it and 2 s without. These builds, which nobody ships, take the system's
# library.
set(fmt_target fmt::fmt-header-only)
if(SEESAW_SANITIZE AND TARGET fmt::fmt)
  get_target_property(fmt_type fmt::fmt TYPE)
  if(fmt_type STREQUAL "SHARED_LIBRARY")  # a static one need not be position-independent
    set(fmt_target fmt::fmt)
  endif()
endif()
add_library(seesaw_fmt INTERFACE)
target_link_libraries(seesaw_fmt INTERFACE ${fmt_target})
