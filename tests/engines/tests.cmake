# SPDX-License-Identifier: Apache-2.0
# Fuzzing engines as users run them; the worked example uses the tree that consumer_install has installed.
function(engine_test name)
    add_test(NAME engine_${name}
        COMMAND ${VMXSIM_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/engines/run.py
            --cmake ${CMAKE_COMMAND} --generator ${CMAKE_GENERATOR} --cc ${CMAKE_C_COMPILER}
            --source ${PROJECT_SOURCE_DIR} --work ${CMAKE_CURRENT_BINARY_DIR}/engines/${name} --prefix ${prefix} ${name})
    set_tests_properties(engine_${name} PROPERTIES LABELS "engines" TIMEOUT 1200 SKIP_RETURN_CODE 77)
endfunction()

engine_test(libfuzzer)
engine_test(afl)
engine_test(engine)
engine_test(campaign)
engine_test(document)
set_tests_properties(engine_libfuzzer engine_afl PROPERTIES FIXTURES_REQUIRED installed_tree)
