# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` gives: libraries, headers, CMake package, pkg-config files, the command.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/vmxsim)
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The .pc files name their prefix relative to themselves, so an installed tree can be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
    file(RELATIVE_PATH up "/${pkgconfig_dir}" "/")
    string(REGEX REPLACE "/$" "" up "${up}")
    set(pc_prefix "\${pcfiledir}/${up}")
endif()

# vmxsim_install_library(target): the library, its CMake targets file and its .pc file.
function(vmxsim_install_library target)
    install(TARGETS ${target} EXPORT ${target}-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT ${target}-targets NAMESPACE ${target}:: DESTINATION ${package_dir})
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/${target}
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
    configure_file(${PROJECT_SOURCE_DIR}/cmake/${target}.pc.in ${PROJECT_BINARY_DIR}/${target}.pc @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${target}.pc DESTINATION ${pkgconfig_dir})
endfunction()

vmxsim_install_library(vmxcore)
if(TARGET vmxcore_native)
    install(TARGETS vmxcore_native EXPORT vmxcore-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(VMXSIM_BUILD_SIM)
    vmxsim_install_library(vmxsim)
    if(VMXSIM_BUILD_CLI)
        install(TARGETS vmxsim_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
endif()

configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/cmake/vmxsim-config.cmake.in ${PROJECT_BINARY_DIR}/vmxsim-config.cmake
    INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# While the major version is 0, a minor version may break compatibility.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vmxsim-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES
    ${PROJECT_BINARY_DIR}/vmxsim-config.cmake
    ${PROJECT_BINARY_DIR}/vmxsim-config-version.cmake
    DESTINATION ${package_dir})
