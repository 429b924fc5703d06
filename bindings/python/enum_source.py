# SPDX-License-Identifier: Apache-2.0
"""Python source of the package's enumerations, from what the C headers and tables say."""
from __future__ import annotations

import keyword
import os
import pathlib
import re
import typing

import cffi

if typing.TYPE_CHECKING:
    from generate import Preprocessor

Members = dict[str, int]

# Classes whose name is not the enumeration's own in CamelCase.
CLASS_NAMES = {
    "vmxc_memory_type": "MemType",
    "vmxc_vmcs_field": "Field",
    "vmxc_vmcs_width": "FieldWidth",
    "vmxc_vmcs_type": "FieldType",
    "vmxc_vm_error": "VmInstructionError",
    "vmxc_vector": "Vector",
    "vmxc_gpr": "Gpr",
    "vmxc_invept_type": "InveptType",
    "vmxc_invvpid_type": "InvvpidType",
    "vmxc_insn_result": "SeamResult",
    "vmxsim_access_type": "Access",
    "vmxsim_segment_register": "Segment",
    "vmxsim_vmcs_format": "VmcsFormat",
    "vmxc_activity": "ActivityState",
    "vmxc_vmx_abort": "VmxAbort",
}

# Members that begin with a digit and are no size.
DIGIT_NAMES = {"32BIT": "BITS_32", "4_LEVEL": "FOUR_LEVEL", "5_LEVEL": "FIVE_LEVEL", "1": "ALWAYS_1"}

# Sets of single bits, from macros: class, prefix of the macros, names that belong to something else, sentence.
BIT_SETS = (
    ("Cr0", "VMXC_CR0_", "", "Bits of CR0."),
    ("Cr4", "VMXC_CR4_", "", "Bits of CR4."),
    ("Efer", "VMXC_EFER_", "", "Bits of IA32_EFER."),
    ("Rflags", "VMXC_RFLAGS_", "RESERVED", "Bits of RFLAGS."),
    ("PageFaultError", "VMXC_PF_", "", "Bits of a page-fault error code."),
    ("PteBits", "VMXC_PTE_", "", "Single bits of guest paging-structure entries."),
    ("EptBits", "VMXC_EPT_", "VIOLATION_|VPID_CAP_|ENTRIES_|MERGE_", "Single bits of EPT entries."),
    ("EptViolationBits", "VMXC_EPT_VIOLATION_", "", "Bits of the exit qualification of an EPT violation."),
    ("EptVpidCap", "VMXC_EPT_VPID_CAP_", "", "Single bits of IA32_VMX_EPT_VPID_CAP."),
    ("FeatureControl", "VMXC_FEATURE_CONTROL_", "USABLE|UNLOCKED|LOCKED_OUT", "Single bits of IA32_FEATURE_CONTROL."),
    ("Interruptibility", "VMXC_INTERRUPTIBILITY_", "RESERVED", "Bits of the interruptibility state."),
    ("MsrAccess", "VMXC_MSR_ACCESS_", "", "Directions of an access to an MSR."),
)

# Rights of a guest-physical mapping: Python name, macro.
PERMISSIONS = (("R", "VMXC_MAP_READ"), ("W", "VMXC_MAP_WRITE"), ("X", "VMXC_MAP_EXECUTE"), ("UX", "VMXC_MAP_USER"))

CONTROL_CLASSES = {
    "PIN": ("PinControls", "Pin-based VM-execution controls."),
    "PRIMARY": ("PrimaryControls", "Primary processor-based VM-execution controls."),
    "SECONDARY": ("SecondaryControls", "Secondary processor-based VM-execution controls."),
    "TERTIARY": ("TertiaryControls", "Tertiary processor-based VM-execution controls."),
    "EXIT": ("ExitControls", "Primary VM-exit controls."),
    "SECONDARY_EXIT": ("SecondaryExitControls", "Secondary VM-exit controls."),
    "ENTRY": ("EntryControls", "VM-entry controls."),
}

# Tables that say more of each member than its number: class, file, macro, parameters, columns: name, then texts.
TABLES = (
    ("ExitReason", "vmxcore/defs/exit_reasons.def", "VMXC_EXIT_REASON", "n, name, text", "#name, text,"),
    ("VmInstructionError", "vmxcore/defs/vm_errors.def", "VMXC_VM_ERROR", "n, name, text", "#name, text,"),
    ("Status", "vmxcore/defs/status.def", "VMXC_STATUS", "n, name, text", "#name, text,"),
    ("WalkRule", "vmxsim/walk_rules.def", "VMXSIM_WALK_RULE", "name, id, section, text", "#name, text, id, section,"),
    ("InsnRule", "vmxsim/insn_rules.def", "VMXSIM_INSN_RULE", "name, id, section, text", "#name, text, id, section,"),
    ("HazardRule", "vmxsim/hazard_rules.def", "VMXSIM_HAZARD_RULE", "name, id, section, text", "#name, text, id, section,"),
    ("EntryRule", "vmxsim/entry_rules.def", "VMXSIM_ENTRY_RULE", "name, id, group, text", "#name, text, id, #group,"),
    ("EntryGroup", "vmxsim/entry_rules.def", "VMXSIM_ENTRY_GROUP", "name, section, outcome, n", "#name, section,"),
)


