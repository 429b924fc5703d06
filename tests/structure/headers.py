# SPDX-License-Identifier: Apache-2.0
"""Every public header compiles alone, as C11 and as C++17, and after Linux's <asm/vmx.h>.

The last catches enumerators and macros of ours that Linux's header defines with another meaning. So
that none is the same by chance either, every macro of ours starts with VMXC_ or VMXSIM_.
"""

import argparse
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import ROOT, finish, need_tool, tracked_files

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wundef", "-Werror"]


def variants(cc, cxx):
    """Name, compiler with options, and the text in front of the #include."""
    linux = "#include <asm/vmx.h>\n"
    c11 = [cc, "-x", "c", "-std=c11", "-Wshadow", "-Wstrict-prototypes"]
    cxx17 = [cxx, "-x", "c++", "-std=c++17"]
    result = [("C11", c11, ""), ("C++17", cxx17, ""),
              ("C11, freestanding", c11 + ["-ffreestanding"], "")]
    if os.uname().sysname == "Linux" and os.uname().machine in ("x86_64", "i686"):
        result += [("C11 after <asm/vmx.h>", c11, linux), ("C++17 after <asm/vmx.h>", cxx17, linux)]
    return result


def compile_alone(header, variant):
    """None, or why the header does not compile. It is included twice: the guard is tested as well."""
    name, command, before = variant
    if "freestanding" in name and header.parts[1] != "vmxcore":
        return None
    include = f'#include "{Path(*header.parts[1:])}"\n'
    text = before + include + include + "typedef int translation_unit_is_not_empty;\n"
    run = subprocess.run(command + WARNINGS + [f"-I{ROOT / 'include'}", "-fsyntax-only", "-"],
                         input=text, capture_output=True, text=True, check=False)
    return None if run.returncode == 0 else f"{header} as {name}:\n{run.stderr.rstrip()}"


def foreign_macros(path):
    """Macros that the file defines outside the project's namespace."""
    for name in re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", (ROOT / path).read_text(), re.MULTILINE):
        if not name.startswith(("VMXC_", "VMXSIM_")):
            yield f"{path}: macro {name} starts with neither VMXC_ nor VMXSIM_"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cc", default="cc")
    arguments = parser.parse_args()
    cxx = need_tool("c++", "g++", "clang++")
    public = [f for f in tracked_files() if f.parts[0] == "include"]
    headers = [f for f in public if f.suffix == ".h"]
    jobs = [(h, v) for h in headers for v in variants(arguments.cc, cxx)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        offenders = [r for r in pool.map(lambda job: compile_alone(*job), jobs) if r]
    offenders += [macro for path in public for macro in foreign_macros(path)]
    finish(offenders, f"{len(headers)} headers, {len(variants(arguments.cc, cxx))} ways each")


if __name__ == "__main__":
    main()
