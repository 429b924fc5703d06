# SPDX-License-Identifier: Apache-2.0
"""Line coverage of lib/ and sim/ after a test run of the coverage build; fails below the threshold.

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


def uncovered_first(files):
    return sorted(files, key=lambda f: f["line_covered"] - f["line_total"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "coverage")
    parser.add_argument("--threshold", type=float, default=95.0, help="percent, of each folder")
    parser.add_argument("--html", type=Path, help="also write a browsable report to this file")
    arguments = parser.parse_args()
    refuse_markers()
    files = measure(arguments.build.resolve(), arguments.html)

    print(f"{'lines':>7} {'missed':>7} {'covered':>8}")
    for entry in uncovered_first(files):
        total, covered = entry["line_total"], entry["line_covered"]
        if total:
            print(f"{total:7} {total - covered:7} {100 * covered / total:7.1f}%  {entry['filename']}")

    low = []
    lines = []
    for folder in FOLDERS:
        of_folder = [f for f in files if Path(f["filename"]).parts[0] == folder]
        total = sum(f["line_total"] for f in of_folder)
        percent = 100 * sum(f["line_covered"] for f in of_folder) / total if total else 0.0
        lines.append(f"line coverage of {folder}/: {percent:.1f}% of {total} lines")
        if percent < arguments.threshold:
            low.append(folder)
    print("\n".join(lines))
    (arguments.build / "line-coverage.txt").write_text("\n".join(lines) + "\n")
    if low:
        sys.exit(f"FAILED: below {arguments.threshold:g}%: {', '.join(low)}")


if __name__ == "__main__":
    main()