def c_enums(declarations: str) -> dict[str, Members]:
    """Every named enumeration of the headers, by tag; unnamed ones under numbers."""
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    enums = {tag: dict(ffi.typeof(f"enum {tag}").relements) for tag in re.findall(r"\benum (\w+)\s*\{", declarations)}
    for number, body in enumerate(re.findall(r"\benum\s*\{([^}]*)\}", declarations)):
        names = re.findall(r"\b(VMX\w+)\s*(?:,|$|=)", body)
        enums[f"#{number}"] = {name: position for position, name in enumerate(names)}
    return enums


def class_name(tag: str) -> str:
    bare = re.sub(r"^(vmxc|vmxsim)_", "", tag)
    return CLASS_NAMES.get(tag) or "".join(part.capitalize() for part in bare.split("_"))


def python_name(name: str) -> str:
    if name[0].isdigit():
        return DIGIT_NAMES.get(name, f"SIZE_{name}")
    return f"{name}_" if keyword.iskeyword(name) or name == "mro" else name


def members_of(enum: Members) -> Members:
    """Names without what all of them begin with, and without the count that ends a list."""
    listed = {name: value for name, value in enum.items()
              if not (name.endswith("_COUNT") and value == max(enum.values()))}
    common = os.path.commonprefix(list(listed))
    common = common[:common.rfind("_") + 1]
    ordered = sorted(listed.items(), key=lambda pair: pair[1])
    return {python_name(name[len(common):]): value for name, value in ordered}


def class_text(name: str, base: str, sentence: str, members: typing.Iterable[tuple[str, str]]) -> str:
    lines = [f"class {name}({base}):", f'    """{sentence}"""', ""]
    return "\n".join(lines + [f"    {member} = {value}" for member, value in members]) + "\n"


def is_single_bit(value: int) -> bool:
    return value != 0 and value & (value - 1) == 0


def bit_set(values: Members, name: str, prefix: str, others: str, sentence: str) -> str:
    members = [(python_name(macro[len(prefix):]), value) for macro, value in values.items()
               if macro.startswith(prefix) and is_single_bit(value)
               and not (others and re.match(others, macro[len(prefix):]))]
    return class_text(name, "BitSet", sentence, [(m, f"{v:#x}") for m, v in sorted(members, key=lambda pair: pair[1])])


def permission_class(values: Members) -> str:
    single = [(name, hex(values[macro])) for name, macro in PERMISSIONS]
    together = [("RW", "R | W"), ("RX", "R | X"), ("RWX", "R | W | X")]
    none = [("NONE", hex(values["VMXC_MAP_NONE"]))]
    sentence = "Rights of a guest-physical mapping. UX: user-mode execute, with mode-based execute control."
    return class_text("EptPerm", "BitSet", sentence, none + single + together)


def control_classes(preprocessor: Preprocessor) -> str:
    rows = preprocessor.table("vmxcore/defs/controls.def", "VMXC_CONTROL", "word, bit, name, text", "#word, bit, #name, text,")
    texts = []
    for word, (name, sentence) in CONTROL_CLASSES.items():
        members = [(member, hex(1 << bit)) for row_word, bit, member, _ in rows if row_word == word]
        texts.append(class_text(name, "BitSet", sentence, members))
    return "\n\n".join(texts)


def msr_class(values: Members) -> str:
    members = [(name[len("VMXC_MSR_"):], f"{value:#x}") for name, value in values.items()
               if name.startswith("VMXC_MSR_") and not name.startswith("VMXC_MSR_ACCESS_")]
    return class_text("Msr", "Described", "Indices of model-specific registers that VMX rules name.", members)


def text_tables(preprocessor: Preprocessor) -> str:
    lines = ["TEXTS.update({"]
    for name, path, macro, parameters, columns in TABLES:
        lines.append(f"    {name}: {{")
        lines += [f"        {member!r}: {tuple(texts)!r},"
                  for member, *texts in preprocessor.table(path, macro, parameters, columns)]
        lines.append("    },")
    return "\n".join(lines + ["})"])


