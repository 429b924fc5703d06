# SPDX-License-Identifier: Apache-2.0
"""No function of lib/ and sim/ is longer than 80 lines, from its name to its closing brace."""

import json
import statistics
import subprocess

from common import ROOT, c_files, finish, need_tool

LIMIT = 80


def functions(ctags, files):
    """(lines, file, line, name) of each function definition."""
    run = subprocess.run(
        [ctags, "--options=NONE", "--languages=C", "--langmap=C:.c.h", "--kinds-C=f",
         "--fields=+ne", "--output-format=json", "-f", "-", "-L", "-"],
        input="\n".join(str(f) for f in files), capture_output=True, text=True, cwd=ROOT, check=True)
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if tag.get("_type") == "tag" and "end" in tag:
            yield tag["end"] - tag["line"] + 1, tag["path"], tag["line"], tag["name"]


def main():
    ctags = need_tool("ctags-universal", "ctags", "universal-ctags")
    found = sorted(functions(ctags, c_files("lib", "sim")), reverse=True)
    lengths = [f[0] for f in found]
    if lengths:
        p90 = sorted(lengths)[min(len(lengths) - 1, len(lengths) * 9 // 10)]
        print(f"median {statistics.median(lengths):g} lines, p90 {p90}, longest {lengths[0]}")
        for length, path, line, name in found[:5]:
            print(f"  {length:3} lines  {name}  {path}:{line}")
    offenders = [f"{path}:{line}: {name} has {length} lines, the limit is {LIMIT}"
                 for length, path, line, name in found if length > LIMIT]
    finish(offenders, f"{len(found)} functions")


if __name__ == "__main__":
    main()
