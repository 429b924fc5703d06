#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Python package as users get it: sdist, wheel from the sdist, a fresh virtual environment, its tests there.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/test-python.sh [--junit FILE] [pytest arguments...]

Builds the sdist, the wheel from it, installs the wheel into a fresh virtual environment in build/python/venv and runs the tests and
the type checkers against the installed package. Packages that this needs are downloaded once, into build/python/wheels (or
VMXSIM_WHEEL_CACHE); a second run works offline. PYTHON names the interpreter, python3 by default.
TEXT
}

readonly PYTHON=${PYTHON:-python3}
readonly WORK=$PWD/build/python
readonly CACHE=${VMXSIM_WHEEL_CACHE:-$WORK/wheels}
readonly REQUIREMENTS=bindings/python/requirements-test.txt
readonly VENV=$WORK/venv

export PIP_DISABLE_PIP_VERSION_CHECK=1

# The cache is complete for this interpreter and these requirements if a download ended with this mark.
fill_cache() {
    local mark
    mark=$CACHE/complete-$("$PYTHON" -c 'import sys; print(sys.implementation.cache_tag)')-$(sha256sum "$REQUIREMENTS" | cut -c1-16)
    [ -e "$mark" ] && return
    mkdir -p "$CACHE"
    "$PYTHON" -m pip download --quiet --dest "$CACHE" --prefer-binary --requirement "$REQUIREMENTS"
    touch "$mark"
}

# Only the cache, never the network: what is not listed in the requirements does not get in unseen.
offline() {
    "$@" --no-index --find-links "$CACHE"
}

build_wheel() {
    rm -rf "$WORK/dist" "$WORK/tools"
    "$PYTHON" -m venv "$WORK/tools"
    offline "$WORK/tools/bin/pip" install --quiet build
    # The wheel is built from the sdist, in an environment that has what pyproject.toml asks for and nothing else.
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$CACHE "$WORK/tools/bin/python" -m build --outdir "$WORK/dist" . >"$WORK/build.log" 2>&1 ||
        { tail -n 50 "$WORK/build.log" >&2 && return 1; }
    ls -l "$WORK/dist"
}

make_environment() {
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV"
    offline "$VENV/bin/pip" install --quiet "$WORK"/dist/*.whl --requirement "$REQUIREMENTS"
}

main() {
    local junit=$WORK/python.xml
    case "${1:-}" in
    --help | -h) usage && exit 0 ;;
    --junit) junit=$2 && shift 2 ;;
    esac
    mkdir -p "$WORK"
    fill_cache
    build_wheel
    make_environment
    # -I: nothing of the source tree, nothing of the user's site.
    (cd / && "$VENV/bin/python" -I -c 'import vmxsim; print("vmxsim", vmxsim.__version__, "from", vmxsim.__file__)')
    (cd "$WORK" && "$VENV/bin/mypy" --strict --package vmxsim && "$VENV/bin/stubtest" vmxsim)
    # Not pytest-cov: pytest imports the package's plugin, and with it the package, before that begins to count.
    export COVERAGE_FILE=$WORK/coverage
    "$VENV/bin/coverage" run -m pytest -p no:cacheprovider --junitxml "$junit" "$@"
    # Some tests of some arguments prove nothing about coverage.
    [ $# != 0 ] || "$VENV/bin/coverage" report
}

main "$@"
