#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README says what the programs do: its marked blocks are compared with files and with output.

    <!-- file: examples/first_access.c -->   the next fenced block is that file without its heading comments
    <!-- run: bin/vmxsim decode ... -->       the next fenced block is what the command prints

Commands run in the source directory; `bin/` stands for the build's bin directory.
"""
import pathlib
import re
import shlex
import subprocess
import sys

MARK = re.compile(r"<!-- (file|run): (.+?) -->\n+```\w*\n(.*?)```\n", re.DOTALL)
HEADING = re.compile(r"\A(?:/\*.*?\*/\n)+", re.DOTALL)


def file_text(source: pathlib.Path, name: str) -> str:
    return HEADING.sub("", (source / name).read_text())


def output(source: pathlib.Path, build: pathlib.Path, command: str) -> str:
    words = shlex.split(command)
    words[0] = words[0].replace("bin/", f"{build}/bin/", 1)
    expanded = []
    for word in words:
        found = sorted(str(path.relative_to(source)) for path in source.glob(word)) if "*" in word else []
        expanded += found or [word]
    return subprocess.run(expanded, cwd=source, capture_output=True, text=True, check=False).stdout


def main() -> int:
    source, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    blocks = MARK.findall((source / "README.md").read_text())
    wrong = 0
    for kind, what, block in blocks:
        actual = file_text(source, what) if kind == "file" else output(source, build, what)
        if actual.strip() != block.strip():
            wrong += 1
            print(f"README.md: the block of '{what}' is not what it is now:\n{actual}")
    print(f"{len(blocks)} blocks compared, {wrong} differ")
    return 1 if wrong or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
