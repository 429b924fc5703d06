# SPDX-License-Identifier: Apache-2.0
"""Hardware words taken apart, as the manual names their bits."""
from __future__ import annotations

import dataclasses
import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import ControlWord, ExitReason, InterruptionField
from vmxsim.outcome import html_table
from vmxsim.profile import Profile, as_profile, take_text

__all__ = ["Decoded", "DecodedField", "access_rights", "controls", "cr_qualification", "ept_entry", "ept_qualification", "eptp",
           "exit_qualification", "exit_reason", "instruction_info", "interruption_info", "io_qualification", "page_fault_error"]


@dataclasses.dataclass(frozen=True, slots=True)
class DecodedField:
    """Bits `high` to `low` of a word."""

    high: int
    low: int
    value: int
    name: str
    meaning: str
    wrong: bool
    """Reserved, or a value that the processor does not accept."""


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A word and its fields, from the highest bit down, as far as they say something."""

    title: str
    raw: int
    valid: bool
    fields: tuple[DecodedField, ...]
    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return html_table(("bits", "value", "name", "meaning"),
                          ((f"{f.high}:{f.low}", f"{f.value:#x}", f.name, f.meaning) for f in self.fields))


def _decode(call: typing.Callable[..., object], *arguments: typing.Any) -> Decoded:
    raw = ffi.new("struct vmxsim_decoded *")
    call(*arguments, raw)
    fields = (raw.field[i] for i in range(raw.count))
    return Decoded(ffi.string(raw.title).decode(), raw.raw, bool(raw.valid),
                   tuple(DecodedField(f.high, f.low, f.value, ffi.string(f.name).decode(), ffi.string(f.meaning).decode(),
                                      bool(f.wrong)) for f in fields),
                   take_text(lib.vmxsim_decoded_text(raw)))


def _features(profile: Profile | str) -> typing.Any:
    return lib.vmxsim_profile_features(as_profile(profile)._raw)


def ept_qualification(qualification: int) -> Decoded:
    """The exit qualification of an EPT violation.

    >>> [field.name for field in ept_qualification(0x184).fields][-1]
    'fetch'
    """
    return _decode(lib.vmxsim_decode_qualification, qualification)


def eptp(value: int, profile: Profile | str = "icelake") -> Decoded:
    """An EPT pointer."""
    return _decode(lib.vmxsim_decode_eptp, value, _features(profile))


def ept_entry(entry: int, level: int, profile: Profile | str = "icelake") -> Decoded:
    """An EPT entry of a level, 1 (PTE) to 5."""
    return _decode(lib.vmxsim_decode_ept_entry, entry, level, _features(profile))


def page_fault_error(error_code: int) -> Decoded:
    """A page-fault error code."""
    return _decode(lib.vmxsim_decode_page_fault_error, error_code)


def controls(word: ControlWord, value: int, profile: Profile | str = "icelake") -> Decoded:
    """A word of VM-execution, VM-exit or VM-entry controls."""
    return _decode(lib.vmxsim_decode_controls, word, value, as_profile(profile)._raw)


def access_rights(rights: int) -> Decoded:
    """Access rights of a segment register as a VMCS holds them."""
    return _decode(lib.vmxsim_decode_access_rights, rights)


def interruption_info(information: int, field: InterruptionField = InterruptionField.ANY) -> Decoded:
    """Interruption information; what it may hold depends on the field that holds it."""
    return _decode(lib.vmxsim_decode_interruption_info, field, information)


def exit_qualification(reason: ExitReason, qualification: int, vector: int = 0) -> Decoded:
    """The exit qualification of a VM exit for this reason (of reason 0: due to this vector)."""
    return _decode(lib.vmxsim_decode_exit_qualification, ExitReason(reason), vector, qualification)


def instruction_info(reason: ExitReason, information: int) -> Decoded:
    """The VM-exit instruction information of a VM exit for this reason."""
    return _decode(lib.vmxsim_decode_instruction_info, ExitReason(reason), information)


def exit_reason(reason: int) -> Decoded:
    """The exit-reason field: 32 bits."""
    return _decode(lib.vmxsim_decode_exit_reason, reason)


def io_qualification(qualification: int) -> Decoded:
    """The exit qualification of an I/O instruction."""
    return _decode(lib.vmxsim_decode_io_qualification, qualification)


def cr_qualification(qualification: int) -> Decoded:
    """The exit qualification of a control-register access."""
    return _decode(lib.vmxsim_decode_cr_qualification, qualification)
