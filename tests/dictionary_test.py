# SPDX-License-Identifier: Apache-2.0
"""The dictionaries in the folder that is named: every line has the form that libFuzzer and AFL++ read, and what the tables hold is
there."""

import re
import sys
from pathlib import Path

LINE = re.compile(r'[a-z_]+="((?:\\x[0-9a-f]{2})+)"')
LONGEST = 128  # bytes of an entry that AFL++ takes

WANTED = {
    "numbers.dict": {
        "GUEST_CR0": bytes.fromhex("0068"),
        "GUEST_CR0 as a value": bytes.fromhex("050068"),
        "IA32_EFER": bytes.fromhex("800000c0"),
        "IA32_KERNEL_GS_BASE": bytes.fromhex("020100c0"),
        "exit reason 48": bytes.fromhex("3000"),
        "canonical": bytes.fromhex("000000000080ffff"),
        "one bit": bytes.fromhex("012f"),  # 800000000000H
    },
    "text.dict": {
        "GUEST_CR0": b'"GUEST_CR0"',
        "its encoding": b'"0x6800"',
        "an MSR": b'"0xc0000080"',
        "exit reason 48": b'"0x30"',
        "a key": b'"accesses"',
        "a kind": b'"instructions"',
        "a word of kernel logs": b"Interruptibility",
    },
}


def entries(path):
    found = set()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = LINE.fullmatch(line)
        if not match:
            sys.exit(f"FAILED: {path.name}:{number}: no entry: {line}")
        entry = bytes.fromhex(match[1].replace("\\x", ""))
        if len(entry) > LONGEST:
            sys.exit(f"FAILED: {path.name}:{number}: {len(entry)} bytes")
        found.add(entry)
    return found


def main():
    for name, wanted in WANTED.items():
        found = entries(Path(sys.argv[1]) / name)
        missing = [what for what, entry in wanted.items() if entry not in found]
        if missing:
            sys.exit(f"FAILED: {name} lacks {', '.join(missing)}")
        print(f"{name}: {len(found)} entries")


if __name__ == "__main__":
    main()
