# SPDX-License-Identifier: Apache-2.0
"""The content of a VMCS as a value, by name, encoding or attribute."""
from __future__ import annotations

import dataclasses
import os
import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import EntryRule, Field, VmcsFormat
from vmxsim.errors import InvalidInput, check
from vmxsim.fields import DUMP_KEYS, DUMP_PAIRS, ControlFields, ExitFields, GuestFields, HostFields
from vmxsim.outcome import html_table
from vmxsim.profile import Profile, as_profile, take_text

__all__ = ["FieldDifference", "Vmcs", "VmcsReading"]

_ORDINALS = {int(field): position for position, field in enumerate(Field)}
_FIELDS = list(Field)
FieldKey = typing.Union[Field, str, int]


def find_field(key: FieldKey) -> Field:
    """A field by name (any case) or full encoding. KeyError if there is none."""
    try:
        return Field[key.upper()] if isinstance(key, str) else Field(key)
    except (KeyError, ValueError):
        raise KeyError(key) from None


@dataclasses.dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that two VMCSs have different values in. None: not known."""

    field: Field
    a: int | None
    b: int | None


class Vmcs(typing.MutableMapping[FieldKey, int]):
    """A VMCS: a mapping from fields to numbers.

    ``vmcs["GUEST_CR0"]``, ``vmcs[0x6800]`` and ``vmcs[Field.GUEST_CR0]`` give the number, ``vmcs.guest.cr0`` the bits by
    name; further areas are `host`, `control` and `exit`. A new one has every field, all 0. A field that was deleted is
    not known: checks that need it are undecided.

    Examples
    --------
    >>> vmcs = Vmcs({"GUEST_RIP": 0x1000})
    >>> vmcs.guest.cr0 = 0x31
    >>> vmcs.guest.cr0
    Cr0(PE|ET|NE)
    >>> vmcs["guest_rip"], len(vmcs)
    (4096, 206)
    """

    def __init__(self, values: typing.Mapping[typing.Any, int] | None = None) -> None:
        self._raw = ffi.new("struct vmxsim_vmcs *")
        self._known = bytearray(b"\1") * len(_FIELDS)
        for key, value in (values or {}).items():
            self[key] = value

    # ---- The mapping ----

    def __getitem__(self, key: FieldKey) -> int:
        ordinal = _ORDINALS[find_field(key)]
        if not self._known[ordinal]:
            raise KeyError(key)
        return int(self._raw.value[ordinal])

    def __setitem__(self, key: FieldKey, value: int) -> None:
        field = find_field(key)
        if not 0 <= value <= lib.vmxsim_vmcs_width_mask(field):
            raise InvalidInput(f"{value:#x} does not fit {field.name}")
        ordinal = _ORDINALS[field]
        self._raw.value[ordinal] = value
        self._known[ordinal] = 1

    def __delitem__(self, key: FieldKey) -> None:
        ordinal = _ORDINALS[find_field(key)]
        if not self._known[ordinal]:
            raise KeyError(key)
        self._known[ordinal] = 0
        self._raw.value[ordinal] = 0

    def __iter__(self) -> typing.Iterator[Field]:
        return (field for field, known in zip(_FIELDS, self._known) if known)

    def __len__(self) -> int:
        return sum(self._known)

    def fields(self) -> typing.Iterator[tuple[Field, int]]:
        """Known fields with their values, by encoding."""
        return ((field, int(self._raw.value[ordinal])) for ordinal, field in enumerate(_FIELDS) if self._known[ordinal])

    def __contains__(self, key: object) -> bool:
        try:
            return bool(self._known[_ORDINALS[find_field(typing.cast(FieldKey, key))]])
        except KeyError:
            return False

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Vmcs) and self._known == other._known
                and bytes(ffi.buffer(self._raw)) == bytes(ffi.buffer(other._raw)))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{field.name}={value:#x}" for field, value in self.fields() if value)
        return f"Vmcs({shown})"

    def copy(self) -> Vmcs:
        """A copy that is independent."""
        other = Vmcs()
        ffi.memmove(other._raw, self._raw, ffi.sizeof("struct vmxsim_vmcs"))
        other._known = bytearray(self._known)
        return other

    @property
    def guest(self) -> GuestFields:
        """The guest-state area as attributes."""
        return GuestFields(self)

    @property
    def host(self) -> HostFields:
        """The host-state area as attributes."""
        return HostFields(self)

    @property
    def control(self) -> ControlFields:
        """The control fields as attributes."""
        return ControlFields(self)

    @property
    def exit(self) -> ExitFields:
        """The VM-exit information fields as attributes."""
        return ExitFields(self)

    def _known_words(self) -> typing.Any:
        """The known fields as C takes them; NULL: all."""
        if all(self._known):
            return ffi.NULL
        words = ffi.new("uint64_t[]", (len(_FIELDS) + 63) // 64)
        for ordinal, known in enumerate(self._known):
            if known:
                words[ordinal // 64] |= 1 << ordinal % 64
        return words

    # ---- From and to other forms ----

    def to_dict(self) -> dict[str, int]:
        """Known fields by name."""
        return {field.name: value for field, value in self.fields()}

    @classmethod
    def from_dict(cls, values: typing.Mapping[typing.Any, int], *, others_known: bool = True) -> Vmcs:
        """Fields by name or encoding; the others are 0, or not known."""
        vmcs = cls()
        if not others_known:
            vmcs._known = bytearray(len(_FIELDS))
        for key, value in values.items():
            vmcs[key] = value
        return vmcs

    @classmethod
    def parse(cls, data: str | bytes, format: VmcsFormat = VmcsFormat.AUTO, name: str = "input") -> VmcsReading:
        """Reads JSON, the log of a Linux kernel, or KVM's nested state. `BadFormat` if it is none of them."""
        content = data.encode() if isinstance(data, str) else data
        raw, error = ffi.new("struct vmxsim_vmcs_reading *"), ffi.new("struct vmxsim_error *")
        check(lib.vmxsim_vmcs_read(content, len(content), format, name.encode(), raw, error), name, error)
        return _reading(cls, raw)

    @classmethod
    def read_file(cls, path: str | os.PathLike[str], format: VmcsFormat = VmcsFormat.AUTO) -> VmcsReading:
        """`parse` of a file of at most 64 MBytes. `IoError` if it cannot be read."""
        raw, error = ffi.new("struct vmxsim_vmcs_reading *"), ffi.new("struct vmxsim_error *")
        check(lib.vmxsim_vmcs_read_file(os.fsencode(path), format, raw, error), os.fspath(path), error)
        return _reading(cls, raw)

    @classmethod
    def from_linux(cls, text: str) -> Vmcs:
        """What KVM's dump_vmcs() prints, with whatever a log puts before each line. Fields it does not show are not known."""
        return cls.parse(text, VmcsFormat.LINUX).vmcs

    def to_linux(self) -> str:
        """The known fields in the form of a kernel's dump, one key per line: those that the kernel prints.

        `from_linux` and ``vmxsim check`` read it.

        >>> print(Vmcs.from_dict({"GUEST_RIP": 5}, others_known=False).to_linux())
        *** Guest State ***
        RIP = 0x0000000000000005
        """
        lines: list[str] = []
        for section in ("GUEST", "HOST", "CONTROL"):
            shown = [f"{subject} {key}=0x{self[field]:0{digits}x}".strip() if subject else f"{key} = 0x{self[field]:0{digits}x}"
                     for part, subject, key, field, digits in DUMP_KEYS if part == section and field in self]
            shown += [f"{key}={self[first]:04x}:{self[second]:016x}"
                      for part, key, first, second in DUMP_PAIRS if part == section and first in self and second in self]
            lines += [f"*** {section.capitalize()} State ***", *shown] if shown else []
        return "\n".join(lines)

    # ---- Comparing ----

    def diff(self, other: Vmcs) -> list[FieldDifference]:
        """Fields in which two VMCSs differ, by encoding."""
        return [FieldDifference(field, self.get(field), other.get(field)) for field in _FIELDS
                if self.get(field) != other.get(field)]

    def explain_diff(self, other: Vmcs) -> str:
        """The differences as text, with bits by name."""
        count = ffi.new("uint32_t *")
        return take_text(lib.vmxsim_explain_vmcs_difference(self._raw, self._known_words(), other._raw, other._known_words(),
                                                            count))

    def _repr_html_(self) -> str:
        return html_table(("field", "value"), ((field.name, f"{value:#x}") for field, value in self.fields() if value))

    # ---- Valid states ----

    def round(self, profile: Profile | str = "icelake") -> None:
        """Changes the VMCS to a valid one near it: every rule on controls, host state and guest state holds.

        Fields that the profile does not have become 0.
        """
        processor = ffi.new("struct vmxsim_entry_processor *", lib.vmxsim_entry_processor_default(0))
        held = as_profile(profile)
        lib.vmxsim_entry_round(held._raw, processor, self._raw)
        for ordinal, field in enumerate(_FIELDS):
            if not held.has_field(field):
                self._raw.value[ordinal] = 0
        self._known = bytearray(b"\1") * len(_FIELDS)

    @classmethod
    def valid(cls, profile: Profile | str = "icelake", values: typing.Mapping[typing.Any, int] | None = None) -> Vmcs:
        """A VMCS that enters on this profile, near `values`.

        >>> from vmxsim import check
        >>> check(Vmcs.valid("skylake"), "skylake").enters
        True
        """
        vmcs = cls(values)
        vmcs.round(profile)
        return vmcs

    def break_rules(self, count: int, seed: int, profile: Profile | str = "icelake") -> list[EntryRule]:
        """Breaks `count` rules (at most 16) of a rounded VMCS by the smallest step; returns the rules."""
        if not 0 <= count <= lib.VMXSIM_ENTRY_MAX_BROKEN:
            raise InvalidInput(f"{count} rules cannot be broken; at most {lib.VMXSIM_ENTRY_MAX_BROKEN}")
        broken, random = ffi.new("struct vmxsim_entry_broken *"), ffi.new("uint64_t *", seed)
        lib.vmxsim_entry_break(as_profile(profile)._raw, self._raw, count, random, broken)
        return [EntryRule(broken.rule[i]) for i in range(broken.count)]


