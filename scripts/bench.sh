#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the release configuration, runs every benchmark and writes their tables into docs/performance.md.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/bench.sh [--json] [--runs N]

Builds build/release, runs its benchmarks one after the other and replaces the tables in docs/performance.md.

  --json    print the results as JSON instead, and leave the document alone
  --runs N  runs of each operation, handed to the benchmarks
  --help    this text

The exit status is 1 if a target that is a ratio to a floor of the same run is missed.
TEXT
}

json=()
options=()
while [ $# -gt 0 ]; do
    case "$1" in
    --help | -h) usage && exit 0 ;;
    --json) json=(--json) && shift ;;
    --runs) options+=(--runs "${2:?--runs needs a number}") && shift 2 ;;
    *) usage >&2 && exit 2 ;;
    esac
done

scripts/install-deps.sh --build >&2
cmake --preset release </dev/null >&2
cmake --build --preset release </dev/null >&2

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for program in build/release/bin/bench_*; do
    name=$(basename "$program")
    printf 'running %s ...\n' "$name" >&2
    status=0
    "$program" --json "${options[@]}" >"$results/$name.json" || status=$?
    [ "$status" -le 1 ] || exit "$status" # 1: a target is missed; the table says so
done
python3 scripts/bench_table.py "${json[@]}" "$results"/*.json
