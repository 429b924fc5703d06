#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes seed corpora for the fuzz harnesses from recorded vectors: OUT/<harness>/<file>-<number>.

What an input of a harness can express is taken over: a VMCS whole, the registers and the access of a page walk without its tables,
VMX instructions with their regions and fields, ports and MSRs. fuzz_replay and fuzz_dump get documents.
"""

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("icelake", "skylake", "tigerlake", "everything")  # as sim/CMakeLists.txt embeds them
CASES_A_DOCUMENT = 2
DOCUMENTS = 24  # of each file, spread over its cases


class SeedError(Exception):
    pass


def field_ordinals():
    rows = re.findall(r"^VMXC_VMCS_FIELD\((0x[0-9a-f]+),",
                      (ROOT / "include/vmxcore/defs/vmcs_fields.def").read_text(), re.MULTILINE)
    return {int(encoding, 16): ordinal for ordinal, encoding in enumerate(rows)}


FIELDS = field_ordinals()


# ---- Bytes, as vmxsim/fuzz.h reads them ----

def number(value, size):
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def value(number_):
    """A literal of vmxsim_fuzz_value."""
    size = max(1, (number_.bit_length() + 7) // 8)
    return bytes([5 * (size - 1)]) + number(number_, size)


def full_vmcs(header, vmcs):
    base, changes = vmcs
    return {int(key, 16): int(text, 16) for key, text in {**header["vmcs"][base], **changes}.items()}


def profile_of(header):
    model = header["source"]["model"]
    return next((i for i, name in enumerate(PROFILES) if name in model), 0)


# ---- One function for each harness that reads numbers ----

def vmcs_input(header, case):
    """No rounding, nothing broken, zeros, then each field that is not 0."""
    resume = case["instruction"] == "vmresume"
    fields = full_vmcs(header, case["vmcs"])
    return (number(profile_of(header), 1) + number(1 | resume << 1, 2) + number(0, 1) + number(0, 8) +
            b"".join(number(FIELDS[code], 1) + value(content)
                     for code, content in fields.items() if content and code in FIELDS))


def paging_mode(fields):
    cr0, cr4, efer = (fields.get(code, 0) for code in (0x6800, 0x6804, 0x2806))
    if not cr0 >> 31 & 1:
        return 0
    if efer >> 10 & 1:
        return 4 if cr4 >> 12 & 1 else 3
    return 2 if cr4 >> 5 & 1 else 1


def walk_input(header, case):
    fields = full_vmcs(header, case["vmcs"])
    cr0, cr4, eptp = (fields.get(code, 0) for code in (0x6800, 0x6804, 0x201a))
    secondary = fields.get(0x401e, 0)
    controls = (not secondary >> 1 & 1) | (secondary >> 22 & 1) << 2 | 64 | (eptp >> 6 & 1) << 7
    bits = [cr0 >> 16, cr4 >> 4, cr4 >> 20, cr4 >> 21, cr4 >> 22, cr4 >> 24, cr4 >> 7,
            fields.get(0x2806, 0) >> 11, fields.get(0x6820, 0) >> 18]
    registers = fields.get(0x4816, 0) >> 5 & 3 | sum((bit & 1) << 2 + i for i, bit in enumerate(bits))
    registers |= (int(case.get("pkru", "0"), 16) & 0xffff) << 16
    access = case["accesses"][-1]
    how = ("fetch", "read", "write", "rmw").index(access["type"]) | (access["size"] - 1) << 4
    return (number(profile_of(header), 1) + number(65 + paging_mode(fields), 1) + number(controls, 2) +
            number(registers, 4) + value(int(access["linear"], 16)) + number(how, 2))


INSTRUCTIONS = ("vmxon", "vmxoff", "vmclear", "vmptrld", "vmptrst", "vmread", "vmwrite", "vmlaunch", "vmresume", "vmcall",
                "vmfunc", "invept", "invvpid", "set_cr0", "set_cr4", "rdmsr", "wrmsr", "poke", "fill")


def region(address):
    """Recorded regions are pages from 3200000H on; what is beside a page stays beside it."""
    page, offset = divmod(int(address, 16) - 0x3200000, 0x1000)
    return number(page, 1) if 0 <= page < 6 and offset == 0 else number(240, 1) + value(int(address, 16) & 0xffff)


def field(code):
    ordinal = FIELDS.get(int(code, 16))
    return number(0xf000, 2) + value(int(code, 16)) if ordinal is None else number(len(FIELDS) * 20 + ordinal, 2)


def step(what):
    op = what["op"]
    text = number(INSTRUCTIONS.index(op), 1)
    numbers = {key: int(part, 16) for key, part in what.items() if key in ("value", "msr", "type")}
    if op in ("vmxon", "vmclear", "vmptrld"):
        return text + region(what["address"])
    if op in ("vmread", "vmwrite"):
        return text + field(what["field"]) + (value(numbers["value"]) if op == "vmwrite" else b"")
    if op == "vmfunc":
        return text + number(0, 3)
    if op in ("invept", "invvpid"):
        return text + number(numbers["type"], 1) + b"".join(value(int(part, 16)) for part in what["descriptor"])
    if op in ("set_cr0", "set_cr4"):
        return text + value(numbers["value"] ^ (0x80000031 if op == "set_cr0" else 0x2020))
    if op in ("rdmsr", "wrmsr"):
        return text + value(numbers["msr"]) + (value(numbers["value"]) if op == "wrmsr" else b"")
    if op == "poke":
        return text + number(int(what["address"], 16) - 0x31ff000, 2) + value(numbers["value"])
    return text + (number(0, 2) if op == "fill" else b"")


def insn_input(header, case):
    return number(profile_of(header), 1) + b"".join(step(what) for what in case["steps"])


def bitmaps_input(_, case):
    """The port or the MSR, with its neighbours, and then itself made to exit or not as it was; None: there is neither."""
    what = case["instruction"]
    exits = case["expect"].get("result") == "exit"
    if "port" in what:
        port, size = int(what["port"], 16), what["size"]
        return (number(1, 1) + number(port - 3, 2) + number(7, 2) + number(not exits, 1) +
                number(0, 1) + number(port, 2) + number({1: 0, 2: 1, 4: 2}[size], 2) + number(exits, 1))
    if "msr" not in what:
        return None
    msr = int(what["msr"], 16)
    index = msr if msr < 0x2000 else 0x2000 + (msr & 0x1fff)
    return number(3, 1) + number(index, 2) + number(0, 2) + number(exits | (what["op"] == "wrmsr") << 1, 1)


NUMBERS = {"entry": {"vmcs": vmcs_input}, "access": {"walk": walk_input}, "instructions": {"insn": insn_input},
           "intercept": {"bitmaps": bitmaps_input}}


# ---- Documents ----

def document(header, cases):
    """The header without the templates that these cases do not use, and the cases."""
    names = {part: {case[part][0] for case in cases if part in case} for part in ("vmcs", "memory")}
    for case in cases:
        names["vmcs"] |= {what["vmcs"][0] for what in case.get("steps", ()) if "vmcs" in what}
    cut = {key: {name: template for name, template in part.items() if name in names[key]} if key in names else part
           for key, part in header.items()}
    lines = (json.dumps(line, separators=(",", ":")) for line in (cut, *cases))
    return ("\n".join(lines) + "\n").encode()


def spread(cases, count):
    return cases[::max(1, len(cases) // count)]


# ---- Files ----

def read_vectors(path):
    try:
        header, *cases = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise SeedError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise SeedError(f"{path}: not one JSON document a line: {error}") from None
    if not isinstance(header, dict) or header.get("format") != "vmx-vectors":
        raise SeedError(f"{path}: no file of vectors")
    return header, cases


def seeds_of(path):
    header, cases = read_vectors(path)
    for i, case in enumerate(cases):
        for harness, make in NUMBERS.get(case["kind"], {}).items():
            seed = make(header, case)
            if seed is not None:
                yield harness, f"{path.stem}-{i + 1:04}", seed
    for i, case in enumerate(spread(cases, DOCUMENTS)):
        place = cases.index(case)
        yield "replay", f"{path.stem}-{i + 1:02}", document(header, cases[place:place + CASES_A_DOCUMENT])
        if case["kind"] == "entry":
            yield "dump", f"{path.stem}-{i + 1:02}", document(header, [case])


def write_seeds(out, paths):
    counts = {}
    for path in paths:
        for harness, name, data in seeds_of(path):
            folder = out / harness
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            counts[harness] = counts.get(harness, 0) + 1
    for path in sorted((ROOT / "tests/data/check").iterdir()):
        (out / "dump").mkdir(parents=True, exist_ok=True)
        (out / "dump" / path.name).write_bytes(path.read_bytes())
        counts["dump"] = counts.get("dump", 0) + 1
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the numbers of seeds as JSON")
    parser.add_argument("out", type=Path, help="folder that gets a folder for each harness")
    parser.add_argument("file", type=Path, nargs="*", help="files of vectors (default: all of tests/vectors/)")
    arguments = parser.parse_args()
    try:
        counts = write_seeds(arguments.out, arguments.file or sorted((ROOT / "tests/vectors").glob("*.jsonl")))
    except (SeedError, OSError) as error:
        sys.exit(f"seeds: {error}")
    except (KeyError, ValueError, IndexError, TypeError, StopIteration) as error:
        sys.exit(f"seeds: a case that docs/vectors.md does not describe: {error!r}")
    if arguments.json:
        print(json.dumps(counts))
        return
    for harness, count in sorted(counts.items()):
        print(f"{harness:12} {count} seeds")


if __name__ == "__main__":
    main()
