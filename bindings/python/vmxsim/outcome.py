# SPDX-License-Identifier: Apache-2.0
"""What things came to, as values: frozen, comparable, made for ``match``.

>>> outcome = CpuException(vector=13, error_code=0, rule=WalkRule.PG_CANONICAL)
>>> match outcome:
...     case CpuException(vector=13): print("general protection")
general protection
"""
from __future__ import annotations

import dataclasses
import enum
import html
import struct
import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import (Access, EntryRule, EptPerm, EptViolationBits, ExitReason, InsnRule, MemType, OutcomeKind, TrailKind,
                          VmInstructionError, WalkRule)
from vmxsim.profile import take_text

__all__ = [
    "Completed", "CpuException", "Entered", "EntryFailure", "EptMisconfiguration", "EptViolation", "GuestPageFault", "Outcome",
    "Rule", "Trail", "TrailEntry", "Translation", "VmExit", "VmFail",
]

Rule = typing.Union[WalkRule, InsnRule, EntryRule]


def plain(value: object) -> typing.Any:
    """A value as JSON has it: names for enumerations, lists for tuples, objects for dataclasses."""
    if isinstance(value, enum.Flag):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.compare]
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    return value


def html_table(heading: typing.Sequence[str], rows: typing.Iterable[typing.Sequence[object]]) -> str:
    """A table for notebooks."""
    def row(cells: typing.Iterable[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<table><thead>{row(heading, 'th')}</thead><tbody>{''.join(row(cells, 'td') for cells in rows)}</tbody></table>"


# The C structures behind an outcome of a guest action: access, outcome, trail. None: there is none.
_Evidence = typing.Tuple[typing.Any, typing.Any, typing.Any]


@dataclasses.dataclass(frozen=True, slots=True)
class TrailEntry:
    """One step of a walk, in the order in which the processor took them."""

    kind: TrailKind
    level: int
    """Of the entry: 1 (PTE) to 5."""
    guest_level: int
    """EPT entries: the guest entry that was being located; 0: the page itself."""
    hpa: int
    """Where the entry lies."""
    gpa: int
    """Guest entry: its guest-physical address; EPT entry: the address being translated."""
    value: int
    """As read."""
    updated: int
    """After accessed and dirty flags were set."""
    verdict: WalkRule
    """What stopped the walk at this entry; NONE: it went on."""
    offending: int
    """Bits that the verdict is about."""
    leaf: bool
    cached: bool
    """Nothing was read: the value is that of a cached translation."""
    now: int | None
    """What memory holds, if the entry has changed since in a way that calls for an invalidation."""


class Trail(typing.Sequence[TrailEntry]):
    """The entries that an access read or wrote. A notebook shows a table."""

    __slots__ = ("_entries",)

    def __init__(self, entries: typing.Iterable[TrailEntry]) -> None:
        self._entries = tuple(entries)

    @typing.overload
    def __getitem__(self, index: int) -> TrailEntry: ...
    @typing.overload
    def __getitem__(self, index: slice) -> Trail: ...

    def __getitem__(self, index: int | slice) -> TrailEntry | Trail:
        return Trail(self._entries[index]) if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trail) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self._entries)

    def __repr__(self) -> str:
        return f"Trail({list(self._entries)!r})"

    def _repr_html_(self) -> str:
        return html_table(("step", "level", "at", "for", "value", "verdict"),
                          ((e.kind.name, e.level, f"{e.hpa:#x}", f"{e.gpa:#x}", f"{e.value:#018x}", e.verdict.id)
                           for e in self._entries))


def _trail_entry(raw: typing.Any) -> TrailEntry:
    return TrailEntry(TrailKind(raw.kind), raw.level, raw.guest_level, raw.hpa, raw.gpa, raw.value, raw.updated,
                      WalkRule(raw.verdict), raw.offending, bool(raw.leaf), bool(raw.cached), raw.now if raw.stale else None)


class _Outcome:
    """What all outcomes can do."""

    __slots__ = ()

    def to_dict(self) -> dict[str, typing.Any]:
        """The outcome as plain data for JSON, with its kind."""
        values = {field.name: plain(getattr(self, field.name))
                  for field in dataclasses.fields(self) if field.compare}  # type: ignore[arg-type]
        return {"kind": type(self).__name__, **values}

    def explain(self) -> str:
        """A text for people: the trail, if there is one, the outcome, and the rule that decided."""
        evidence: _Evidence | None = getattr(self, "_evidence", None)
        if evidence is not None and evidence[0] is not None:
            access, outcome, trail = evidence
            return take_text(lib.vmxsim_explain_access(access, outcome, ffi.NULL if trail is None else trail))
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        values = ", ".join(f"{name} {value}" for name, value in self.to_dict().items() if name not in ("kind", "rule"))
        lines = [f"{type(self).__name__}: {values}" if values else type(self).__name__]
        rule: Rule | None = getattr(self, "rule", None)
        if rule is not None and rule.section:
            lines += [f"rule: {rule.id}: {rule.text}", f'      Intel SDM volume 3, "{rule.section}"']
        return lines

    @property
    def trail(self) -> Trail | None:
        """The entries of the walk, if the call was asked for them."""
        evidence: _Evidence | None = getattr(self, "_evidence", None)
        if evidence is None or evidence[2] is None:
            return None
        steps = evidence[2]
        return Trail(_trail_entry(steps.entry[i]) for i in range(steps.count))

    def _repr_html_(self) -> str:
        trail = self.trail
        return f"<pre>{html.escape(self.explain())}</pre>" if trail is None else (
            f"<p>{html.escape(repr(self))}</p>{trail._repr_html_()}")


