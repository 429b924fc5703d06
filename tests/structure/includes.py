# SPDX-License-Identifier: Apache-2.0
"""Who includes what: the border between the two halves, and what freestanding code may use.

lib/, include/vmxcore/   nothing of vmxsim, and no system header but the five freestanding ones
include/vmxcore/defs/    nothing of vmxcore outside defs/
sim/, include/vmxsim/    of vmxcore only defs/ and the seams, so that the model stays an independent
                         reading of the manual
"""

import re

from common import ROOT, finish, tracked_files

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(["<])([^">]+)[">]', re.MULTILINE)
ANY_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*$", re.MULTILINE)
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdatomic.h", "limits.h"}
SEAMS = {"vmxcore/hal.h", "vmxcore/insn_ops.h"}


def half_of(path):
    """'core', 'defs' (both of the freestanding half), 'sim', or None for files without a rule."""
    if path.parts[:3] == ("include", "vmxcore", "defs"):
        return "defs"
    if path.parts[0] == "lib" or path.parts[:2] == ("include", "vmxcore"):
        return "core"
    if path.parts[0] == "sim" or path.parts[:2] == ("include", "vmxsim"):
        return "sim"
    return None


def is_ours(name, quoted):
    return quoted or name.startswith(("vmxcore/", "vmxsim/"))


def refuse_freestanding(half, name, quoted):
    """Why code of the freestanding half may not include `name`; None if it may."""
    if not is_ours(name, quoted):
        return None if name in FREESTANDING else "is not a freestanding header"
    if name.startswith("vmxsim") or ".." in name or "sim/" in name:
        return "belongs to the simulated machine"
    if half == "defs" and not name.startswith("vmxcore/defs/"):
        return "is outside defs/"
    return None


def refuse_sim(name, quoted):
    """Why the simulated machine may not include `name`; None if it may."""
    if not is_ours(name, quoted):
        return None
    if ".." in name or name.startswith("lib/"):
        return "leaves its folder"
    if name.startswith("vmxcore/") and not (name.startswith("vmxcore/defs/") or name in SEAMS):
        return "is logic of libvmxcore"
    return None


def offences(path, half):
    text = (ROOT / path).read_text()
    if len(ANY_INCLUDE.findall(text)) != len(INCLUDE.findall(text)):
        yield f"{path}: has an #include this test cannot read (a macro?)"
    for quote, name in INCLUDE.findall(text):
        quoted = quote == '"'
        why = refuse_sim(name, quoted) if half == "sim" else refuse_freestanding(half, name, quoted)
        if why:
            yield f"{path}: {name} {why}"


def main():
    files = [(f, half_of(f)) for f in tracked_files() if f.suffix in (".c", ".h", ".def", ".inc")]
    files = [(f, half) for f, half in files if half]
    offenders = [o for f, half in files for o in offences(f, half)]
    finish(offenders, f"{len(files)} files")


if __name__ == "__main__":
    main()
