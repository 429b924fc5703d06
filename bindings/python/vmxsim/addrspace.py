# SPDX-License-Identifier: Apache-2.0
"""Guest-physical address spaces: areas, and the EPT hierarchy that implements them."""
from __future__ import annotations

import dataclasses
import typing

from vmxsim import arrays
from vmxsim._resource import Resource
from vmxsim._vmxsim import ffi, lib
from vmxsim.cpu import Cpu
from vmxsim.enums import (Cr0, EptPerm, FaultResult, Field, MemType, PageLevel, PrimaryControls, SecondaryControls)
from vmxsim.ept import EptEntries, flags_memory_type, map_flags
from vmxsim.errors import InvalidInput, NotFound, Unsupported, check
from vmxsim.machine import Machine, ept_config
from vmxsim.outcome import EptViolation, Outcome, from_row, html_table
from vmxsim.profile import parse_size
from vmxsim.vmcs import Vmcs

__all__ = ["AddressSpace", "Area", "Areas", "Mapping"]

_NO_HPA = lib.VMXC_AREA_NO_HPA
_ALLOC, _LINEAR = lib.vmxc_backend_alloc, lib.vmxc_backend_linear
_hpa = lib.vmxpy_hpa
_ROW = ffi.typeof("struct vmxpy_row *")
_NOWHERE = (1 << 64) - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Area:
    """A guest-physical range with one backend and one set of flags."""

    base: int
    size: int
    backend: str
    """``"linear"`` or ``"alloc"``"""
    hpa: int | None
    """Linear: host address of `base`."""
    perms: EptPerm
    memory_type: MemType
    lazy: bool

    @property
    def end(self) -> int:
        """First address behind the area."""
        return self.base + self.size


