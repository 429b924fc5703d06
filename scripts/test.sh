#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then configures, builds and runs every test. The last line is "N passed, M failed".
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

usage() {
    cat <<'TEXT'
usage: scripts/test.sh [--quick | --only NAME]

Builds and tests in build/<NAME>, one configuration after the other:
  dev           gcc, debug, warnings fatal; unit, structural, freestanding and install tests
  asan          AddressSanitizer and UBSan, leak detection on
  tsan          ThreadSanitizer on the test of machines in threads
  clang         clang, optimized, warnings fatal; static analysis
  freestanding  libvmxcore alone, without a C library
  valgrind      recordings, matrices and examples in memcheck
  release       what users get; the only one that runs the long tests
  coverage      line coverage of lib/ and sim/, at least 95 % of each
  mutants       the bug museum: every defect planted, each with the test that finds it soonest (scripts/mutants.sh --quick)
  engines       fuzzing engines on the build of dev: libFuzzer, AFL++, scripts/fuzz.sh, the worked example
  python        the Python package: sdist, wheel, fresh environment, its tests (scripts/test-python.sh)

  --quick       dev alone
  --only NAME   one configuration alone
  --help        this text

The last line is "N passed, M failed"; the exit status is 0 if nothing failed.
VMXSIM_ALLOW_SKIP=1 skips tests whose tools are missing instead of failing them.
TEXT
}

readonly CONFIGURATIONS=(dev engines asan tsan clang valgrind freestanding release coverage mutants python)

passed=0
failed=0
skipped=0
coverage_lines=build/coverage/line-coverage.txt # written by the coverage test
failures=() # what failed, for the end of the output

heading() {
    printf '\n==== %s (%d s) ====\n' "$1" "$SECONDS"
}

fail() {
    failed=$((failed + 1))
    failures+=("$1")
    printf 'FAILED: %s\n' "$1"
}

# Adds the results of one CTest run, from the JUnit file it wrote, to the sums.
count() {
    local name=$1 report=$2 status=$3 tests=0 bad=0 skips=0
    if [ -f "$report" ]; then
        read -r tests bad skips < <(python3 - "$report" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

cases = list(tree.parse(sys.argv[1]).getroot().iter("testcase"))
skipped = [c for c in cases if (note := c.find("skipped")) is not None
           and note.get("message", "").startswith(("SKIP_", "Disabled"))]
# What did not run although nobody asked to skip it has failed: its program or its fixture is missing.
bad = [c.get("name") for c in cases if c.get("status") != "run" and c not in skipped]
print(len(cases), len(bad), len(skipped), *bad)
PYTHON
        ) || true
    fi
    local names
    # After the three numbers, the names of the tests that failed.
    names=${skips#* }
    [ "$names" = "$skips" ] && names=""
    skips=${skips%% *}
    passed=$((passed + tests - bad - skips))
    failed=$((failed + bad))
    skipped=$((skipped + skips))
    [ -n "$names" ] && failures+=("$name: $names")
    # A run that failed without naming a test: nothing to run, a test without its program, a crash of CTest.
    [ "$status" != 0 ] && [ "$bad" = 0 ] && fail "$name: ctest ended with status $status"
}

# Adds the results of pytest, from the JUnit file it wrote, to the sums.
count_pytest() {
    local report=$1 tests=0 bad=0 skips=0
    if [ -f "$report" ]; then
        read -r tests bad skips < <(python3 - "$report" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

sums = [suite.attrib for suite in tree.parse(sys.argv[1]).getroot().iter("testsuite")]
print(*(sum(int(suite[name]) for suite in sums for name in names.split("+"))
        for names in ("tests", "failures+errors", "skipped")))
PYTHON
        ) || true
    fi
    passed=$((passed + tests - bad - skips))
    failed=$((failed + bad))
    skipped=$((skipped + skips))
    [ "$bad" = 0 ] || failures+=("python: $bad tests")
    [ "$bad" != 0 ]
}

run_python() {
    local report=$PWD/build/python/python.xml
    heading "python: build, install, test"
    rm -f "$report"
    # Whatever fails without failing a test: the build, the type check, the coverage threshold.
    scripts/test-python.sh --junit "$report" </dev/null || { count_pytest "$report" || fail "python"; return; }
    count_pytest "$report"
}

run_mutants() {
    local report=$PWD/build/mutants/mutants.xml status=0
    heading "mutants: build, plant, test"
    rm -f "$report"
    scripts/mutants.sh --quick --jobs "$CTEST_PARALLEL_LEVEL" --junit "$report" </dev/null || status=$?
    [ -f "$report" ] || { fail "mutants" && return; }
    count mutants "$report" "$status"
}

configure_and_build() {
    local preset=$1
    local -a options=(-DVMXSIM_WERROR=ON)
    [ "$preset" = clang ] || options+=(-DCMAKE_C_COMPILER=gcc)
    cmake --preset "$preset" "${options[@]}" && cmake --build --preset "$preset"
}

# run_tests <name> <build directory> <ctest arguments...>
run_tests() {
    local name=$1 build=$2 status=0
    shift 2
    rm -f "$build/$name.xml"
    ctest "$@" --output-junit "$PWD/$build/$name.xml" </dev/null || status=$?
    count "$name" "$build/$name.xml" "$status"
}

run_configuration() {
    local preset=$1
    if [ "$preset" = python ]; then
        run_python
        return
    fi
    if [ "$preset" = mutants ]; then
        run_mutants
        return
    fi
    if [ "$preset" = engines ]; then
        heading "engines: build dev, test"
        configure_and_build dev </dev/null || { fail "engines: build" && return; }
        run_tests engines build/dev --test-dir build/dev -L '^engines$' -j1 --output-on-failure
        return
    fi
    heading "$preset: configure and build"
    configure_and_build "$preset" </dev/null || { fail "$preset: build" && return; }
    heading "$preset: test"
    [ "$preset" = coverage ] && find build/coverage -name '*.gcda' -delete
    run_tests "$preset" "build/$preset" --preset "$preset"
    # The threshold judges what the run above has counted.
    [ "$preset" = coverage ] &&
        run_tests threshold build/coverage --test-dir build/coverage -L '^coverage$' -V
}

summary() {
    heading "summary"
    [ -f "$coverage_lines" ] && cat "$coverage_lines"
    [ "${#failures[@]}" = 0 ] || printf 'failed: %s\n' "${failures[@]}"
    [ "$skipped" = 0 ] || printf '%d skipped\n' "$skipped"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

main() {
    local -a chosen=("${CONFIGURATIONS[@]}")
    case "${1:-}" in
    "") ;;
    --quick) chosen=(dev) ;;
    --only)
        case " ${CONFIGURATIONS[*]} " in
        *" ${2:-?} "*) chosen=("$2") ;;
        *) usage >&2 && exit 2 ;;
        esac
        ;;
    --help | -h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac

    CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)}
    export CTEST_PARALLEL_LEVEL
    rm -f "$coverage_lines"
    heading "dependencies"
    if ! scripts/install-deps.sh && [ "${VMXSIM_ALLOW_SKIP:-}" != 1 ]; then
        fail "dependencies are missing"
        summary
        exit 1
    fi
    for configuration in "${chosen[@]}"; do
        run_configuration "$configuration"
    done
    summary
}

main "$@"
