#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables of what the benchmarks measured, from the JSON they print, written into docs/performance.md.

usage: bench_table.py [--json] [--document FILE] RESULT.json ...

The text of the document stays; what stands between its two marks is replaced. Exit status: 1 if a target that is a ratio to a floor
is missed, 2 if there is nothing to read or nowhere to write.
"""
import argparse
import datetime
import json
import pathlib
import platform
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BEGIN = "<!-- begin: written by scripts/bench.sh -->\n"
END = "<!-- end -->\n"
HEADINGS = ("operation", "per", "median ns", "spread ns", "floor ns", "ratio", "target", "", "frames")


def number(value):
    """Three digits that count, without an exponent."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def target(result):
    if result["target"] is None:
        return "", ""
    unit = "x" if result["target_kind"] == "ratio" else "ns"
    plus = f" + {result['target_plus']:g} ns" if result["target_plus"] else ""
    words = {True: "met", False: "**missed**", None: "does not apply here"}
    return f"{result['target']:.3g} {unit}{plus}", words[result["met"]]


def row(result):
    spread = f"{number(result['least'])} - {number(result['most'])}"
    frames = "" if result["frames"] is None else str(result["frames"])
    return (result["name"], result["unit"], number(result["median"]), spread, number(result["floor"]),
            number(result["ratio"]), *target(result), frames)


def table(rows):
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"


def processor():
    """What Linux calls the processor; the architecture elsewhere."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def text(reports):
    yield f"Measured on {datetime.date.today()}, {processor()}."
    for report in reports:
        yield ""
        yield f"### {report['program']}"
        yield ""
        yield f"{report['runs']} runs of each operation."
        yield ""
        yield from table(map(row, report["results"]))


def give_up(message):
    print(f"bench_table: {message}", file=sys.stderr)
    sys.exit(2)


def read(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        give_up(f"{path}: {error}")


def update(document, reports):
    try:
        old = document.read_text()
    except OSError as error:
        give_up(f"{document}: {error.strerror}")
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        give_up(f"{document}: the marks around the tables are missing")
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(before + BEGIN + "\n".join(text(reports)) + "\n" + END + after)


def missed_ratios(reports):
    """Names of what makes the run fail: targets in nanoseconds depend on the machine, those that are ratios do not."""
    return [f"{report['program']}: {result['name']}" for report in reports for result in report["results"]
            if result["target_kind"] == "ratio" and result["met"] is False]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print all results as JSON, leave the document alone")
    parser.add_argument("--document", type=pathlib.Path, default=DOCUMENT, help="docs/performance.md by default")
    parser.add_argument("results", nargs="+", type=pathlib.Path, help="what a benchmark printed with --json")
    arguments = parser.parse_args()
    reports = [read(path) for path in arguments.results]
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        update(arguments.document, reports)
        print("\n".join(text(reports)))
    missed = missed_ratios(reports)
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
