# SPDX-License-Identifier: Apache-2.0
# Install this build into a temporary prefix, then build and run programs against it as a user would.
set(prefix ${CMAKE_CURRENT_BINARY_DIR}/consumer/prefix)

function(consumer_test name)
    add_test(NAME consumer_${name}
        COMMAND ${VMXSIM_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/consumer/run.py
            --cmake ${CMAKE_COMMAND} --generator ${CMAKE_GENERATOR} --cc ${CMAKE_C_COMPILER}
            --source ${PROJECT_SOURCE_DIR} --build ${PROJECT_BINARY_DIR}
            --work ${CMAKE_CURRENT_BINARY_DIR}/consumer/${name} --prefix ${prefix} ${name})
    set_tests_properties(consumer_${name} PROPERTIES LABELS install TIMEOUT 600 SKIP_RETURN_CODE 77)
endfunction()

consumer_test(install)
consumer_test(cmake)
consumer_test(pkgconfig)
consumer_test(subproject)
set_tests_properties(consumer_install PROPERTIES FIXTURES_SETUP installed_tree)
set_tests_properties(consumer_cmake consumer_pkgconfig PROPERTIES FIXTURES_REQUIRED installed_tree)
if(NOT BUILD_SHARED_LIBS)
    consumer_test(shared)
endif()
