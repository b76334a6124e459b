# cmake --install: the library, its headers, find_package(seesaw), pkg-config.
include(CMakePackageConfigHelpers)

install(TARGETS seesaw EXPORT seesaw_targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(SEESAW_BUILD_BASELINES)
  install(TARGETS seesaw_baselines EXPORT seesaw_targets
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
if(TARGET seesaw_layers)
  install(TARGETS seesaw_layers EXPORT seesaw_targets
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/seesaw DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/seesaw)
install(EXPORT seesaw_targets NAMESPACE seesaw:: DESTINATION ${package_dir}
        FILE seesaw-targets.cmake)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/seesaw-config.cmake.in
  ${PROJECT_BINARY_DIR}/seesaw-config.cmake INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break the ABI; structs carry their size, so patches never do.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/seesaw-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/seesaw-config.cmake
              ${PROJECT_BINARY_DIR}/seesaw-config-version.cmake
        DESTINATION ${package_dir})

# Paths relative to the .pc file, so that an installed tree can be moved.
file(RELATIVE_PATH SEESAW_PC_TO_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file(${CMAKE_CURRENT_LIST_DIR}/seesaw.pc.in ${PROJECT_BINARY_DIR}/seesaw.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/seesaw.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
