# SPDX-License-Identifier: Apache-2.0
"""The native instance of the instruction seam holds each instruction, exactly as often as it should.

native_test.py OBJDUMP LIBRARY
"""

import re
import subprocess
import sys
from collections import Counter

# VMWRITE: the operation itself, and HOST_RSP and HOST_RIP before an entry.
EXPECTED = {
    "vmxon": 1, "vmxoff": 1, "vmclear": 1, "vmptrld": 1, "vmptrst": 1, "vmread": 1, "vmwrite": 3,
    "vmlaunch": 1, "vmresume": 1, "invept": 1, "invvpid": 1, "rdmsr": 1, "wrmsr": 1, "cpuid": 1,
    "str": 1, "sgdt": 1, "sidt": 1,
    "from cr0": 1, "from cr3": 1, "from cr4": 1, "to cr0": 1, "to cr3": 1, "to cr4": 1,
    "from es": 1, "from cs": 1, "from ss": 1, "from ds": 1, "from fs": 1, "from gs": 1,
}


def instruction_of(line):
    """The word EXPECTED knows an instruction by, or its mnemonic. Reads what GNU's and LLVM's objdump print."""
    match = re.match(r"\s*[0-9a-f]+:\s+([a-z]\w*)\s*(.*)$", line)
    if not match:
        return None
    mnemonic, operands = match.group(1), match.group(2).replace(" ", "")
    if mnemonic.startswith("mov"):
        source = re.match(r"%(cr\d|[cdefgs]s),", operands)
        target = re.search(r",%(cr\d|[cdefgs]s)$", operands)
        if source:
            return "from " + source.group(1)
        return "to " + target.group(1) if target else mnemonic
    without_suffix = re.sub("[bwlq]$", "", mnemonic)
    return without_suffix if without_suffix in EXPECTED and mnemonic not in EXPECTED else mnemonic


def main():
    objdump, library = sys.argv[1:]
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", library],
                          capture_output=True, text=True, check=True).stdout
    found = Counter(filter(None, map(instruction_of, text.splitlines())))
    wrong = [f"{name}: {found[name]} times, not {count}"
             for name, count in EXPECTED.items() if found[name] != count]
    # The guest's vector registers are not switched: nothing here may touch them.
    wrong += [f"{name}: uses vector registers" for name in found if re.match(r"v?mov(ap|up|dq)", name)]
    print("\n".join(wrong) or f"{len(EXPECTED)} instructions")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
