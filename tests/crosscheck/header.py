# SPDX-License-Identifier: Apache-2.0
"""
The header that experiments share: templates for the processor of an engine.

Memory layout and guest states are those of the recordings in tests/vectors. What is added here: 32-bit paging, and code
for read-modify-writes that stores a known value (XCHG).
"""
import os

import vectors

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "vectors")

# Fields and the capability MSR that says which of their bits must be 1 (low half) and may be 1 (high half).
PIN_BASED, PRIMARY, EXIT, ENTRY, SECONDARY = 0x4000, 0x4002, 0x400C, 0x4012, 0x401E
CONTROL_MSRS = {PIN_BASED: ("0x48d", "0x481"), PRIMARY: ("0x48e", "0x482"), EXIT: ("0x48f", "0x483"),
                ENTRY: ("0x490", "0x484"), SECONDARY: ("0x48b", "0x48b")}
TRUE_CONTROLS = 1 << 55  # of IA32_VMX_BASIC

GUEST_CR3, GUEST_CR4, GUEST_RIP = 0x6802, 0x6804, 0x681E
CR4_PAE = 1 << 5

CODE_PAGE = 0x2009000
REGIONS = [0x3200000, 0x3201000, 0x3202000, 0x3203000]  # VMXON region, three VMCS regions
# Offsets of instructions in the code page, by size of the operand; each ends with VMCALL.
READ_CODE = {1: 0x00, 2: 0x10, 4: 0x20, 8: 0x30}
WRITE_CODE = {1: 0x40, 2: 0x50, 4: 0x60, 8: 0x70}
RMW_CODE = {1: 0x280, 2: 0x290, 4: 0x2A0, 8: 0x2B0}
CODE_LENGTH = {1: 2, 2: 3, 4: 2, 8: 3}
RMW_BYTES = {1: "8603", 2: "668703", 4: "8703", 8: "488703"}
VMCALL_BYTES = "0f01c1"
VMCALL_CODE = 0xC1


def quadword(code):
    return int.from_bytes(bytes.fromhex(code).ljust(8, b"\0"), "little")


def add_code(memory):
    for size, offset in RMW_CODE.items():
        memory[hex(CODE_PAGE + offset)] = hex(quadword(RMW_BYTES[size] + VMCALL_BYTES))


# Guest page tables of 32-bit paging: a directory and three tables with entries of four bytes.
PAGING32_WORDS = {
    0x200A000: 0x0200B067 << 32,               # PDE 1: the code
    0x200A000 + 4 * 510: 0x0200C007 << 32,     # PDE 511: the last page below 2 GBytes
    0x200A000 + 4 * 512: 0x0200D007,           # PDE 512: the first page above
    0x200B000: 0x02009063,
    0x200C000 + 4 * 1022: 0x7FFFF007 << 32,
    0x200D000: 0x80000007,
    0x3029068: 0x200D437,                      # EPT: the fourth table
    0x200B010: 0,
}


def add_paging32(header):
    base = {vectors.number(key): vectors.number(value) for key, value in header["memory"]["base"].items()}
    base.update(PAGING32_WORDS)
    header["memory"]["paging32"] = {hex(key): hex(value) for key, value in sorted(base.items()) if value}
    for suffix in ("", "-user"):
        guest = dict(header["vmcs"]["pae" + suffix])
        guest[hex(GUEST_CR4)] = hex(vectors.number(guest[hex(GUEST_CR4)]) & ~CR4_PAE)
        guest[hex(GUEST_CR3)] = "0x200a000"
        for pdpte in ("0x280a", "0x280c", "0x280e", "0x2810"):
            guest.pop(pdpte, None)
        header["vmcs"]["paging32" + suffix] = guest


def control_limits(cpu, field):
    """(bits that must be 1, bits that may be 1) of a control field."""
    true_msr, msr = CONTROL_MSRS[field]
    use_true = vectors.number(cpu["msr"]["0x480"]) & TRUE_CONTROLS
    value = vectors.number(cpu["msr"].get(true_msr if use_true else msr, "0x0"))
    return value & 0xFFFFFFFF, value >> 32


def fit_controls(cpu, guest):
    for field in CONTROL_MSRS:
        low, high = control_limits(cpu, field)
        value = (vectors.number(guest.get(hex(field), "0x0")) | low) & high
        guest[hex(field)] = hex(value)


def fit_fields(cpu, guest):
    known = set(cpu["vmcs_fields"])
    return {key: value for key, value in guest.items() if key in known and value != "0x0"}


def revision(cpu):
    """The VMCS revision identifier."""
    return vectors.number(cpu["msr"]["0x480"]) & 0x7FFFFFFF


def put_revisions(header):
    """The regions of the templates are those of this processor."""
    for memory in header["memory"].values():
        for region in REGIONS:
            memory[hex(region)] = hex(revision(header["cpu"]))


def add_fills(header):
    """Templates that name every field, for sequences that write a whole VMCS."""
    recorded, _ = vectors.read(os.path.join(VECTORS, "instructions-icelake.jsonl"))
    known = header["cpu"]["vmcs_fields"]
    for name, guest in recorded["vmcs"].items():
        fit_controls(header["cpu"], guest)
        header["vmcs"]["fill-" + name] = {key: value for key, value in guest.items() if key in known}


def make(engine, cpu, seed):
    """A header for experiments with this seed on this processor."""
    header, _ = vectors.read(os.path.join(VECTORS, "access-icelake.jsonl"))
    bitmaps, _ = vectors.read(os.path.join(VECTORS, "intercept-icelake.jsonl"))
    header["memory"] = dict(bitmaps["memory"])
    header["version"] = 2
    header["source"] = {"engine": engine.name, "version": engine.version, "model": engine.model, "seed": seed}
    header["cpu"] = cpu
    for memory in header["memory"].values():
        add_code(memory)
    add_paging32(header)
    for name, guest in header["vmcs"].items():
        fit_controls(cpu, guest)
        header["vmcs"][name] = fit_fields(cpu, guest)
    add_fills(header)
    put_revisions(header)
    return header
