#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data and plots in docs/curves/ from what build/release/bin/curves --json prints. Plots are drawn by gnuplot.

usage: bench_curves.py [--json] [--folder FOLDER] RESULT.json

A curve is named "plot: series"; each plot becomes plot.tsv (abscissa, then each series in nanoseconds) and plot.svg. The least of the
runs is taken: it shows how a cost grows even where the machine is busy with something else.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "curves"
ABSCISSAS = {"pages": "size of the mapping", "areas": "areas", "dirty pages": "dirty pages"}

GNUPLOT = """\
set terminal svg noenhanced size 720,400 font 'sans-serif,12' background 'white' linewidth 1.5
set output {svg}
set title {title}
set xlabel {abscissa}
set ylabel 'nanoseconds for each'
set logscale x {base}
set logscale y
set yrange [0.5:*]
set format x {numbers}
set grid
set key outside right top
set datafile separator '\\t'
plot {lines}
"""


def plots(results):
    """{plot: {series: {abscissa: nanoseconds}}}, in the order of the results."""
    found = {}
    for result in results:
        plot, series = result["curve"].split(": ", 1)
        found.setdefault(plot, {}).setdefault(series, {})[result["argument"]] = result["least"]
    return found


def table(series):
    """Rows of a .tsv file; an abscissa that a series lacks leaves its field empty."""
    yield ["x", *series]
    for x in sorted({x for points in series.values() for x in points}):
        yield [str(x), *(f"{points[x]:.3g}" if x in points else "" for points in series.values())]


def quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


def draw(plot, series, tsv, svg):
    lines = (f"{quoted(tsv)} using 1:{column} with linespoints title {quoted(name)}"
             for column, name in enumerate(series, start=2))
    base, numbers = (4, "%.0b%BB") if plot == "pages" else (10, "%.0f")
    script = GNUPLOT.format(svg=quoted(svg), title=quoted(f"Cost by {ABSCISSAS.get(plot, plot)}, log-log"), lines=", ".join(lines),
                            abscissa=quoted(ABSCISSAS.get(plot, plot)), numbers=quoted(numbers), base=base)
    try:
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
    except FileNotFoundError:
        sys.exit("bench_curves: gnuplot is not installed (Debian: gnuplot-nox)")
    except subprocess.CalledProcessError as error:
        sys.exit(f"bench_curves: gnuplot ended with status {error.returncode}")


def growth(series):
    """By what factor each series is dearer at its last point than at its least dear one."""
    return {name: points[max(points)] / min(points.values()) for name, points in series.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the curves as JSON, write nothing")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help="where to write; docs/curves by default")
    parser.add_argument("result", type=pathlib.Path, help="what the program `curves` printed with --json")
    arguments = parser.parse_args()
    found = plots(json.loads(arguments.result.read_text())["results"])
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for plot, series in found.items():
        name = re.sub(r"\W+", "-", plot)
        tsv, svg = arguments.folder / f"{name}.tsv", arguments.folder / f"{name}.svg"
        tsv.write_text("".join("\t".join(row) + "\n" for row in table(series)))
        draw(plot, series, tsv, svg)
        for line, factor in growth(series).items():
            print(f"{plot}: {line}: {factor:.2g} times its least at the last point")


if __name__ == "__main__":
    main()