@dataclasses.dataclass(frozen=True)
class VmcsReading:
    """What reading a VMCS gave."""

    vmcs: Vmcs
    format: VmcsFormat
    """What it was read as."""
    notes: str
    """What a reader should know; ``""`` if there is nothing."""
    profile: Profile | None
    """The profile that the input names."""
    lines_not_understood: int
    """Linux: lines between the first and the last that show a field."""


def _reading(cls: type[Vmcs], raw: typing.Any) -> VmcsReading:
    try:
        vmcs = cls()
        ffi.memmove(vmcs._raw, ffi.addressof(raw, "vmcs"), ffi.sizeof("struct vmxsim_vmcs"))
        vmcs._known = bytearray(bool(lib.vmxsim_vmcs_is_known(raw.known, ordinal)) for ordinal in range(len(_FIELDS)))
        notes = ffi.string(raw.notes).decode() if raw.notes != ffi.NULL else ""
        profile = None if raw.profile == ffi.NULL else Profile.from_json(
            take_text(lib.vmxsim_profile_to_json(raw.profile)), ffi.string(lib.vmxsim_profile_name(raw.profile)).decode())
        return VmcsReading(vmcs, VmcsFormat(raw.format), notes, profile, raw.lines_not_understood)
    finally:
        lib.vmxsim_vmcs_reading_free(raw)
