#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Plants defects in libvmxcore and libvmxsim and sees which tests notice: the museum's, or a sample of all small changes.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=tests/mutants/run.py
if [ "${1:-}" = sample ]; then
    program=tests/mutants/sample.py
    shift
fi

# What only prints needs no build.
case " $* " in
*" --help "* | *" -h "* | *" --list "*) exec python3 "$program" "$@" ;;
esac

build() {
    cmake --preset mutants && cmake --build --preset mutants
}
mkdir -p build/mutants
build >build/mutants/build.log 2>&1 || { tail -n 50 build/mutants/build.log >&2 && exit 2; }
exec python3 "$program" "$@"
