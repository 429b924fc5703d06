# SPDX-License-Identifier: Apache-2.0
"""lib/ and sim/ as static analysers see them: clang-tidy (.clang-tidy says which checks), cppcheck, gcc -fanalyzer."""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from common import ROOT, c_files, finish, need_tool, skip

INCLUDES = ["-Iinclude", "-Ilib", "-Isim"]
# gcc 12 follows no status code to the value that comes with it, and so takes values for uninitialized and memory for
# lost. Valgrind and LeakSanitizer look for both while the tests run.
ANALYZER = ["-std=c11", "-O1", "-fanalyzer", "-Wno-analyzer-use-of-uninitialized-value",
            "-Wno-analyzer-malloc-leak", "-D_POSIX_C_SOURCE=200809L", '-DVMXSIM_VERSION="0"', *INCLUDES, "-o", os.devnull, "-c"]
CPPCHECK = ["--enable=warning,performance,portability", "--inline-suppr", "--std=c11", "--quiet", "--template=gcc",
            *INCLUDES]
FINDING = re.compile(r"^\S+:\d+:(\d+:)? (warning|error|portability|performance): ")


def sources():
    return [str(name) for name in c_files("lib", "sim") if name.suffix == ".c"]


def run(command):
    """What the command says, and whether it failed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode != 0


def preamble(name):
    """analysis.h, but for libvmxcore, which has no such function, and for where it is defined."""
    # What files define for the C library at their beginning comes too late behind a header.
    return ["-D_GNU_SOURCE=", "-include", "tests/structure/analysis.h"] if name.startswith("sim/") and name != "sim/error.c" else []


def clang_tidy(names, build):
    tool = need_tool("clang-tidy-14", "clang-tidy")
    # The compilation database names files from the build directory on.
    extra = [str(ROOT / part) if part.endswith(".h") else part for part in preamble("sim/")]
    return [[tool, "--quiet", "-p", build, *(f"--extra-arg={part}" for part in extra if preamble(name)), name]
            for name in names]


def cppcheck(names, _build):
    """All in one: it looks into the functions of other files."""
    return [[need_tool("cppcheck"), *CPPCHECK, "-j", str(os.cpu_count()), *names]]


def analyzer(names, _build):
    tool = need_tool("gcc")
    return [[tool, *preamble(name), *ANALYZER, name] for name in names]


TOOLS = {"clang-tidy": clang_tidy, "cppcheck": cppcheck, "analyzer": analyzer}
# The versions whose findings have been looked at, those of Debian 12. What another one finds is shown, and no failure.
JUDGED = {"clang-tidy": "version 14.", "cppcheck": "Cppcheck 2.10", "analyzer": " 12."}


def is_judged(tool, program):
    return JUDGED[tool] in run([program, "--version"])[0]


def judge(name, said, failed):
    """The findings among the lines; all lines if the tool failed without naming any."""
    found = [line for line in said.splitlines() if FINDING.match(line)]
    return found or ([f"{name}: the tool failed: {said.strip()[-400:]}"] if failed else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--build", required=True, help="build directory with compile_commands.json")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    names = sources()
    commands = TOOLS[arguments.tool](names, arguments.build)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        answers = list(pool.map(run, commands))
    offenders = [line for command, (said, failed) in zip(commands, answers) for line in judge(command[-1], said, failed)]
    offenders = sorted(set(offenders))
    if offenders and not is_judged(arguments.tool, commands[0][0]):
        print("\n".join(offenders))
        skip(f"findings of another version than the one whose findings have been judged: {JUDGED[arguments.tool]}")
    finish(offenders, f"{len(names)} files, {arguments.tool}")


if __name__ == "__main__":
    sys.exit(main())
