# SPDX-License-Identifier: Apache-2.0
"""Line coverage of lib/ and sim/ after a test run of the coverage build; fails below the threshold.

With --corpora: what the corpora of the fuzz harnesses reach by themselves; earlier counts are thrown away.

What does not count is listed, with reasons, in tests/coverage-exclusions.txt. Markers in the sources
(GCOVR_EXCL_LINE and the like) are refused, so that the list is complete.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXCLUSIONS = ROOT / "tests" / "coverage-exclusions.txt"
FOLDERS = ("lib", "sim")
MARKER = re.compile(r"(GCOVR?|LCOV)_EXCL")


def exclusions():
    """gcovr options for the rows of the exclusion list: `file REGEX # reason`, `line REGEX # reason`."""
    options = []
    for number, text in enumerate(EXCLUSIONS.read_text().splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        row = re.fullmatch(r"(file|line)\s+(.+?)\s+#\s+(\S.*)", text)
        if not row:
            sys.exit(f"{EXCLUSIONS.name}:{number}: not `file|line REGEX # reason`")
        kind, regex, reason = row.groups()
        print(f"excluded: {kind} {regex}: {reason}")
        options += (["--exclude", f"{re.escape(str(ROOT))}/{regex}"] if kind == "file"
                    else ["--exclude-lines-by-pattern", regex])
    return options


def refuse_markers():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.[ch]"):
            if MARKER.search(path.read_text()):
                sys.exit(f"{path.relative_to(ROOT)}: coverage markers belong into {EXCLUSIONS.name}")


def measure(build, html):
    """gcovr's summary: one entry per file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "summary.json")
        command = ["gcovr", "--root", str(ROOT), "--object-directory", str(build),
                   "--json-summary", str(report), "-j", str(os.cpu_count())]
        for name in FOLDERS:
            command += ["--filter", f"{re.escape(str(ROOT))}/{name}/"]
        if html:
            html.parent.mkdir(parents=True, exist_ok=True)
            command += ["--html-details", str(html)]
        run = subprocess.run(command + exclusions() + [str(build)], cwd=ROOT,
                             capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"gcovr failed:\n{run.stdout}{run.stderr}")
        return json.loads(report.read_text())["files"]


def run_corpora(build):
    """Forgets what was counted so far, then replays each corpus in fuzz/corpus/."""
    corpora = sorted(path for path in (ROOT / "fuzz" / "corpus").iterdir() if path.is_dir())
    harnesses = [build / "bin" / f"fuzz_{corpus.name}" for corpus in corpora]
    missing = [harness.name for harness in harnesses if not harness.exists()]
    if missing:
        sys.exit(f"not built in {build}: {', '.join(missing)}")
    for counts in build.rglob("*.gcda"):
        counts.unlink()
    for harness, corpus in zip(harnesses, corpora):
        run = subprocess.run([str(harness), str(corpus)], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"{harness.name}: exit code {run.returncode}\n{run.stderr}")
        print(f"{harness.name}: {run.stdout.splitlines()[-1]}")


def uncovered_first(files):
    return sorted(files, key=lambda f: f["line_covered"] - f["line_total"])


def print_files(files):
    print(f"{'lines':>7} {'missed':>7} {'covered':>8}")
    for entry in uncovered_first(files):
        total, covered = entry["line_total"], entry["line_covered"]
        if total:
            print(f"{total:7} {total - covered:7} {100 * covered / total:7.1f}%  {entry['filename']}")


def judge(files, groups, threshold, report):
    """One line per group of folders, printed and written to `report`; ends the program if one is below the threshold."""
    low = []
    lines = []
    for group in groups:
        title = " and ".join(f"{folder}/" for folder in group)
        of_group = [f for f in files if Path(f["filename"]).parts[0] in group]
        total = sum(f["line_total"] for f in of_group)
        percent = 100 * sum(f["line_covered"] for f in of_group) / total if total else 0.0
        lines.append(f"line coverage of {title}: {percent:.1f}% of {total} lines")
        if percent < threshold:
            low.append(title)
    print("\n".join(lines))
    report.write_text("\n".join(lines) + "\n")
    if low:
        sys.exit(f"FAILED: below {threshold:g}%: {', '.join(low)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "coverage")
    parser.add_argument("--threshold", type=float, help="percent, of each folder (default 95); with --corpora, of both "
                        "together (default 90)")
    parser.add_argument("--corpora", action="store_true", help="run the fuzz corpora, and count nothing else")
    parser.add_argument("--html", type=Path, help="also write a browsable report to this file")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    refuse_markers()
    if arguments.corpora:
        run_corpora(build)
    files = measure(build, arguments.html)
    print_files(files)
    groups = [FOLDERS] if arguments.corpora else [(folder,) for folder in FOLDERS]
    default = 90.0 if arguments.corpora else 95.0
    threshold = default if arguments.threshold is None else arguments.threshold
    name = "corpora-coverage.txt" if arguments.corpora else "line-coverage.txt"
    judge(files, groups, threshold, build / name)


if __name__ == "__main__":
    main()
