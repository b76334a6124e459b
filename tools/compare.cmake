# seesaw compare: what it is made of, apart from the rest because it needs libseesaw_baselines and
# Eigen, and is tested from inside. Without the baselines the command says so.
if(NOT TARGET seesaw_baselines)
  target_sources(seesaw_tool PRIVATE commands/compare_absent.cpp)
  return()
endif()

find_package(Eigen3 3.3 REQUIRED NO_MODULE)
add_library(seesaw_tool_compare STATIC
  compare_ceilings.cpp
  compare_claims.cpp
  compare_findings.cpp
  compare_fit.cpp
  compare_html.cpp
  compare_json.cpp
  compare_layer.cpp
  compare_measure.cpp
  compare_memory.cpp
  compare_reference.cpp
  compare_shape.cpp
  compare_svd.cpp
  compare_svg.cpp
  compare_tables.cpp
  compare_tradeoff.cpp
  compare_values.cpp
  compare_weights.cpp)
target_link_libraries(seesaw_tool_compare
  PUBLIC seesaw_tool_core seesaw_baselines
  PRIVATE seesaw_warnings Eigen3::Eigen OpenMP::OpenMP_CXX)
if(SEESAW_WITH_CUDA)
  # The ceilings are those of seesaw_bench_gpu: cuBLAS found at run time, a sweep over memory.
  set(gpu_bench ${PROJECT_SOURCE_DIR}/bench/gpu)
  target_sources(seesaw_tool_compare PRIVATE compare_ceilings_cuda.cpp ${gpu_bench}/nvml.cpp
                 ${gpu_bench}/read_kernels.cu ${gpu_bench}/roofs.cpp ${gpu_bench}/timer.cpp)
  target_include_directories(seesaw_tool_compare PRIVATE ${PROJECT_SOURCE_DIR}/tests/gpu)
  target_compile_definitions(seesaw_tool_compare PRIVATE SEESAW_WITH_CUDA)
  target_link_libraries(seesaw_tool_compare PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
endif()
target_sources(seesaw_tool PRIVATE commands/compare.cpp)
target_link_libraries(seesaw_tool PRIVATE seesaw_tool_compare)
