# SPDX-License-Identifier: Apache-2.0
"""Every source file names its license in its first line (its second, after an interpreter line)."""

from common import ROOT, finish, tracked_files

SUFFIXES = {".c", ".h", ".cpp", ".def", ".py", ".sh", ".cmake", ".yml"}
NAMES = {"CMakeLists.txt", "Makefile", "run"}
LINE = "SPDX-License-Identifier: Apache-2.0"


def main():
    files = [f for f in tracked_files() if f.suffix in SUFFIXES or f.name in NAMES]
    offenders = [str(f) for f in files
                 if not any(LINE in line for line in (ROOT / f).read_text().splitlines()[:2])]
    finish(offenders, f"{len(files)} files")


if __name__ == "__main__":
    main()
