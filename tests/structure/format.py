# SPDX-License-Identifier: Apache-2.0
"""Every C file is laid out as clang-format 14 does it with the repository's .clang-format.

Other versions of clang-format disagree in details. With one of them, a clean result passes and any
other is skipped, with a note: it says nothing about the code.
"""

import re
import subprocess

from common import ROOT, c_files, finish, need_tool, skip

VERSION = 14


def main():
    tool = need_tool(f"clang-format-{VERSION}", "clang-format")
    banner = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout
    version = int(re.search(r"version (\d+)", banner).group(1))
    files = [str(f) for f in c_files()]
    if not files:
        finish([], "0 files")
    run = subprocess.run([tool, "--dry-run", "-Werror", *files],
                         capture_output=True, text=True, cwd=ROOT, check=False)
    offenders = sorted({line.split(":")[0] for line in run.stderr.splitlines()
                        if "clang-format-violations" in line})
    if run.returncode != 0 and version != VERSION:
        skip(f"the layout is that of clang-format {VERSION}; this is version {version}")
    if run.returncode != 0 and not offenders:
        offenders = run.stderr.splitlines() or ["clang-format failed without a message"]
    finish(offenders, f"{len(files)} files, clang-format {version}")


if __name__ == "__main__":
    main()
