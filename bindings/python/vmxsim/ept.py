# SPDX-License-Identifier: Apache-2.0
"""EPT hierarchies: mapping without areas, and the entries themselves."""
from __future__ import annotations

import dataclasses
import typing

from vmxsim._resource import Resource
from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import EptPerm, MemType, PageLevel
from vmxsim.errors import InvalidInput, NotFound, check
from vmxsim.machine import Machine, ept_config
from vmxsim.profile import parse_size

__all__ = ["Ept", "EptEntries", "EptMapping"]

_ADDRESS = lib.VMXC_EPT_ADDRESS
_PRESENT = lib.VMXC_EPT_RWX | lib.VMXC_EPT_USER_EXECUTE
_LARGE = lib.VMXC_EPT_LARGE_PAGE


def map_flags(perms: EptPerm, memory_type: MemType | None, ignore_pat: bool) -> int:
    """`vmxc_map_flags` of rights and memory type."""
    flags = int(EptPerm.require(perms)) | (lib.VMXC_MAP_IGNORE_PAT if ignore_pat else 0)
    if memory_type is not None:
        flags |= lib.VMXC_MAP_TYPED | MemType(memory_type) << lib.VMXC_MAP_TYPE_SHIFT
    return flags


def flags_memory_type(flags: int) -> MemType:
    """The memory type that `vmxc_map_flags` ask for."""
    found = ffi.new("enum vmxc_memory_type *")
    check(lib.vmxc_map_flags_memory_type(flags, found), "flags")
    return MemType(found[0])


@dataclasses.dataclass(frozen=True, slots=True)
class EptMapping:
    """A page that an EPT hierarchy maps."""

    gpa: int
    hpa: int
    page_size: int
    perms: EptPerm
    memory_type: MemType
    ignore_pat: bool
    accessed: bool
    dirty: bool


def _mapping(raw: typing.Any) -> EptMapping:
    return EptMapping(raw.gpa, raw.hpa, raw.page_size, EptPerm(raw.flags & 15), flags_memory_type(raw.flags),
                      bool(raw.flags & lib.VMXC_MAP_IGNORE_PAT), bool(raw.accessed), bool(raw.dirty))


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_mapping(context: typing.Any, mapping: typing.Any) -> int:
    ffi.from_handle(context).append(_mapping(mapping))
    return 0


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_release(context: typing.Any, gpa: int, hpa: int, size: int) -> None:
    ffi.from_handle(context).append((gpa, hpa, size))


class EptEntries:
    """The entries of a hierarchy as the processor reads them: for experiments that damage them.

    Nothing that libvmxcore keeps is told of a change.
    """

    def __init__(self, machine: Machine, root: int, levels: int) -> None:
        self._machine, self._root, self._levels = machine, root, levels

    def address(self, gpa: int, level: int = 1) -> int:
        """Host address of the entry of `level` (1: PTE) for `gpa`. `NotFound` if no table leads there."""
        if not 1 <= level <= self._levels:
            raise InvalidInput(f"level {level} of a walk of {self._levels} levels")
        table = self._root
        for above in range(self._levels, level, -1):
            entry = self._machine.memory.read64(self._slot(table, gpa, above))
            if not entry & _PRESENT or (above in (2, 3) and entry & _LARGE):
                raise NotFound(f"no table of level {above - 1} for {gpa:#x}")
            table = entry & _ADDRESS
        return self._slot(table, gpa, level)

    @staticmethod
    def _slot(table: int, gpa: int, level: int) -> int:
        return table + 8 * (gpa >> 12 + 9 * (level - 1) & 511)

    def leaf_level(self, gpa: int) -> int:
        """Level of the entry that maps `gpa`, or at which the walk ends."""
        for level in range(self._levels, 1, -1):
            entry = self[gpa, level]
            if not entry & _PRESENT or (level in (2, 3) and entry & _LARGE):
                return level
        return 1

    def __getitem__(self, key: tuple[int, int]) -> int:
        return self._machine.memory.read64(self.address(*key))

    def __setitem__(self, key: tuple[int, int], value: int) -> None:
        self._machine.memory.write64(self.address(*key), value)


def _fini_ept(raw: typing.Any) -> None:
    lib.vmxc_ept_fini(raw, ffi.NULL, ffi.NULL)


