# SPDX-License-Identifier: Apache-2.0
"""VM-entry checks: every rule that a VMCS breaks, and what a processor may make of it."""
from __future__ import annotations

import dataclasses
import json
import os
import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import EntryOutcomeKind, EntryRule, Field
from vmxsim.machine import Machine
from vmxsim.outcome import html_table
from vmxsim.profile import Profile, as_profile, take_text
from vmxsim.vmcs import Vmcs

__all__ = ["Change", "EntryReport", "LawfulOutcome", "Processor", "Undecided", "Violation", "check"]

_FIELDS = list(Field)


def field_at(ordinal: int) -> Field | None:
    """The field in this place of the table; None behind the last."""
    return _FIELDS[ordinal] if ordinal < len(_FIELDS) else None


@dataclasses.dataclass(frozen=True, slots=True)
class Processor:
    """The processor that executes VMLAUNCH or VMRESUME: 64-bit mode, CPL 0, VMX root operation unless said otherwise."""

    cr0: int = 0x80000031
    cr4: int = 0x2020
    efer: int = 0x500
    rflags: int = 2
    cpl: int = 0
    in_vmx: bool = True
    in_non_root: bool = False
    code_64bit: bool = True
    blocking_by_mov_ss: bool = False
    in_smm: bool = False
    vmresume: bool = False
    launched: bool = False
    current_is_shadow: bool = False
    has_current: bool = True
    current_vmcs: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A field and the value that it should have."""

    field: Field
    value: int


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """A rule that is broken."""

    rule: EntryRule
    fields: tuple[Field, ...]
    """What the rule looked at; the first is at fault."""
    offending: int
    """Bits of the first field that break the rule; 0: not a matter of bits."""
    changes: tuple[Change, ...]
    """Make all of them and the rule holds. None: no field can satisfy it."""
    qualification: int
    qualification_varies: bool

    def apply(self, vmcs: Vmcs) -> None:
        """Makes the changes."""
        for change in self.changes:
            vmcs[change.field] = change.value


@dataclasses.dataclass(frozen=True, slots=True)
class Undecided:
    """A rule that could not be decided, and the field that is not known (None: memory, or the processor's state)."""

    rule: EntryRule
    field: Field | None


@dataclasses.dataclass(frozen=True, slots=True)
class LawfulOutcome:
    """What a processor may report. `number` is a vector, an exit reason or a VM-instruction error, by `kind`."""

    kind: EntryOutcomeKind
    number: int
    qualification: int


@dataclasses.dataclass(frozen=True)
class EntryReport:
    """What the checks found. A notebook shows the violations as a table."""

    violations: tuple[Violation, ...]
    undecided: tuple[Undecided, ...]
    outcomes: tuple[LawfulOutcome, ...]
    """The first is what the model does."""
    _evidence: tuple[typing.Any, ...] = dataclasses.field(repr=False, compare=False)

    @property
    def enters(self) -> bool:
        """True if no rule is broken and none is undecided."""
        return not self.violations and not self.undecided

    @property
    def rules(self) -> frozenset[EntryRule]:
        """The broken rules."""
        return frozenset(violation.rule for violation in self.violations)

    def __len__(self) -> int:
        return len(self.violations)

    def __iter__(self) -> typing.Iterator[Violation]:
        return iter(self.violations)

    def __bool__(self) -> bool:
        return True

    def explain(self) -> str:
        """The report as text: outcomes, violated rules with fields and changes, what is undecided."""
        return take_text(lib.vmxsim_explain_entry(*self._evidence[:2]))

    def to_dict(self) -> dict[str, typing.Any]:
        """The report as the command's ``--json`` has it."""
        return typing.cast("dict[str, typing.Any]", json.loads(
            take_text(lib.vmxsim_explain_entry_json(*self._evidence[:2]))))

    def _repr_html_(self) -> str:
        def changes(violation: Violation) -> str:
            return ", ".join(f"{change.field.name} = {change.value:#x}" for change in violation.changes)

        return html_table(("rule", "what must hold", "field", "bits at fault", "changes"),
                          ((v.rule.id, v.rule.text, v.fields[0].name if v.fields else "", f"{v.offending:#x}", changes(v))
                           for v in self.violations))


def _violation(raw: typing.Any) -> Violation:
    fields = tuple(field for field in (field_at(raw.field[i]) for i in range(raw.field_count)) if field is not None)
    changes = tuple(Change(_FIELDS[raw.change[i].ordinal], raw.change[i].value) for i in range(raw.change_count))
    return Violation(EntryRule(raw.rule), fields, raw.offending, changes, raw.qualification, bool(raw.qualification_varies))


def entry_report(given: typing.Any, raw: typing.Any, *kept: object) -> EntryReport:
    """The C report on an input, as values. `kept` is what the input points to."""
    return EntryReport(
        tuple(_violation(raw.violation[i]) for i in range(raw.violation_count)),
        tuple(Undecided(EntryRule(raw.undecided[i].rule), field_at(raw.undecided[i].ordinal))
              for i in range(raw.undecided_count)),
        tuple(LawfulOutcome(EntryOutcomeKind(raw.outcome[i].kind), raw.outcome[i].number, raw.outcome[i].qualification)
              for i in range(raw.outcome_count)),
        (given, raw, *kept))


def check(vmcs: Vmcs, profile: Profile | str | os.PathLike[str] = "icelake", *, processor: Processor | None = None,
          machine: Machine | None = None) -> EntryReport:
    """Evaluates every rule of a VM entry.

    Parameters
    ----------
    vmcs
        Rules that need a field it does not know are undecided.
    profile
        The processor's capabilities.
    processor
        Its state.
    machine
        Where memory is read (MSR-load lists, PDPTEs ...). None: rules that need memory are undecided.

    Examples
    --------
    >>> vmcs = Vmcs.valid("icelake")
    >>> vmcs.guest.rflags = 0
    >>> [violation.rule.id for violation in check(vmcs, "icelake")]
    ['RFLAGS.RSVD']
    """
    state = ffi.new("struct vmxsim_entry_processor *", dataclasses.asdict(processor or Processor()))
    given = ffi.new("struct vmxsim_entry_input *")
    content, known, held = vmcs.copy(), vmcs._known_words(), as_profile(profile)
    given.vmcs, given.known, given.profile, given.processor = content._raw, known, held._raw, state
    if machine is not None:
        machine._check_open()
        given.memory = machine._memory
    report = ffi.new("struct vmxsim_entry_report *")
    lib.vmxsim_entry_check(given, report)
    given.memory = ffi.NULL
    return entry_report(given, report, content, known, held, state)