# Fields whose value is a set of bits or an enumeration: what the attribute gives.
FIELD_CLASSES = {
    "PIN_BASED_CONTROLS": "PinControls", "PRIMARY_PROCESSOR_BASED_CONTROLS": "PrimaryControls",
    "SECONDARY_PROCESSOR_BASED_CONTROLS": "SecondaryControls", "TERTIARY_PROCESSOR_BASED_CONTROLS": "TertiaryControls",
    "PRIMARY_VM_EXIT_CONTROLS": "ExitControls", "SECONDARY_VM_EXIT_CONTROLS": "SecondaryExitControls",
    "VM_ENTRY_CONTROLS": "EntryControls", "GUEST_CR0": "Cr0", "GUEST_CR4": "Cr4", "HOST_CR0": "Cr0", "HOST_CR4": "Cr4",
    "GUEST_IA32_EFER": "Efer", "HOST_IA32_EFER": "Efer", "GUEST_RFLAGS": "Rflags",
    "GUEST_INTERRUPTIBILITY_STATE": "Interruptibility",
}
GROUPS = (("GuestFields", "GUEST", "GUEST_", "The guest-state area."), ("HostFields", "HOST", "HOST_", "The host-state area."),
          ("ControlFields", "CONTROL", "", "VM-execution, VM-exit and VM-entry control fields."),
          ("ExitFields", "READ_ONLY", "", "VM-exit information fields."))


def dump_table(preprocessor: Preprocessor, path: pathlib.Path) -> str:
    """Which key of a kernel's dump shows a field: section, subject, key, field, digits; pairs: both fields."""
    columns = "#section, subject, key, #field, digits,"
    single = preprocessor.table(str(path), "DUMP_KEY", "section, subject, key, field, digits", columns,
                                "DUMP_PAIR DUMP_STATUS DUMP_IGNORED")
    pairs = preprocessor.table(str(path), "DUMP_PAIR", "section, subject, key, first, second", "#section, key, #first, #second,",
                               "DUMP_KEY DUMP_STATUS DUMP_IGNORED")
    lines = [f"    ({section!r}, {subject!r}, {key!r}, enums.Field.{field}, {digits}),"
             for section, subject, key, field, digits in single]
    pair_lines = [f"    ({section!r}, {key!r}, enums.Field.{first}, enums.Field.{second})," for section, key, first, second in pairs]
    return "\n".join(["DUMP_KEYS = (", *lines, ")", "DUMP_PAIRS = (", *pair_lines, ")"]) + "\n"


def fields_source(preprocessor: Preprocessor, dump_keys: pathlib.Path) -> str:
    """One class per area of the VMCS, one attribute per field."""
    rows = preprocessor.table("vmxcore/defs/vmcs_fields.def", "VMXC_VMCS_FIELD", "e, width, type, name, feature",
                              "#type, #name,")
    names = {name for _, name in rows}
    unknown = set(FIELD_CLASSES) - names
    if unknown:
        raise SystemExit(f"enum_source.py: no such VMCS fields: {sorted(unknown)}")
    texts = []
    for name, area, prefix, sentence in GROUPS:
        kinds = {field: f"enums.{FIELD_CLASSES[field]}" if field in FIELD_CLASSES else "int" for _, field in rows}
        members = [(python_name(field.removeprefix(prefix).lower()), f"FieldAttribute(enums.Field.{field}, {kinds[field]})")
                   for row_area, field in rows if row_area == area]
        texts.append(class_text(name, "FieldGroup", sentence, members))
    heading = ('# SPDX-License-Identifier: Apache-2.0\n'
               '"""VMCS fields as attributes. Generated from the C headers by generate.py."""\n'
               "from __future__ import annotations\n\n"
               "from vmxsim import enums\nfrom vmxsim._fields import FieldAttribute, FieldGroup\n\n\n")
    return heading + "\n\n".join([*texts, dump_table(preprocessor, dump_keys)])


def python_source(preprocessor: Preprocessor, enums: dict[str, Members], values: Members) -> str:
    named = {tag: members_of(members) for tag, members in enums.items() if not tag.startswith("#")}
    classes = [class_text(class_name(tag), "Described", f"C: enum {tag}.", [(n, str(v)) for n, v in members.items()])
               for tag, members in sorted(named.items())]
    classes += [permission_class(values), control_classes(preprocessor), msr_class(values)]
    classes += [bit_set(values, *row) for row in BIT_SETS]
    listed = sorted(re.findall(r"^class (\w+)\(", "\n".join(classes), re.MULTILINE))
    heading = ('# SPDX-License-Identifier: Apache-2.0\n'
               '"""Enumerations of the hardware and of this library. Generated from the C headers by generate.py."""\n'
               "from __future__ import annotations\n\n"
               "from vmxsim._enum import TEXTS, BitSet, Described\n\n"
               "__all__ = [\n" + "".join(f"    {name!r},\n" for name in listed) + "]\n\n"
               "# C tag of each enumeration -> its class here.\n"
               "C_TAGS = {\n" + "".join(f"    {tag!r}: {class_name(tag)!r},\n" for tag in sorted(named)) + "}\n")
    return heading + "\n\n" + "\n\n".join(classes) + "\n\n" + text_tables(preprocessor) + "\n"
