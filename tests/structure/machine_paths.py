# SPDX-License-Identifier: Apache-2.0
"""No tracked file names a place that exists on one machine only: a home folder, a work folder, a
build folder below /tmp."""

import re

from common import ROOT, finish, tracked_files

MACHINE_PATH = re.compile(
    rb"(?<![\w.$}/*-])(?:/(?:work|root|home|Users|mnt|media)/[\w.]|/tmp/(?!\$|\.\.\.)[\w-]+/)")


def main():
    files = tracked_files()
    offenders = []
    for path in files:
        for number, line in enumerate((ROOT / path).read_bytes().split(b"\n"), 1):
            if MACHINE_PATH.search(line):
                offenders.append(f"{path}:{number}: {line.decode(errors='replace').strip()[:120]}")
    finish(offenders, f"{len(files)} files")


if __name__ == "__main__":
    main()
