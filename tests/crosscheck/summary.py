#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up results of run.py --json: counts by model and kind, what was not run and why, rules of VM entry that were broken alone,
known deviations that no model has shown."""
import collections
import json
import os
import sys

import deviations
import rule_counts


class Sum:
    """Of all models."""

    def __init__(self):
        self.kinds, self.seen, self.not_run = collections.Counter(), collections.Counter(), collections.Counter()
        self.hit, self.failed, self.engine = set(), False, "bochs"

    def add(self, result):
        self.engine = result["engine"]
        self.seen.update(result["deviations"])
        self.not_run.update(result["not_run"])
        self.failed = self.failed or bool(result["differences"] or result["rules"]["faults"])
        missing = {*result["rules"]["not_hit"], *result["rules"]["unreachable"]}
        self.hit |= set(rule_counts.all_rules()) - missing
        for kind, counted in result["kinds"].items():
            self.kinds.update({(kind, verdict): cases for verdict, cases in counted.items()})


def counts_line(counted):
    return f"{sum(counted.values())} cases, " + ", ".join(f"{cases} {verdict}" for verdict, cases in sorted(counted.items()))


def print_model(result):
    name = f"{result['engine']} {result['version']} {result['model']}: seed {result['seed']}"
    for kind, counted in result["kinds"].items():
        print(f"{name}: {kind}: {counts_line(counted)}")
    rules = result["rules"]
    print(f"{name}: rules of VM entry hit alone: {rules['hit_alone']} of {rules['reachable']}, not reachable: "
          f"{len(rules['unreachable'])}")
    for fault in rules["faults"]:
        print(f"    wrong: {fault}")


def print_sum(total):
    for kind in dict.fromkeys(kind for kind, _ in total.kinds):
        print(f"all: {kind}: " + counts_line({verdict: cases for (one, verdict), cases in total.kinds.items() if one == kind}))
    for reason, cases in total.not_run.items():
        print(f"    not run: {cases}: {reason}")
    print(f"all: rules of VM entry hit alone: {len(total.hit)} of {len(rule_counts.all_rules())}")
    for identity in sorted(deviations.table_of(total.engine).ids()):
        print(f"    {identity}: {total.seen[identity]}")
        total.failed = total.failed or not total.seen[identity]


def main():
    if len(sys.argv) < 3 or sys.argv[1] in ("--help", "-h"):
        print("usage: summary.py DIRECTORY MODEL...", file=sys.stderr)
        return 2
    total = Sum()
    for model in sys.argv[2:]:
        with open(os.path.join(sys.argv[1], f"{model}.json"), encoding="utf-8") as stream:
            result = json.load(stream)
        print_model(result)
        total.add(result)
    print_sum(total)
    print("something differs, a known deviation was not seen, or a rule was not broken alone" if total.failed else
          "everything agrees or deviates as predicted")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