_evidence: typing.Any = dataclasses.field(default=None, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Translation(_Outcome):
    """The access completed.

    `gva` is None for accesses by guest-physical address. `page_size` is the smaller of the guest's and EPT's page, in
    bytes (0: neither translates). `data` is what was read.
    """

    gpa: int
    hpa: int
    page_size: int
    perms: EptPerm
    """What EPT allows."""
    memory_type: MemType
    gva: int | None = None
    data: bytes = b""
    _evidence: _Evidence | None = _evidence


@dataclasses.dataclass(frozen=True, slots=True)
class EptViolation(_Outcome):
    """VM exit 48. `gva` is None if the exit does not give a linear address."""

    gpa: int
    gva: int | None
    qualification: EptViolationBits
    rule: WalkRule
    _evidence: _Evidence | None = _evidence

    @property
    def access(self) -> EptPerm:
        """The rights that the access needed, for `AddressSpace.handle_fault`."""
        bits = self.qualification
        return EptPerm(bits & 3 | (EptPerm.X if bits & EptViolationBits.FETCH else 0))


@dataclasses.dataclass(frozen=True, slots=True)
class EptMisconfiguration(_Outcome):
    """VM exit 49."""

    gpa: int
    rule: WalkRule
    _evidence: _Evidence | None = _evidence


@dataclasses.dataclass(frozen=True, slots=True)
class GuestPageFault(_Outcome):
    """The guest takes a page fault itself. `gva` is what CR2 gets."""

    gva: int
    error_code: int
    rule: WalkRule
    _evidence: _Evidence | None = _evidence


@dataclasses.dataclass(frozen=True, slots=True)
class CpuException(_Outcome):
    """An exception other than a guest's page fault, or an interrupt that the guest takes. `error_code` is None if there is none."""

    vector: int
    error_code: int | None
    rule: Rule
    _evidence: _Evidence | None = _evidence

    @property
    def name(self) -> str:
        """``"#GP"``; of other vectors the number."""
        text = lib.vmxsim_vector_name(self.vector)
        return str(self.vector) if text == ffi.NULL else typing.cast(str, ffi.string(text).decode())


@dataclasses.dataclass(frozen=True, slots=True)
class VmExit(_Outcome):
    """A VM exit that is no EPT violation and no EPT misconfiguration."""

    reason: ExitReason
    qualification: int
    rule: Rule
    interruption_info: int = 0
    interruption_error_code: int = 0
    instruction_info: int = 0
    gva: int | None = None
    gpa: int | None = None
    _evidence: _Evidence | None = _evidence


@dataclasses.dataclass(frozen=True, slots=True)
class EntryFailure(_Outcome):
    """The VM entry failed after the controls and the host state had been checked: exit reason with bit 31."""

    reason: ExitReason
    qualification: int
    rule: EntryRule
    """The first rule that is broken; `vmxsim.check` names all."""
    _evidence: _Evidence | None = _evidence


@dataclasses.dataclass(frozen=True, slots=True)
class VmFail(_Outcome):
    """VMfail. `error` is None for VMfailInvalid."""

    error: VmInstructionError | None
    rule: InsnRule | EntryRule
    _evidence: _Evidence | None = _evidence


@dataclasses.dataclass(frozen=True, slots=True)
class Entered(_Outcome):
    """The VM entry succeeded: the guest runs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Completed(_Outcome):
    """An instruction or event completed. `value` is what it read."""

    value: int = 0
    rule: Rule = WalkRule.NONE
    _evidence: _Evidence | None = _evidence


Outcome = typing.Union[Translation, EptViolation, EptMisconfiguration, GuestPageFault, CpuException, VmExit, EntryFailure, VmFail,
                       Entered, Completed]

# ---- From C ----

_PERMS = [EptPerm(bits) for bits in range(16)]
_MEM_TYPES = {int(member): member for member in MemType}
_WALK_RULES = list(WalkRule)
_REASONS = {int(member): member for member in ExitReason}
_COMPLETE = int(OutcomeKind.COMPLETE)
_EXCEPTION = int(OutcomeKind.GUEST_EXCEPTION)
_PAGE_FAULT = 14
_EPT_VIOLATION, _EPT_MISCONFIGURATION = int(ExitReason.EPT_VIOLATION), int(ExitReason.EPT_MISCONFIGURATION)


def perms_of(rights: int, user_execute: bool) -> EptPerm:
    """EPT entry bits 2:0 and user-mode execute as rights: bits 2:0 are the same."""
    return _PERMS[rights & 7 | (8 if user_execute else 0)]


def _translation(access: typing.Any, raw: typing.Any, evidence: _Evidence) -> Translation:
    page = raw.page[0]
    sizes = [size for size in (page.guest_page_size, page.ept_page_size) if size]
    data = b"" if access is None or access.type == Access.WRITE else bytes(ffi.buffer(raw.data, access.size))
    return Translation(page.gpa, page.hpa, min(sizes, default=0), perms_of(page.ept_rights, page.ept_user_execute),
                       _MEM_TYPES[page.memory_type], None if access is None else page.linear, data, evidence)


# A frozen dataclass looks each attribute up by name when it is made; for the outcome that loops make, this takes half the time.
(_set_reason, _set_qualification, _set_rule, _set_information, _set_error_code, _set_instruction, _set_gva, _set_gpa,
 _set_evidence) = [getattr(VmExit, field.name).__set__ for field in dataclasses.fields(VmExit)]


def _vm_exit(raw: typing.Any, rule: WalkRule, gva: int | None, evidence: _Evidence) -> VmExit:
    made = object.__new__(VmExit)
    _set_reason(made, _REASONS[raw.exit_reason])
    _set_qualification(made, raw.qualification)
    _set_rule(made, rule)
    _set_information(made, raw.interruption_info)
    _set_error_code(made, raw.interruption_error_code)
    _set_instruction(made, raw.instruction_info)
    _set_gva(made, gva)
    _set_gpa(made, raw.guest_physical if raw.guest_physical_valid else None)
    _set_evidence(made, evidence)
    return made


def _exit(raw: typing.Any, evidence: _Evidence) -> Outcome:
    rule = _WALK_RULES[raw.rule]
    gva = raw.guest_linear if raw.guest_linear_valid else None
    if raw.exit_reason == _EPT_VIOLATION:
        return EptViolation(raw.guest_physical, gva, EptViolationBits(raw.qualification), rule, evidence)
    if raw.exit_reason == _EPT_MISCONFIGURATION:
        return EptMisconfiguration(raw.guest_physical, rule, evidence)
    return _vm_exit(raw, rule, gva, evidence)


def from_outcome(access: typing.Any, raw: typing.Any, trail: typing.Any = None) -> Outcome:
    """A ``struct vmxsim_outcome *`` of a guest access (`access`: the struct, or None by guest-physical address) as a value."""
    evidence = (access, raw, trail)
    if raw.kind == _COMPLETE:
        return _translation(access, raw, evidence)
    if raw.kind == _EXCEPTION:
        if raw.vector == _PAGE_FAULT:
            return GuestPageFault(raw.cr2, raw.error_code, _WALK_RULES[raw.rule], evidence)
        code = raw.error_code if raw.has_error_code else None
        return CpuException(raw.vector, code, _WALK_RULES[raw.rule], evidence)
    return _exit(raw, evidence)


# Layout of struct vmxpy_row.
_ROW = struct.Struct("=QQQQQIHHBBBB")
assert _ROW.size <= ffi.sizeof("struct vmxpy_row")


def from_row(data: typing.Any) -> Outcome:
    """The bytes of a ``struct vmxpy_row`` of an access by guest-physical address as a value."""
    gpa, _, hpa, page_size, qualification, _, rule, reason, kind, _, rights, memory_type = _ROW.unpack_from(data)
    if kind == _COMPLETE:
        return Translation(gpa, hpa, page_size, _PERMS[rights], _MEM_TYPES[memory_type])
    if reason == _EPT_VIOLATION:
        return EptViolation(gpa, None, EptViolationBits(qualification), _WALK_RULES[rule])
    if reason == _EPT_MISCONFIGURATION:
        return EptMisconfiguration(gpa, _WALK_RULES[rule])
    return VmExit(_REASONS[reason], qualification, _WALK_RULES[rule], gpa=gpa)


def from_action(raw: typing.Any) -> Outcome:
    """A ``struct vmxsim_outcome *`` of a guest instruction or event as a value."""
    if raw.kind == _COMPLETE:
        return Completed(raw.value, _WALK_RULES[raw.rule], (None, raw, None))
    return from_outcome(None, raw)
