# SPDX-License-Identifier: Apache-2.0
# VMXSIM_INSTRUMENT: what every object of this build is instrumented with.
if(VMXSIM_INSTRUMENT STREQUAL "sanitize")
    set(flags -fsanitize=address,undefined -fno-sanitize-recover=all)
    add_compile_options(${flags} -fno-omit-frame-pointer -O1 -g)
    add_link_options(${flags})
elseif(VMXSIM_INSTRUMENT STREQUAL "thread")
    add_compile_options(-fsanitize=thread -O1 -g)
    add_link_options(-fsanitize=thread)
elseif(VMXSIM_INSTRUMENT STREQUAL "valgrind")
    # Nothing in the objects: CTest starts every program of the build in valgrind. Leaks are LeakSanitizer's.
    find_program(VMXSIM_VALGRIND valgrind REQUIRED DOC "valgrind, whose memcheck the tests run in")
    set(CMAKE_CROSSCOMPILING_EMULATOR ${VMXSIM_VALGRIND} --quiet --error-exitcode=99 --leak-check=no)
    add_compile_options(-O1 -g)
elseif(VMXSIM_INSTRUMENT STREQUAL "coverage")
    # -fprofile-update=atomic: several test processes and threads add to the same counters.
    add_compile_options(--coverage -fprofile-update=atomic -O0 -g)
    add_link_options(--coverage)
elseif(NOT VMXSIM_INSTRUMENT STREQUAL "none")
    message(FATAL_ERROR
        "VMXSIM_INSTRUMENT is '${VMXSIM_INSTRUMENT}'; it must be none, sanitize, thread, valgrind or coverage")
endif()
