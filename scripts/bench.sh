#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the release configuration, runs every benchmark and writes their tables into docs/performance.md.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/bench.sh [--curves] [--json] [--runs N]

Builds build/release, runs its benchmarks one after the other, prints their tables (measured value, floor, ratio, target, met or not) and
replaces those in docs/performance.md.

  --curves  measure how costs grow instead, with pages, areas and dirty pages, and write data and plots into docs/curves/ (gnuplot)
  --json    print the results as JSON instead, and leave the documents alone
  --runs N  runs of each operation, handed to the benchmarks
  --help    this text

The exit status is 1 if a target that is a ratio to a floor of the same run is missed; targets in nanoseconds are only marked.
TEXT
}

curves=false
json=()
options=()
while [ $# -gt 0 ]; do
    case "$1" in
    --help | -h) usage && exit 0 ;;
    --curves) curves=true && shift ;;
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

# One program; its results in a file. 1 is no error here: a target is missed, and the table says so.
run() {
    local status=0
    printf 'running %s ...\n' "$1" >&2
    "build/release/bin/$1" --json "${options[@]}" >"$results/$1.json" || status=$?
    [ "$status" -le 1 ] || exit "$status"
}

if [ "$curves" = true ]; then
    run curves
    python3 scripts/bench_curves.py "${json[@]}" "$results/curves.json"
    exit 0
fi
for program in build/release/bin/bench_*; do
    run "$(basename "$program")"
done
python3 scripts/bench_table.py "${json[@]}" "$results"/*.json
