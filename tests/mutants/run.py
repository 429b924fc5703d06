#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bug museum: defects that hypervisors, emulators and this project have had, planted one at a time. Does a test notice each?

Without options every defect meets every test, and a table says which tests notice it and how soon. Exit status: 0 if all defects are
found, 1 if one is not, 2 if one cannot be planted or a test fails without any.
"""
import argparse
import collections
import json
import os
import sys
import tempfile
import textwrap
import xml.etree.ElementTree as tree
from concurrent.futures import ThreadPoolExecutor

import planting

MUSEUM = os.path.join(planting.HERE, "museum.json")
DOCUMENT = os.path.join(planting.ROOT, "docs", "mutants.md")
SLOW = 2.0  # seconds: a test that takes longer is asked only about what no faster one notices
BEGIN, END = "<!-- made by scripts/mutants.sh --update -->", "<!-- end -->"


def read_museum():
    with open(MUSEUM, encoding="utf-8") as stream:
        return json.load(stream)


def try_defect(build, finders, plant, stop):
    """{finder: seconds} of the finders that notice the defect; with `stop`, of the first one alone."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="vmxsim-mutant-") as folder:
        plant(folder)
        for finder in sorted(finders, key=lambda one: one.seconds):
            if found and finder.seconds > SLOW:
                break
            outcome, seconds = finder.run(folder)
            if outcome != planting.PASSED:
                found[finder.name] = round(seconds, 2)
                if stop:
                    break
    return found


def try_one(build, name, defect, finders, arguments):
    """What became of one defect: {"found": {finder: seconds}} or {"error": text}."""
    chosen = [finders[defect["finder"]]] if arguments.quick else finders.values()
    try:
        return name, {"found": try_defect(build, chosen, lambda folder: build.plant(planting.changes_of(defect), folder),
                                          arguments.quick)}
    except planting.Unfit as reason:
        return name, {"error": str(reason)}


# ---- Results ----

def is_fuzz(name):
    return name.startswith("fuzz_")


def fastest(found):
    return min(found, key=lambda name: (found[name], name))


def say(name, result):
    if "error" in result:
        return f"{name}: {result['error']}"
    if not result["found"]:
        return f"{name}: NOT FOUND"
    first = fastest(result["found"])
    return f"{name}: {first} in {result['found'][first]:.2f} s, {len(result['found'])} in all"


def write_junit(path, results):
    suite = tree.Element("testsuite", name="mutants", tests=str(len(results)))
    for name, result in results.items():
        case = tree.SubElement(suite, "testcase", classname="mutants", name=name, status="run")
        if not result.get("found"):
            tree.SubElement(case, "failure").text = say(name, result)
            case.set("status", "fail")
    tree.ElementTree(suite).write(path, encoding="unicode")


def row(name, defect, found):
    tests = {one: seconds for one, seconds in found.items() if not is_fuzz(one)}
    harnesses = sorted((seconds, one.removeprefix("fuzz_")) for one, seconds in found.items() if is_fuzz(one))
    by_test = f"`{fastest(tests)}` {tests[fastest(tests)]:.2f} ({len(tests)})" if tests else "none"
    by_fuzz = ", ".join(f"{one} {seconds:.2f}" for seconds, one in harnesses) or "-"
    where = defect["edits"][0]["file"].split("/")[0]
    return f"| `{name}` | {where} | {defect['what']} ({defect['seen']}) | {by_test} | {by_fuzz} |"


def totals(results):
    """How many defects each harness finds, and how many of them any harness does."""
    harnesses = collections.Counter(one.removeprefix("fuzz_") for result in results.values() for one in result["found"] if is_fuzz(one))
    by_harness = ", ".join(f"{name} {count}" for name, count in sorted(harnesses.items(), key=lambda item: (-item[1], item[0])))
    fuzzed = sum(any(map(is_fuzz, result["found"])) for result in results.values())
    seconds = sum(min(result["found"].values()) for result in results.values())
    return (f"{len(results)} defects; all are found, by the fastest test of each in {seconds:.1f} seconds together. "
            f"Fuzz harnesses find {fuzzed}: {by_harness}.")


