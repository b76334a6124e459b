# seesaw_fmt: {fmt}, inside each library and program, so that what is shipped depends on no libfmt. Its
# functions are compiled once (src/base/fmt.cpp): with them in its headers, every object that formats
# compiles them again, and src/engine/describe.cpp takes 11 s of processor time at -O3 instead of 5.
# Of versions that fmt.cpp does not know, the headers alone.
if(fmt_VERSION VERSION_GREATER_EQUAL 9 AND fmt_VERSION VERSION_LESS 10)
  add_library(seesaw_fmt STATIC ${PROJECT_SOURCE_DIR}/src/base/fmt.cpp)
  target_include_directories(seesaw_fmt SYSTEM PUBLIC
    $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
else()
  add_library(seesaw_fmt INTERFACE)
  target_link_libraries(seesaw_fmt INTERFACE fmt::fmt-header-only)
endif()
