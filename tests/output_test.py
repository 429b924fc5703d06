# SPDX-License-Identifier: Apache-2.0
"""Runs a program; its output must be the text of a file, its exit status 0.

output_test.py [--update] EXPECTED PROGRAM [ARGUMENTS...]
"""

import difflib
import subprocess
import sys
from pathlib import Path


def main():
    arguments = sys.argv[1:]
    update = arguments[:1] == ["--update"]
    expected, *command = arguments[update:]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if update:
        Path(expected).write_text(run.stdout)
    difference = "".join(difflib.unified_diff(
        Path(expected).read_text().splitlines(True), run.stdout.splitlines(True), "expected", "output"))
    print(run.stderr + difference, end="")
    if run.returncode != 0 or difference:
        sys.exit(f"FAILED: exit status {run.returncode}")


if __name__ == "__main__":
    main()