def update(museum, results):
    """Writes the table, and the finder that the quick run takes: the fastest."""
    lines = ["| Defect | In | What is wrong (where it was seen) | First test, seconds (tests that notice) | Fuzz harnesses, seconds |",
             "| --- | --- | --- | --- | --- |"]
    lines += [row(name, museum[name], result["found"]) for name, result in results.items()]
    lines += ["", *textwrap.wrap(totals(results), 140)]
    text = planting.read_text(DOCUMENT)
    before, after = text[:text.index(BEGIN) + len(BEGIN)], text[text.index(END):]
    with open(DOCUMENT, "w", encoding="utf-8") as stream:
        stream.write("\n".join([before, "", *lines, "", after]))
    for name, result in results.items():
        museum[name]["finder"] = fastest(result["found"])
    with open(MUSEUM, "w", encoding="utf-8") as stream:
        json.dump(museum, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


# ---- The command ----

def parse(museum):
    parser = argparse.ArgumentParser(prog="scripts/mutants.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(planting.ROOT, "build", "mutants"), help="build directory of the preset mutants")
    parser.add_argument("--list", action="store_true", help="only list the defects")
    parser.add_argument("--only", action="append", choices=sorted(museum), metavar="NAME", help="this defect alone; may be repeated")
    parser.add_argument("--patch", metavar="FILE", help="instead of the museum's defects: a change as a unified diff (-p1), headers too")
    parser.add_argument("--quick", action="store_true", help="each defect with the one test that museum.json names")
    parser.add_argument("--without", action="append", default=[], metavar="TEST", help="do not run this test; may be repeated")
    parser.add_argument("--inputs", type=int, metavar="N", help="random inputs of each fuzz harness (default: as CTest runs them)")
    parser.add_argument("--jobs", type=int, default=2, help="defects at the same time (default 2)")
    parser.add_argument("--update", action="store_true", help="write the table in docs/mutants.md and the tests of --quick")
    parser.add_argument("--from", dest="earlier", metavar="FILE", help="results of an earlier run (--json), for what --only leaves out")
    parser.add_argument("--junit", metavar="FILE", help="also write the results as JUnit XML")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON document")
    arguments = parser.parse_args()
    if arguments.update and ((arguments.only and not arguments.earlier) or arguments.quick or arguments.patch):
        parser.error("--update needs all defects and all tests")
    return arguments


def try_all(build, museum, names, finders, arguments):
    results = {}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        tasks = pool.map(lambda name: try_one(build, name, museum[name], finders, arguments), names)
        for name, result in tasks:
            results[name] = result
            print(say(name, result), file=sys.stderr if arguments.json else sys.stdout, flush=True)
    return results


def with_earlier(museum, results, path):
    """The results, and those of the file for defects that were not tried now."""
    if path is None:
        return results
    with open(path, encoding="utf-8") as stream:
        earlier = json.load(stream)
    return {name: results.get(name) or earlier.get(name, {"error": "never tried"}) for name in museum}


def try_patch(build, finders, arguments):
    name = os.path.basename(arguments.patch)
    try:
        found = try_defect(build, finders.values(), lambda folder: build.plant_patch(arguments.patch, folder), False)
    except planting.Unfit as reason:
        return {name: {"error": str(reason)}}
    print(say(name, {"found": found}), file=sys.stderr if arguments.json else sys.stdout)
    return {name: {"found": found}}


def prepare(museum, names, arguments):
    """The build and the tests that are to run, each of which passes without a defect."""
    build = planting.Build(arguments.build)
    finders = {name: finder for name, finder in build.finders(arguments.inputs).items() if name not in arguments.without}
    if arguments.quick:
        needed = {museum[name].get("finder") for name in names}
        if not needed <= set(finders):
            raise planting.Unfit(f"no such test: {', '.join(map(str, needed - set(finders)))}")
        finders = {name: finders[name] for name in needed}
    planting.measure(finders, arguments.jobs)
    return build, finders


def main():
    museum = read_museum()
    arguments = parse(museum)
    names = [name for name in museum if not arguments.only or name in arguments.only]
    if arguments.list:
        print(json.dumps({name: museum[name] for name in names}, indent=1) if arguments.json
              else "\n".join(f"{name}: {museum[name]['what']} ({museum[name]['seen']})" for name in names))
        return 0
    try:
        build, finders = prepare(museum, names, arguments)
    except (planting.Unfit, OSError) as reason:
        print(f"mutants: {reason}", file=sys.stderr)
        return 2
    results = (try_patch(build, finders, arguments) if arguments.patch
               else with_earlier(museum, try_all(build, museum, names, finders, arguments), arguments.earlier))
    if arguments.junit:
        write_junit(arguments.junit, results)
    if arguments.json:
        print(json.dumps(results, indent=1))
    lost = [name for name, result in results.items() if not result.get("found")]
    if arguments.update and not lost:
        update(museum, results)
    if not arguments.json:
        print(f"{len(results) - len(lost)} of {len(results)} found{': not ' + ', '.join(lost) if lost else ''}")
    return 2 if any("error" in result for result in results.values()) else 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