class Areas(typing.Tuple[Area, ...]):
    """The areas of a space, ascending. A notebook shows a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return html_table(("from", "to", "backend", "host", "rights", "type", "lazy"),
                          ((f"{a.base:#x}", f"{a.end:#x}", a.backend, "" if a.hpa is None else f"{a.hpa:#x}", a.perms,
                            a.memory_type.name, a.lazy) for a in self))


@dataclasses.dataclass(frozen=True, slots=True)
class Mapping:
    """Guest-physical addresses that map to contiguous host addresses with the same rights, type and page size."""

    gpa: int
    hpa: int
    size: int
    page_size: int
    perms: EptPerm
    memory_type: MemType


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_area(context: typing.Any, area: typing.Any) -> int:
    hpa = None if area.hpa == _NO_HPA else area.hpa
    name = ffi.string(area.backend.name).decode()
    ffi.from_handle(context).append(
        Area(area.base, area.size, name, hpa, EptPerm(area.flags & 15), flags_memory_type(area.flags), bool(area.lazy)))
    return 0


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_run(context: typing.Any, run: typing.Any) -> int:
    ffi.from_handle(context).append(
        Mapping(run.gpa, run.hpa, run.size, run.page_size, EptPerm(run.flags & 15), flags_memory_type(run.flags)))
    return 0


class AddressSpace(Resource):
    """A guest's physical address space.

    Parameters
    ----------
    base, size
        The guest-physical addresses it is for. No size: as far as the processor's addresses and the walk reach.
    levels, largest_page, accessed_dirty, mode_based_execute
        As of `vmxsim.ept.Ept`.

    Sizes are bytes or text (``"2M"``), addresses and sizes multiples of 4096 unless a method says otherwise. A method that
    raises has changed nothing.

    Examples
    --------
    >>> with Machine() as machine, machine.address_space() as space:
    ...     space.map_linear(0, 0x200000, "2M", EptPerm.RX)
    ...     space.map_alloc(0x40000000, "64K", lazy=True)
    ...     space.translate(0x1234)
    ...     space.translate(0x40000000).rule
    Translation(gpa=4660, hpa=2101812, page_size=2097152, perms=EptPerm(R|X), memory_type=MemType.WB, gva=None, data=b'')
    WalkRule.EPT_NOT_PRESENT
    """

    def __init__(self, machine: Machine, base: int = 0, size: int | str | None = None, *, levels: int = 4,
                 largest_page: PageLevel | None = None, accessed_dirty: bool = False, mode_based_execute: bool = False) -> None:
        machine._check_open()
        super().__init__(machine)
        self._machine = machine
        self._mode_based_execute = mode_based_execute
        config = ept_config(machine.profile, levels, largest_page, accessed_dirty, mode_based_execute)
        width = min(machine.profile.maxphyaddr, 48 if levels == 4 else 57)
        length = (1 << width) - base if size is None else parse_size(size)
        self._raw = ffi.new("struct vmxc_addrspace *")
        check(lib.vmxc_addrspace_init(self._raw, machine._hal, config, base, length), "address space")
        self._owns_value(machine, lib.vmxc_addrspace_fini)
        self._probe: Cpu | None = None
        self._rights: dict[EptPerm, int] = {}
        self.entries = EptEntries(machine, int(self._raw.ept.root_hpa), levels)

    def _twin(self, machine: Machine) -> AddressSpace:
        twin = self._twin_value(machine, lib.vmxc_addrspace_fini, "ept", "areas")
        twin._machine, twin._mode_based_execute = machine, self._mode_based_execute
        twin._probe, twin._rights = None, {}
        twin.entries = EptEntries(machine, self.entries._root, self.entries._levels)
        return twin

    # ---- Changing ----

    def map_linear(self, gpa: int, hpa: int, size: int | str, perms: EptPerm = EptPerm.RWX, memory_type: MemType | None = None, *,
                   ignore_pat: bool = False, replace: bool = False) -> None:
        """Maps host memory at a fixed offset, with large pages where alignment allows.

        `memory_type` None is write-back. Raises `AlreadyExists` if an area overlaps the range, unless `replace`.
        """
        self._check_open()
        call = lib.vmxc_addrspace_replace_linear if replace else lib.vmxc_addrspace_map_linear
        check(call(self._raw, gpa, hpa, parse_size(size), map_flags(perms, memory_type, ignore_pat)), f"map {gpa:#x}")

    def map_alloc(self, gpa: int, size: int | str, perms: EptPerm = EptPerm.RWX, memory_type: MemType | None = None, *,
                  lazy: bool = False, ignore_pat: bool = False, replace: bool = False) -> None:
        """Backs a range with zeroed frames, all now or (`lazy`) each when `handle_fault` is called for it."""
        self._check_open()
        call = lib.vmxc_addrspace_replace_alloc if replace else lib.vmxc_addrspace_map_alloc
        check(call(self._raw, gpa, parse_size(size), map_flags(perms, memory_type, ignore_pat), not lazy), f"map {gpa:#x}")

    def unmap(self, gpa: int, size: int | str) -> None:
        """Removes a range from every area it touches. `NotFound` if there is no area in it at all."""
        self._check_open()
        check(lib.vmxc_addrspace_unmap(self._raw, gpa, parse_size(size)), f"unmap {gpa:#x}")

    def protect(self, gpa: int, size: int | str, perms: EptPerm, memory_type: MemType | None = None, *,
                ignore_pat: bool = False) -> None:
        """Gives a range new rights and memory type. `NotFound` if part of it has no area."""
        self._check_open()
        flags = map_flags(perms, memory_type, ignore_pat)
        check(lib.vmxc_addrspace_protect(self._raw, gpa, parse_size(size), flags), f"protect {gpa:#x}")

    def clear(self) -> None:
        """Unmaps everything."""
        self._check_open()
        check(lib.vmxc_addrspace_clear(self._raw), "clear")

    def merge(self, gpa: int, size: int | str) -> None:
        """Makes large EPT pages of small ones where they are contiguous and alike."""
        self._check_open()
        check(lib.vmxc_ept_merge(lib.vmxc_addrspace_ept(self._raw), gpa, parse_size(size)), "merge")

    def handle_fault(self, gpa: int | EptViolation, access: EptPerm = EptPerm.R) -> FaultResult:
        """What a hypervisor does at an EPT violation: supplies a lazy page, or says why not.

        Parameters
        ----------
        gpa
            Any alignment; or the `EptViolation` itself, which has the access as well.
        """
        self._check_open()
        address = gpa
        if isinstance(address, EptViolation):
            access = address.access
            address = address.gpa
        return FaultResult(lib.vmxc_addrspace_handle_page_fault(self._raw, address, EptPerm.require(access)))

    # ---- Asking ----

    @property
    def eptp(self) -> int:
        """The EPT pointer for the VMCS."""
        self._check_open()
        return int(lib.vmxc_addrspace_eptp(self._raw))

    @property
    def base(self) -> int:
        """First address of the space."""
        self._check_open()
        return int(self._raw.base)

    @property
    def size(self) -> int:
        """Bytes."""
        self._check_open()
        return int(self._raw.size)

    def hpa(self, gpa: int) -> int:
        """Host address behind `gpa` (any alignment), as libvmxcore keeps it. `NotFound` if there is none."""
        hpa: int = _hpa(self._raw, gpa)
        if hpa == _NOWHERE:
            self._check_open()
            raise NotFound(f"{gpa:#x} is not backed")
        return hpa

    def hpas(self, gpas: typing.Any) -> typing.Any:
        """`hpa` of an array; FFFFFFFFFFFFFFFFH where there is none."""
        self._check_open()
        with arrays.column(gpas, 8) as addresses:
            result, room = arrays.numbers(len(addresses), 8)
            with room:
                lib.vmxpy_hpa_many(self._raw, addresses, len(addresses), room)
        return result

    def _new_rights(self, access: EptPerm) -> int:
        """`EptPerm` as vmxsim_guest_physical_access takes it."""
        perms = EptPerm.require(access)
        if perms & EptPerm.UX and not self._mode_based_execute:
            raise Unsupported("user-mode execute without mode-based execute control")
        if not perms:
            raise InvalidInput("an access needs at least one right")
        rights = int(perms & 7) | (lib.VMXC_EPT_USER_EXECUTE if perms & EptPerm.UX else 0)
        self._rights[access] = rights
        return rights

    def _processor(self) -> Cpu:
        """A processor that runs with this space and without guest paging."""
        if self._probe is None or self._probe.closed:
            vmcs = Vmcs()
            vmcs[Field.PRIMARY_PROCESSOR_BASED_CONTROLS] = PrimaryControls.ACTIVATE_SECONDARY_CONTROLS
            execute = SecondaryControls.MODE_BASED_EXECUTE_CONTROL if self._mode_based_execute else 0
            vmcs[Field.SECONDARY_PROCESSOR_BASED_CONTROLS] = SecondaryControls.ENABLE_EPT | execute
            vmcs[Field.EPT_POINTER] = self.eptp
            vmcs[Field.GUEST_CR0] = Cr0.PE | Cr0.ET | Cr0.NE
            probe = Cpu(self._machine)
            probe._is_probe = True
            self._children.add(probe)
            probe.load_guest(vmcs)
            self._probe = probe
        return self._probe

    @typing.overload
    def translate(self, gpa: int, access: EptPerm = EptPerm.R) -> Outcome: ...
    @typing.overload
    def translate(self, gpa: typing.Any, access: EptPerm = EptPerm.R) -> typing.Any: ...

    def translate(self, gpa: typing.Any, access: EptPerm = EptPerm.R) -> typing.Any:
        """What a processor makes of an access to a guest-physical address: it walks the tables that are in memory.

        With accessed and dirty flags for EPT it sets them.

        Parameters
        ----------
        gpa
            A number (any alignment), or an array of numbers: anything with the buffer protocol, or a sequence.
        access
            The rights that the access needs.

        Returns
        -------
        Translation, EptViolation or EptMisconfiguration
            For a number.
        numpy structured array
            For an array; columns as of `vmxsim.arrays.Row`. Without numpy `vmxsim.arrays.Rows`.
        """
        self._check_open()
        cpu = self._probe
        if cpu is None or not cpu._open_flag:  # a restore ends what is younger than its snapshot
            cpu = self._processor()
        rights = self._rights.get(access) or self._new_rights(access)
        if isinstance(gpa, int):
            row = ffi.new(_ROW)
            status = lib.vmxpy_translate_one(cpu._raw, rights, gpa, row)
            if status:
                check(status, f"translate {gpa:#x}")
            return from_row(ffi.buffer(row))
        with arrays.column(gpa, 8) as addresses:
            result, room = arrays.rows(len(addresses))
            done = ffi.new("size_t *")
            with room:
                status = lib.vmxpy_translate_many(cpu._raw, rights, addresses, len(addresses), room, done)
            check(status, f"element {done[0]}")
        return result

    def areas(self) -> Areas:
        """All areas, ascending."""
        self._check_open()
        found: list[Area] = []
        handle = ffi.new_handle(found)
        check(lib.vmxc_addrspace_for_each_area(self._raw, lib.vmxpy_on_area, handle), "areas")
        return Areas(found)

    def mappings(self) -> list[Mapping]:
        """What is mapped now, in maximal runs, ascending. Lazy pages that were never touched are not."""
        self._check_open()
        found: list[Mapping] = []
        handle = ffi.new_handle(found)
        check(lib.vmxc_addrspace_for_each_mapping(self._raw, lib.vmxpy_on_run, handle), "mappings")
        return found

    def is_valid(self) -> bool:
        """True if areas and tables agree with each other; for tests."""
        self._check_open()
        return bool(lib.vmxc_addrspace_is_valid(self._raw))

    # ---- Guest memory ----

    def read(self, gpa: int, length: int) -> bytes:
        """Bytes of guest memory, as a hypervisor reads them: any alignment, across areas; lazy pages are supplied.

        Raises `NotFound` (no area), `Denied`, `NotBacked` (device memory), `NoMemory`.
        """
        self._check_open()
        buffer = ffi.new("uint8_t[]", length)
        check(lib.vmxc_guest_mem_read(self._raw, gpa, buffer, length), f"read {gpa:#x}")
        return bytes(ffi.buffer(buffer))

    def write(self, gpa: int, data: typing.Any) -> None:
        """Writes anything with the buffer protocol; all or nothing. Errors as of `read`."""
        self._check_open()
        with ffi.from_buffer(data) as buffer:
            check(lib.vmxc_guest_mem_write(self._raw, gpa, buffer, len(buffer)), f"write {gpa:#x}")

    def __str__(self) -> str:
        self._check_open()
        size = lib.vmxc_addrspace_format(self._raw, ffi.NULL, 0) + 1
        text = ffi.new("char[]", size)
        lib.vmxc_addrspace_format(self._raw, text, size)
        return typing.cast(str, ffi.string(text).decode())

    def __repr__(self) -> str:
        return "AddressSpace(closed)" if self.closed else f"AddressSpace({self.base:#x}, {self.size:#x})"

    def _repr_html_(self) -> str:
        return self.areas()._repr_html_()
