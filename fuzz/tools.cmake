# SPDX-License-Identifier: Apache-2.0
# What fuzzers of these harnesses start from and work with, and its tests.

# ---- Dictionaries: bin/numbers.dict for harnesses that read numbers, bin/text.dict for those that read texts ----

# By itself: what the libraries are instrumented for does not matter here.
add_executable(fuzz_dictionary dictionary.c ${PROJECT_SOURCE_DIR}/sim/fuzz_input.c)
target_include_directories(fuzz_dictionary PRIVATE
    ${PROJECT_SOURCE_DIR}/sim ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(fuzz_dictionary PRIVATE _POSIX_C_SOURCE=200809L)
target_link_libraries(fuzz_dictionary PRIVATE PkgConfig::JANSSON)
vmxsim_warnings(fuzz_dictionary)
file(GLOB vectors CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/vectors/*.jsonl)
set(dictionaries ${PROJECT_BINARY_DIR}/bin)
add_custom_command(
    OUTPUT ${dictionaries}/numbers.dict ${dictionaries}/text.dict
    COMMAND ${CMAKE_COMMAND} -E make_directory ${dictionaries}
    COMMAND fuzz_dictionary numbers > ${dictionaries}/numbers.dict
    COMMAND fuzz_dictionary text ${vectors} > ${dictionaries}/text.dict
    DEPENDS fuzz_dictionary ${vectors}
    COMMENT "Generating dictionaries"
    VERBATIM)
add_custom_target(fuzz_dictionaries ALL
    DEPENDS ${dictionaries}/numbers.dict ${dictionaries}/text.dict)

# ---- Inputs for scripts/fuzz.sh --bench; the mutators by themselves ----

set(mutator_sources ${CMAKE_CURRENT_SOURCE_DIR}/shapes.c)
foreach(name afl edit fields input mutate mutate_text shape)
    list(APPEND mutator_sources ${PROJECT_SOURCE_DIR}/sim/fuzz_${name}.c)
endforeach()
add_executable(fuzz_bench_inputs bench_inputs.c ${mutator_sources})
target_include_directories(fuzz_bench_inputs PRIVATE
    ${PROJECT_SOURCE_DIR}/sim ${PROJECT_SOURCE_DIR}/include)
vmxsim_warnings(fuzz_bench_inputs)
set_target_properties(fuzz_bench_inputs PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

# ---- AFL++'s shared libraries: bin/afl_mutate_<name>.so, by a compiler that does not instrument ----

if(VMXSIM_FUZZ_ENGINE STREQUAL "afl")
    find_program(VMXSIM_PLAIN_CC NAMES gcc clang cc REQUIRED
        DOC "A C compiler without instrumentation, for what afl-fuzz loads")
    list(APPEND mutator_sources ${CMAKE_CURRENT_SOURCE_DIR}/mutator.c)
    foreach(name IN LISTS harnesses)
        set(library ${PROJECT_BINARY_DIR}/bin/afl_mutate_${name}.so)
        add_custom_command(OUTPUT ${library}
            COMMAND ${VMXSIM_PLAIN_CC} -std=c11 -O2 -g -shared -fPIC -DHARNESS="${name}"
                -I${PROJECT_SOURCE_DIR}/include -I${PROJECT_SOURCE_DIR}/sim -o ${library} ${mutator_sources}
            DEPENDS ${mutator_sources} shapes.def
            COMMENT "Mutators of fuzz_${name} for AFL++"
            VERBATIM)
        list(APPEND mutator_libraries ${library})
    endforeach()
    add_custom_target(fuzz_afl_mutators ALL DEPENDS ${mutator_libraries})
endif()

# ---- Tests ----

# vmxsim_fuzz_shape(name): what the mutators believe of the harness is what it does. The linker must know --wrap.
function(vmxsim_fuzz_shape name)
    add_executable(shape_${name} fuzz_${name}.c shape_check.c)
    target_include_directories(shape_${name} PRIVATE ${PROJECT_SOURCE_DIR}/sim)
    target_compile_definitions(shape_${name} PRIVATE _POSIX_C_SOURCE=200809L HARNESS="${name}")
    target_link_libraries(shape_${name} PRIVATE fuzz_support)
    target_link_options(shape_${name} PRIVATE
        LINKER:--wrap=vmxsim_fuzz_take LINKER:--wrap=vmxsim_fuzz_below LINKER:--wrap=vmxsim_fuzz_value)
    vmxsim_warnings(shape_${name})
    add_test(NAME fuzz_shape_${name} COMMAND shape_${name})
    set_tests_properties(fuzz_shape_${name} PROPERTIES LABELS fuzz TIMEOUT 300)
endfunction()

# What the seeds are made of runs through the harnesses.
function(vmxsim_fuzz_seeds name)
    add_test(NAME fuzz_seeds_${name} COMMAND fuzz_${name} ${CMAKE_CURRENT_BINARY_DIR}/seeds/${name})
    set_tests_properties(fuzz_seeds_${name} PROPERTIES
        LABELS fuzz TIMEOUT 300 FIXTURES_REQUIRED fuzz_seeds)
endfunction()

if(VMXSIM_BUILD_TESTS AND VMXSIM_FUZZ_ENGINE STREQUAL "replay")
    # addrspace and guest_walk read bytes as they come, dump and replay are texts.
    if(UNIX AND NOT APPLE)
        foreach(name bitmaps guest guest_mem hypervisor insn vmcs walk words)
            vmxsim_fuzz_shape(${name})
        endforeach()
    endif()
    find_program(VMXSIM_PYTHON python3 REQUIRED DOC "Python 3, for the structural tests")
    add_test(NAME fuzz_seeds
        COMMAND ${VMXSIM_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/seeds.py ${CMAKE_CURRENT_BINARY_DIR}/seeds)
    set_tests_properties(fuzz_seeds PROPERTIES LABELS fuzz FIXTURES_SETUP fuzz_seeds)
    foreach(name bitmaps dump insn replay vmcs walk)
        vmxsim_fuzz_seeds(${name})
    endforeach()
    add_test(NAME fuzz_seeds_format COMMAND ${VMXSIM_PYTHON}
        ${PROJECT_SOURCE_DIR}/tests/seeds_test.py ${CMAKE_CURRENT_BINARY_DIR}/seeds)
    set_tests_properties(fuzz_seeds_format PROPERTIES LABELS fuzz FIXTURES_REQUIRED fuzz_seeds)
    add_test(NAME fuzz_dictionaries COMMAND ${VMXSIM_PYTHON}
        ${PROJECT_SOURCE_DIR}/tests/dictionary_test.py ${dictionaries})
    set_tests_properties(fuzz_dictionaries PROPERTIES LABELS fuzz)
endif()
