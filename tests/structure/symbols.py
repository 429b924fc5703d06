# SPDX-License-Identifier: Apache-2.0
"""What a library or a program defines and needs, read from its symbol table.

--exports PREFIX   every external symbol it defines starts with PREFIX: users share one namespace with it
--needs NAME...    it needs no symbol from outside but these
--never PREFIX     it neither defines nor needs a symbol that starts with PREFIX
--state NAME...    it holds no mutable global data but these objects (none: no such data at all)
"""

import argparse
import re
import subprocess

from common import finish

# Position-independent code refers to it on some machines; the linker supplies it.
LINKER = {"_GLOBAL_OFFSET_TABLE_"}
# Constant tables of pointers (.data.rel.ro) are relocated once and read-only from then on: not mutable.
MUTABLE = re.compile(r"^\.(data|bss|tdata|tbss|sdata|sbss)(?!\.rel\.ro)(\.|$)")
# A row of the symbol table: value, flags, section, size, name.
OBJECT = re.compile(r"^[0-9a-f]+ .{7} (\S+)\t([0-9a-f]+)\s+(?:\.hidden )?(\S+)$", re.MULTILINE)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def external_symbols(nm, path):
    """The file's undefined, defined and common external symbols (common: uninitialized and shared)."""
    undefined, defined, common = set(), set(), set()
    for line in run(nm, "--format=posix", "--extern-only", path).splitlines():
        parts = line.split()
        if len(parts) < 2 or line.endswith(":"):
            continue
        kind = {"U": undefined, "w": undefined, "v": undefined, "C": common}.get(parts[1], defined)
        kind.add(parts[0])
    return undefined - defined - common, defined | common, common


def mutable_objects(objdump, path):
    """Names of the objects in sections that a program can write to."""
    for section, size, name in OBJECT.findall(run(objdump, "--syms", path)):
        if MUTABLE.match(section) and int(size, 16):
            yield name


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nm", required=True)
    parser.add_argument("--objdump", required=True)
    parser.add_argument("--exports")
    parser.add_argument("--needs", nargs="*")
    parser.add_argument("--never")
    parser.add_argument("--state", nargs="*")
    parser.add_argument("--file", required=True)
    arguments = parser.parse_args()

    undefined, defined, common = external_symbols(arguments.nm, arguments.file)
    offenders = []
    if arguments.exports:
        offenders += [f"exports {name}, which is outside its namespace"
                      for name in sorted(defined) if not name.startswith(arguments.exports)]
    if arguments.needs is not None:
        offenders += [f"needs {name}" for name in sorted(undefined - set(arguments.needs) - LINKER)]
    if arguments.never:
        offenders += [f"uses {name}" for name in sorted(undefined | defined)
                      if name.startswith(arguments.never)]
    if arguments.state is not None:
        found = set(mutable_objects(arguments.objdump, arguments.file)) | common
        offenders += [f"{name} is mutable global data" for name in sorted(found - set(arguments.state))]
    finish(offenders, f"{len(defined)} symbols defined, {len(undefined)} needed")


if __name__ == "__main__":
    main()
