#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and shows the main job: libvmxcore builds a guest address space on a simulated
# machine, a guest uses it, every step is explained; then recorded experiments are replayed on the model.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
"") ;;
--help | -h) echo "usage: scripts/demo.sh" && exit 0 ;;
*) echo "usage: scripts/demo.sh" >&2 && exit 2 ;;
esac

scripts/install-deps.sh --build
cmake --preset release -B build/demo -DVMXSIM_BUILD_TESTS=OFF -DVMXSIM_BUILD_EXAMPLES=ON </dev/null
cmake --build build/demo </dev/null

printf '\n==== A guest on a simulated machine ====\n'
build/demo/bin/demo

printf '\n==== Recorded experiments, replayed on the model ====\n'
build/demo/bin/vmxsim replay tests/vectors/*.jsonl
