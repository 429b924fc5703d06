#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up results of run.py --json: counts by model and kind, and known deviations that no model has shown."""
import collections
import json
import os
import sys

import deviations


def main():
    if len(sys.argv) < 3 or sys.argv[1] in ("--help", "-h"):
        print("usage: summary.py DIRECTORY MODEL...", file=sys.stderr)
        return 2
    seen, failed, engine = collections.Counter(), False, "bochs"
    for model in sys.argv[2:]:
        with open(os.path.join(sys.argv[1], f"{model}.json"), encoding="utf-8") as stream:
            result = json.load(stream)
        engine = result["engine"]
        seen.update(result["deviations"])
        failed = failed or bool(result["differences"])
        for kind, counted in result["kinds"].items():
            print(f"{engine} {result['version']} {model}: seed {result['seed']}: {kind}: {sum(counted.values())} cases, " +
                  ", ".join(f"{cases} {verdict}" for verdict, cases in sorted(counted.items())))
    for identity in sorted(deviations.table_of(engine).ids()):
        print(f"    {identity}: {seen[identity]}")
        failed = failed or not seen[identity]
    print("something differs, or a known deviation was not seen" if failed else "everything agrees or deviates as predicted")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
