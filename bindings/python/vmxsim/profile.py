# SPDX-License-Identifier: Apache-2.0
"""Profiles: the capability MSRs, CPUID leaves and VMCS fields of one processor."""
from __future__ import annotations

import json
import os
import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import Field, Msr
from vmxsim.errors import InvalidInput, check

__all__ = ["Profile", "profile_names"]


def profile_names() -> list[str]:
    """Names of the built-in profiles.

    >>> profile_names()
    ['icelake', 'skylake', 'tigerlake', 'everything']
    """
    names: list[str] = []
    while (name := lib.vmxsim_profile_builtin_name(len(names))) != ffi.NULL:
        names.append(ffi.string(name).decode())
    return names


class Profile:
    """A processor: built in, by name; from a JSON file; or from JSON text. Immutable.

    Parameters
    ----------
    name
        A built-in name or the path of a JSON file.

    Raises
    ------
    IoError, BadFormat
        The file cannot be read, or a key is missing or wrong; the message names it.

    Examples
    --------
    >>> icelake = Profile("icelake")
    >>> icelake.maxphyaddr, icelake.features["ept_1g"]
    (40, True)
    >>> hex(icelake.msr(Msr.VMX_BASIC) & 0x7fffffff)
    '0x4'
    """

    def __init__(self, name: str | os.PathLike[str]) -> None:
        found = ffi.new("const struct vmxsim_profile **")
        owned = ffi.new("bool *")
        error = ffi.new("struct vmxsim_error *")
        check(lib.vmxsim_profile_open(os.fsencode(name), found, owned, error), f"profile {os.fspath(name)}", error)
        self._hold(found[0], bool(owned[0]))

    def _hold(self, pointer: typing.Any, owned: bool) -> None:
        self._raw = ffi.gc(ffi.cast("struct vmxsim_profile *", pointer), lib.vmxsim_profile_destroy) if owned else pointer

    @classmethod
    def from_json(cls, text: str, name: str | None = None) -> Profile:
        """A profile from JSON text: a `cpu` object, or an object with such a member."""
        found = ffi.new("struct vmxsim_profile **")
        error = ffi.new("struct vmxsim_error *")
        data = text.encode()
        c_name = ffi.NULL if name is None else name.encode()
        check(lib.vmxsim_profile_from_json(data, len(data), c_name, found, error), "profile", error)
        profile = cls.__new__(cls)
        profile._hold(found[0], True)
        return profile

    @property
    def name(self) -> str:
        """The built-in name, the path, or what `from_json` was given."""
        return typing.cast(str, ffi.string(lib.vmxsim_profile_name(self._raw)).decode())

    @property
    def features(self) -> dict[str, int | bool]:
        """What rules ask most often, decoded: widths in bits, the rest true or false."""
        features = lib.vmxsim_profile_features(self._raw)
        return {name: getattr(features, name) for name, _ in ffi.typeof("struct vmxsim_features").fields}

    @property
    def maxphyaddr(self) -> int:
        """Width of a physical address in bits."""
        return int(lib.vmxsim_profile_features(self._raw).maxphyaddr)

    def msr(self, index: int | Msr) -> int:
        """The value of an MSR. `NotFound` if the profile does not list it."""
        value = ffi.new("uint64_t *")
        check(lib.vmxsim_profile_msr(self._raw, index, value), f"MSR {index:#x}")
        return int(value[0])

    def cpuid(self, leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
        """EAX, EBX, ECX, EDX of a leaf. `NotFound` if the profile does not list it."""
        registers = ffi.new("uint32_t[4]")
        check(lib.vmxsim_profile_cpuid(self._raw, leaf, subleaf, registers), f"CPUID leaf {leaf:#x}")
        eax, ebx, ecx, edx = registers
        return eax, ebx, ecx, edx

    def has_field(self, field: Field) -> bool:
        """True if the processor has the VMCS field."""
        return bool(lib.vmxsim_profile_has_field(self._raw, field))

    def to_dict(self) -> dict[str, typing.Any]:
        """The `cpu` object of a vector header."""
        text = lib.vmxsim_profile_to_json(self._raw)
        return typing.cast("dict[str, typing.Any]", json.loads(take_text(text)))

    def __repr__(self) -> str:
        return f"Profile({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and (self._raw == other._raw or self.to_dict() == other.to_dict())

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True))


def take_text(text: typing.Any) -> str:
    """A string that C allocated; it is freed."""
    if text == ffi.NULL:
        raise MemoryError("host memory ran out")
    try:
        return typing.cast(str, ffi.string(text).decode())
    finally:
        lib.free(text)


def as_profile(profile: Profile | str | os.PathLike[str]) -> Profile:
    """A profile from whatever names one."""
    return profile if isinstance(profile, Profile) else Profile(profile)


def parse_size(size: int | str) -> int:
    """Bytes: a number, or digits with K, M, G or T.

    >>> parse_size("64M") == 64 << 20
    True
    """
    if isinstance(size, int):
        return size
    digits, unit = size.strip(), 0
    if digits and digits[-1].upper() in "KMGT":
        unit = 10 * (1 + "KMGT".index(digits[-1].upper()))
        digits = digits[:-1]
    try:
        return int(digits, 0) << unit
    except ValueError:
        raise InvalidInput(f"{size!r} is no size: digits, then K, M, G, T or nothing") from None
