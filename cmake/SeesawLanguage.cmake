# What every target of this project is compiled with. Plain variables, so that a project that takes
# Seesaw in with add_subdirectory keeps its own.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")  # the installed command finds its library
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release)
endif()

# NaN and infinity are part of the contract, so results must not depend on how the compiler would
# like to fuse: -ffp-contract stays the compiler's, but no fast-math ever.
if(CMAKE_CXX_FLAGS MATCHES "-ffast-math|-Ofast|-ffinite-math-only")
  message(FATAL_ERROR "seesaw: CMAKE_CXX_FLAGS = \"${CMAKE_CXX_FLAGS}\", supported: flags that keep "
                      "NaN and infinity. Remove -ffast-math, -Ofast and -ffinite-math-only.")
endif()

if(SEESAW_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=${SEESAW_SANITIZE}>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-sanitize-recover=all>
                      $<$<COMPILE_LANGUAGE:C,CXX>:-fno-omit-frame-pointer>
                      # GCC: "-fsanitize ... may give false positives" for this warning, in
                      # std::regex among others. The builds without sanitizers keep it.
                      $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${SEESAW_SANITIZE})
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(SEESAW_CCACHE ccache)
  mark_as_advanced(SEESAW_CCACHE)
  if(SEESAW_CCACHE)
    set(CMAKE_C_COMPILER_LAUNCHER ${SEESAW_CCACHE})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${SEESAW_CCACHE})
  endif()
endif()

add_library(seesaw_warnings INTERFACE)
target_compile_options(seesaw_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:C,CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion>
  $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
if(SEESAW_WERROR)
  target_compile_options(seesaw_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-Werror>
    "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>")
endif()

# For programs whose own code nobody waits for: options, JSON, tables, tests. Their large headers take
# most of the compiler's time: -O1 needs 0.6 of it, -O0 under sanitizers a third.
function(seesaw_compile_quickly target)
  if(SEESAW_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  else()
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release,RelWithDebInfo>:-O1>)
  endif()
endfunction()
