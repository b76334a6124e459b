# Decides whether GPU kernels are compiled: SEESAW_WITH_CUDA. With SEESAW_CUDA=AUTO they are if nvcc
# is on the path, in $CUDACXX or where NVIDIA's packages put it; the machine needs no GPU.
# Every ptxas report is kept in <build>/ptxas for scripts/check_ptxas.sh.
set(SEESAW_WITH_CUDA FALSE)
if(NOT SEESAW_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "seesaw: SEESAW_CUDA = ${SEESAW_CUDA}, supported: AUTO, ON, OFF.")
endif()
if(SEESAW_CUDA STREQUAL "OFF")
  return()
endif()

find_program(SEESAW_NVCC nvcc HINTS $ENV{CUDACXX} $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin
             /usr/local/cuda/bin)
mark_as_advanced(SEESAW_NVCC)
if(NOT SEESAW_NVCC AND NOT CMAKE_CUDA_COMPILER)
  if(SEESAW_CUDA STREQUAL "ON")
    message(FATAL_ERROR "seesaw: SEESAW_CUDA = ON but there is no nvcc, looked on the path and in "
                        "/usr/local/cuda/bin. Install the CUDA toolkit (13.0 or later), set "
                        "CMAKE_CUDA_COMPILER, or configure with SEESAW_CUDA=OFF.")
  endif()
  message(STATUS "seesaw: no nvcc, CPU kernels only")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${SEESAW_NVCC})
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90a)
endif()
enable_language(CUDA)
# CMake 3.25.1 does not know that nvcc has C++20; later versions do. Remove with Debian 12.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
find_package(CUDAToolkit REQUIRED)

set(SEESAW_PTXAS_LOGS ${CMAKE_BINARY_DIR}/ptxas)
file(MAKE_DIRECTORY ${SEESAW_PTXAS_LOGS})
set(CMAKE_CUDA_COMPILER_LAUNCHER ${PROJECT_SOURCE_DIR}/scripts/nvcc_with_log.sh
    ${SEESAW_PTXAS_LOGS} ${CMAKE_CXX_COMPILER_LAUNCHER})
# Kernels of operations that run on any GPU: machine code for Turing and Ampere (which Ada runs, too)
# beside Hopper's, and PTX for what comes later. PTX of 90a runs on nothing but Hopper.
#   seesaw_portable_cuda(gpu/merge.cu)   in the folder whose target_sources lists it
set(SEESAW_PORTABLE_CUDA
    --generate-code=arch=compute_75,code=sm_75
    --generate-code=arch=compute_80,code=[compute_80,sm_80])
function(seesaw_portable_cuda)
  set_source_files_properties(${ARGV} TARGET_DIRECTORY seesaw_objects PROPERTIES
    COMPILE_OPTIONS "${SEESAW_PORTABLE_CUDA}")
endfunction()
# The same for kernels that multiply by mma.sync and copy by cp.async: from Ampere on. Ada runs
# Ampere's code.
set(SEESAW_SM80_CUDA --generate-code=arch=compute_80,code=[compute_80,sm_80])
function(seesaw_sm80_cuda)
  set_source_files_properties(${ARGV} TARGET_DIRECTORY seesaw_objects PROPERTIES
    COMPILE_OPTIONS "${SEESAW_SM80_CUDA}")
endfunction()
set(SEESAW_WITH_CUDA TRUE)
message(STATUS "seesaw: GPU kernels for ${CMAKE_CUDA_ARCHITECTURES} with ${CMAKE_CUDA_COMPILER}")
