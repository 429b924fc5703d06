# SPDX-License-Identifier: Apache-2.0
"""libvmxcore needs nothing but memcpy, memset, memmove and memcmp, and keeps no mutable global state.

It also exports nothing but vmxc_* names: whoever links it shares one namespace with it.
"""

import argparse
import re
import subprocess

from common import finish

ALLOWED = {"memcpy", "memset", "memmove", "memcmp"}
# Position-independent code refers to it on some machines; the linker supplies it.
LINKER = {"_GLOBAL_OFFSET_TABLE_"}
# Constant tables of pointers are relocated once and read-only from then on: not mutable.
MUTABLE = re.compile(r"^\.(data|bss|tdata|tbss|sdata|sbss)(?!\.rel\.ro)(\.|$)")
SECTION = re.compile(r"^\s*\d+\s+(\S+)\s+([0-9a-f]+)\s", re.MULTILINE)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def external_symbols(nm, archive):
    """The archive's undefined and its defined external symbols."""
    undefined, defined, common = set(), set(), set()
    for line in run(nm, "--format=posix", "--extern-only", archive).splitlines():
        parts = line.split()
        if len(parts) < 2 or line.endswith(":"):
            continue
        kind = {"U": undefined, "w": undefined, "v": undefined, "C": common}.get(parts[1], defined)
        kind.add(parts[0])
    return undefined - defined, defined, common


def mutable_sections(objdump, archive):
    """(name, bytes) of each section with content that a program could write to."""
    for name, size in SECTION.findall(run(objdump, "--section-headers", archive)):
        if MUTABLE.match(name) and int(size, 16):
            yield name, int(size, 16)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nm", required=True)
    parser.add_argument("--objdump", required=True)
    parser.add_argument("--archive", required=True)
    arguments = parser.parse_args()
    undefined, defined, common = external_symbols(arguments.nm, arguments.archive)
    offenders = [f"needs {name}" for name in sorted(undefined - ALLOWED - LINKER)]
    offenders += [f"exports {name}, which is outside its namespace"
                  for name in sorted(defined) if not name.startswith("vmxc_")]
    offenders += [f"common symbol {name} is mutable" for name in sorted(common)]
    offenders += [f"section {name} holds {size} bytes of mutable data"
                  for name, size in mutable_sections(arguments.objdump, arguments.archive)]
    finish(offenders, f"{len(defined)} exported symbols; needs {', '.join(sorted(undefined)) or 'nothing'}")


if __name__ == "__main__":
    main()