class Ept(Resource):
    """An EPT hierarchy of its own.

    Parameters
    ----------
    levels
        Page-walk length, 4 or 5.
    largest_page
        None: the largest that the profile has.
    accessed_dirty, mode_based_execute
        Whether to use them. `Unsupported` if the profile lacks them.

    Examples
    --------
    >>> with Machine() as machine, machine.ept() as ept:
    ...     ept.map(0, 0x200000, "2M", EptPerm.RW)
    ...     ept.query(0x1234).page_size
    2097152
    """

    def __init__(self, machine: Machine, *, levels: int = 4, largest_page: PageLevel | None = None,
                 accessed_dirty: bool = False, mode_based_execute: bool = False) -> None:
        machine._check_open()
        super().__init__(machine)
        config = ept_config(machine.profile, levels, largest_page, accessed_dirty, mode_based_execute)
        self._raw = ffi.new("struct vmxc_ept *")
        check(lib.vmxc_ept_init(self._raw, machine._hal, config), "EPT")
        self._owns_value(machine, _fini_ept)
        self.entries = EptEntries(machine, int(self._raw.root_hpa), levels)

    def _twin(self, machine: Machine) -> Ept:
        twin = self._twin_value(machine, _fini_ept, "")
        twin.entries = EptEntries(machine, self.entries._root, self.entries._levels)
        return twin

    @property
    def eptp(self) -> int:
        """The EPT pointer for the VMCS."""
        self._check_open()
        return int(lib.vmxc_ept_eptp(self._raw))

    @property
    def tables(self) -> int:
        """Number of tables, the root included."""
        self._check_open()
        return int(lib.vmxc_ept_count_tables(self._raw))

    @property
    def span(self) -> int:
        """Bytes of guest-physical address space that the walk covers."""
        self._check_open()
        return int(lib.vmxc_ept_span(self._raw))

    def map(self, gpa: int, hpa: int, size: int | str, perms: EptPerm = EptPerm.RWX, memory_type: MemType | None = None, *,
            ignore_pat: bool = False) -> None:
        """Maps a range with the largest pages that alignment allows. `AlreadyExists` if any page of it is mapped."""
        self._check_open()
        flags = map_flags(perms, memory_type, ignore_pat)
        check(lib.vmxc_ept_map(self._raw, gpa, hpa, parse_size(size), flags), "map")

    def remap(self, gpa: int, hpa: int, size: int | str, perms: EptPerm = EptPerm.RWX, memory_type: MemType | None = None, *,
              ignore_pat: bool = False) -> list[tuple[int, int, int]]:
        """As `map`, in place of what was mapped; returns (gpa, hpa, bytes) of the pages replaced."""
        self._check_open()
        gone: list[tuple[int, int, int]] = []
        handle = ffi.new_handle(gone)
        flags = map_flags(perms, memory_type, ignore_pat)
        check(lib.vmxc_ept_remap(self._raw, gpa, hpa, parse_size(size), flags, lib.vmxpy_on_release, handle), "remap")
        return gone

    def unmap(self, gpa: int, size: int | str) -> list[tuple[int, int, int]]:
        """Unmaps whatever is mapped in the range; returns (gpa, hpa, bytes) of the pages."""
        self._check_open()
        gone: list[tuple[int, int, int]] = []
        handle = ffi.new_handle(gone)
        check(lib.vmxc_ept_unmap(self._raw, gpa, parse_size(size), lib.vmxpy_on_release, handle), "unmap")
        return gone

    def protect(self, gpa: int, size: int | str, perms: EptPerm, memory_type: MemType | None = None, *,
                ignore_pat: bool = False) -> None:
        """Gives every page mapped in the range new rights and memory type."""
        self._check_open()
        check(lib.vmxc_ept_protect(self._raw, gpa, parse_size(size), map_flags(perms, memory_type, ignore_pat)), "protect")

    def merge(self, gpa: int, size: int | str) -> None:
        """Makes large pages of small ones where they are contiguous and alike."""
        self._check_open()
        check(lib.vmxc_ept_merge(self._raw, gpa, parse_size(size)), "merge")

    def query(self, gpa: int) -> EptMapping:
        """What is mapped at `gpa`. `NotFound` if nothing is."""
        self._check_open()
        found = ffi.new("struct vmxc_ept_mapping *")
        check(lib.vmxc_ept_query(self._raw, gpa, found), f"{gpa:#x}")
        return _mapping(found)

    def walk(self, gpa: int = 0, size: int | str | None = None) -> list[EptMapping]:
        """Every page mapped in the range, ascending. No size: to the end of the span."""
        self._check_open()
        found: list[EptMapping] = []
        handle = ffi.new_handle(found)
        length = self.span - gpa if size is None else parse_size(size)
        check(lib.vmxc_ept_walk(self._raw, gpa, length, lib.vmxpy_on_mapping, handle), "walk")
        return found
