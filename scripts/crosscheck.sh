#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The large cross-check against Bochs, on four CPU models or those given. The small one is part of scripts/test.sh.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    cat <<'TEXT'
usage: scripts/crosscheck.sh [--seed N] [--divide N] [--jobs N] [--keep] [CPU...]

Builds the release configuration with the payload, then runs on each CPU model of Bochs: 100,000 accesses, 30,000 VM
entries, 20,000 intercepts, 20,000 sequences of VMX instructions, 20,000 accesses to translations that change, 20,000 guest
instructions by their bytes, 20,000 injected events, spread over the models. Prints seeds and counts. Fails if anything differs
that no known deviation predicts, if a known deviation shows nowhere, or if a rule of VM entry that a model offers was not
broken alone there.

  --seed N    of the first model; the others follow (default 1)
  --divide N  a part of the experiments
  --jobs N    machines at a time (default: number of processors)
  --keep      the counts of rules become those that `vmxsim rules` shows

Recordings go to build/crosscheck.
TEXT
}

seed=1
divide=1
jobs=$(nproc)
keep=
models=()
while [ $# -gt 0 ]; do
    case "$1" in
    --seed | --divide | --jobs)
        [ $# -ge 2 ] || { usage >&2; exit 2; }
        declare "${1#--}=$2"
        shift ;;
    --keep) keep=1 ;;
    --help | -h) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) models+=("$1") ;;
    esac
    shift
done
[ "${#models[@]}" != 0 ] || models=(corei7_icelake_u corei7_skylake_x tigerlake broadwell_ult)

scripts/install-deps.sh
cmake --preset release -DVMXSIM_BUILD_CROSSCHECK=ON >/dev/null
cmake --build --preset release --target vmxsim_command crosscheck_entry_states crosscheck_images
mkdir -p build/crosscheck

count=${#models[@]}
share() {
    echo $(($1 / divide / count + 1))
}
status=0
for model in "${models[@]}"; do
    python3 tests/crosscheck/run.py --engine bochs --model "$model" --build build/release --jobs "$jobs" \
        --generate "$seed" \
        --count "access=$(share 100000),entry=$(share 30000),intercept=$(share 20000),instructions=$(share 20000),stale=$(share 20000),code=$(share 20000),event=$(share 20000)" \
        --record "build/crosscheck/$model.jsonl" --differences "build/crosscheck/$model-differences.jsonl" \
        --rule-counts "build/crosscheck/$model-rules.json" --json >"build/crosscheck/$model.json" || status=1
    seed=$((seed + 1))
done
python3 tests/crosscheck/summary.py build/crosscheck "${models[@]}" || status=1
if [ -n "$keep" ] && [ "$status" = 0 ]; then
    for model in "${models[@]}"; do
        cp "build/crosscheck/$model-rules.json" "tests/crosscheck/rule_counts/$model.json"
    done
    python3 tests/structure/entry_evidence.py --command build/release/bin/vmxsim --cc cc --update
fi
exit "$status"
