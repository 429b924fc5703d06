# SPDX-License-Identifier: Apache-2.0
"""Every member of a C enumeration or table has its Python twin, and the other way round."""
from __future__ import annotations

import enum
import re

import pytest
from tree import ROOT

from vmxsim import enums
from vmxsim.raw import ffi, lib

INCLUDE = ROOT / "include"
HEADERS = sorted(path for part in ("vmxcore", "vmxsim") for path in INCLUDE.glob(f"{part}/**/*.h"))


def c_tags() -> set[str]:
    return {tag for header in HEADERS for tag in re.findall(r"^enum (\w+) \{", header.read_text(), re.MULTILINE)}


def test_every_enumeration_of_the_headers_has_a_class() -> None:
    assert set(enums.C_TAGS) == c_tags()


@pytest.mark.parametrize("tag", sorted(enums.C_TAGS))
def test_members_are_the_same_both_ways(tag: str) -> None:
    twin = getattr(enums, enums.C_TAGS[tag])
    members = ffi.typeof(f"enum {tag}").relements
    counts = {name for name, value in members.items() if name.endswith("_COUNT") and value == max(members.values())}
    expected = sorted(value for name, value in members.items() if name not in counts)
    assert sorted(member.value for member in twin.__members__.values()) == expected
    for name, member in twin.__members__.items():
        bare = re.sub(r"^SIZE_|_$", "", name)
        matching = [c_name for c_name, value in members.items() if value == member.value]
        assert any(c_name.endswith(bare) for c_name in matching) or name in ("BITS_32", "FOUR_LEVEL", "FIVE_LEVEL")


TABLES = [
    ("ExitReason", "vmxcore/defs/exit_reasons.def", r"VMXC_EXIT_REASON\((\d+),\s*(\w+)"),
    ("VmInstructionError", "vmxcore/defs/vm_errors.def", r"VMXC_VM_ERROR\((\d+),\s*(\w+)"),
    ("Status", "vmxcore/defs/status.def", r"VMXC_STATUS\((\d+),\s*(\w+)"),
    ("Field", "vmxcore/defs/vmcs_fields.def", r"VMXC_VMCS_FIELD\((0x\w+),\s*\w+,\s*\w+,\s*(\w+)"),
]


@pytest.mark.parametrize("name, path, row", TABLES)
def test_numbered_tables(name: str, path: str, row: str) -> None:
    rows = {member: int(number, 0) for number, member in re.findall(rf"^{row}", (INCLUDE / path).read_text(), re.MULTILINE)}
    if name == "VmInstructionError":
        rows["NONE"] = 0
    assert {member: value.value for member, value in getattr(enums, name).__members__.items()} == rows


@pytest.mark.parametrize("name, path, macro", [
    ("WalkRule", "vmxsim/walk_rules.def", "VMXSIM_WALK_RULE"),
    ("HazardRule", "vmxsim/hazard_rules.def", "VMXSIM_HAZARD_RULE"),
    ("InsnRule", "vmxsim/insn_rules.def", "VMXSIM_INSN_RULE"),
    ("EntryRule", "vmxsim/entry_rules.def", "VMXSIM_ENTRY_RULE"),
])
def test_rules_keep_order_and_id(name: str, path: str, macro: str) -> None:
    rows = re.findall(rf'^{macro}\((\w+), "([^"]+)"', (INCLUDE / path).read_text(), re.MULTILINE)
    members = [(member.name, member.id) for member in getattr(enums, name) if member.name != "NONE"]
    assert members == rows
    assert all(member.text and member.section for member in getattr(enums, name) if member.name != "NONE")


def test_controls_are_those_of_the_table() -> None:
    rows = re.findall(r"^VMXC_CONTROL\((\w+),\s*(\d+),\s*(\w+)", (INCLUDE / "vmxcore/defs/controls.def").read_text(), re.MULTILINE)
    classes = {"PIN": enums.PinControls, "PRIMARY": enums.PrimaryControls, "SECONDARY": enums.SecondaryControls,
               "TERTIARY": enums.TertiaryControls, "EXIT": enums.ExitControls,
               "SECONDARY_EXIT": enums.SecondaryExitControls, "ENTRY": enums.EntryControls}
    listed = {(word, name, bit.value) for word, kind in classes.items() for name, bit in kind.__members__.items()}
    assert listed == {(word, name, 1 << int(bit)) for word, bit, name in rows}
    for word, name, value in listed:
        assert getattr(lib, f"VMXC_{word}_{name}") == value


@pytest.mark.parametrize("name, prefix", [
    ("Cr0", "VMXC_CR0_"), ("Cr4", "VMXC_CR4_"), ("Efer", "VMXC_EFER_"), ("PageFaultError", "VMXC_PF_"),
    ("EptViolationBits", "VMXC_EPT_VIOLATION_"), ("PteBits", "VMXC_PTE_"), ("EptVpidCap", "VMXC_EPT_VPID_CAP_"),
])
def test_bit_sets_are_the_macros(name: str, prefix: str) -> None:
    macros = {macro[len(prefix):]: getattr(lib, macro) for macro in dir(lib) if macro.startswith(prefix)}
    single = {macro: value for macro, value in macros.items() if value & (value - 1) == 0}
    assert {member: bit.value for member, bit in getattr(enums, name).__members__.items()} == single


def test_permissions_combine_and_unknown_bits_are_refused() -> None:
    assert enums.EptPerm.R | enums.EptPerm.W == enums.EptPerm.RW
    assert repr(enums.EptPerm.RX) == "EptPerm(R|X)"
    assert enums.EptPerm.require(5) is enums.EptPerm.RX
    with pytest.raises(ValueError, match="0x10"):
        enums.EptPerm.require(0x11)


def test_members_are_described() -> None:
    assert enums.ExitReason.EPT_VIOLATION.text == "EPT violation"
    assert enums.WalkRule.EPT_MC_RSVD.section == "EPT Misconfigurations"
    assert enums.Access.RMW.text == "rmw" and enums.Access.RMW.id == "RMW" and enums.Access.RMW.section == ""
    assert str(enums.Access.RMW) == "RMW" and str(enums.EptPerm.NONE) == "0"


def test_all_is_everything_public() -> None:
    classes = {name for name, value in vars(enums).items()
               if isinstance(value, type) and issubclass(value, enum.Enum) and value.__module__ == "vmxsim.enums"}
    assert set(enums.__all__) == classes


def test_every_function_of_the_headers_is_reachable() -> None:
    # docs/python.md: instructions that need a processor in VMX operation, and entry points of a fuzzing engine.
    left_out = {"vmxc_insn_native", "vmxsim_fuzz_afl_new", "vmxsim_fuzz_afl_run", "vmxsim_fuzz_afl_free"}
    declared = set()
    for header in HEADERS:
        text = re.sub(r"/\*.*?\*/|^\s*#.*?(?<!\\)$", "", header.read_text(), flags=re.DOTALL | re.MULTILINE)
        declared |= set(re.findall(r"\b((?:vmxc|vmxsim)_\w+)\((?!\*)[^;{]*?\)\s*(?:VMXC_PRINTF\([^)]*\))?;", text))
    callable_types = {name for name in declared if not hasattr(lib, name)}
    typedefs = {name for header in HEADERS for name in re.findall(r"typedef [^;]*?\(?\*?(\w+)\)?\(", header.read_text())}
    assert callable_types - typedefs - left_out == set()
    assert len(declared) > 250
