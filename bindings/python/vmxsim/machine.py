# SPDX-License-Identifier: Apache-2.0
"""A machine: memory, a profile, and what is made on it."""
from __future__ import annotations

import contextlib
import dataclasses
import os
import typing
import weakref

from vmxsim._resource import Resource
from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import EptPerm, HazardRule, Intercept, PageLevel
from vmxsim.errors import BadState, Busy, InvalidInput, NotFound, check
from vmxsim.memory import FrameAllocator, Memory, TraceEvent
from vmxsim.profile import Profile, as_profile, parse_size, take_text

if typing.TYPE_CHECKING:
    from vmxsim.addrspace import AddressSpace
    from vmxsim.bitmap import IoBitmap, MsrBitmap
    from vmxsim.cpu import Cpu
    from vmxsim.ept import Ept
    from vmxsim.outcome import Outcome

__all__ = ["Hazard", "Machine"]

Twin = typing.TypeVar("Twin", bound=Resource)
Ram = typing.Union[int, str, typing.Sequence[typing.Tuple[int, typing.Union[int, str]]]]


@dataclasses.dataclass(frozen=True, slots=True)
class Hazard:
    """Something that the manual warns of. Execution goes on as the model defines it."""

    rule: HazardRule
    processor: int
    """Whose region, or whose translation it is: its `Cpu.number`."""
    region_hpa: int
    other_processor: int | None
    """Two processors, one region: the one whose instruction brought it about."""
    hpa: int
    length: int
    """Accesses through memory: bytes in the region; 0 otherwise."""
    write: bool
    found_later: bool
    """Nobody saw the write: the data of the region have changed."""
    address: int | None
    """A stale translation: the guest-physical (TLB_EPT) or linear address (TLB_PAGING) that was translated; `hpa` is the entry."""
    cached: int | None
    now: int | None
    """The entry as it was and as it is."""
    text: str = dataclasses.field(compare=False, repr=False)

    def explain(self) -> str:
        """What happened to which region, the rule and its section."""
        return self.text


def _stale(raw: typing.Any) -> tuple[int | None, int | None, int | None]:
    stale = raw.rule in (HazardRule.TLB_EPT, HazardRule.TLB_PAGING)
    return (raw.address, raw.cached, raw.now) if stale else (None, None, None)


def _explain_hazard(raw: typing.Any) -> str:
    return take_text(lib.vmxsim_explain_hazard(ffi.new("struct vmxsim_hazard *", raw)))


class Machine(Resource):
    """A simulated machine.

    Parameters
    ----------
    ram
        Bytes of RAM from address 0 on (``"64M"``), or (base, size) pairs.
    profile
        The processor: a built-in name, the path of a JSON file, or a `Profile`.
    frames
        (base, size) of the part of RAM that frames come from. None: the largest range.
    poison
        Fill frames with a pattern when they are taken and given back, so that stray accesses show.

    Examples
    --------
    >>> with Machine(ram="64M") as machine:
    ...     space = machine.address_space()
    ...     space.map_alloc(0, "1M", lazy=True)
    ...     space.handle_fault(0x5008)
    ...     machine.frames.in_use
    FaultResult.MAPPED
    6
    """

    def __init__(self, ram: Ram = "64M", profile: Profile | str | os.PathLike[str] = "icelake", *,
                 frames: tuple[int, int | str] | None = None, poison: bool = True) -> None:
        held = as_profile(profile)
        ranges = [(0, ram)] if isinstance(ram, (int, str)) else list(ram)
        config = ffi.new("struct vmxsim_memory_config *")
        c_ranges = ffi.new("struct vmxsim_range[]", [(base, parse_size(size)) for base, size in ranges])
        config.ram, config.ram_count, config.no_poison = c_ranges, len(ranges), not poison
        if frames is not None:
            config.frames.base, config.frames.length = frames[0], parse_size(frames[1])
        found = ffi.new("struct vmxsim_memory **")
        error = ffi.new("struct vmxsim_error *")
        check(lib.vmxsim_memory_create(config, found, error), "machine", error)
        self._hold(held, found[0])

    def _hold(self, profile: Profile, memory: typing.Any) -> None:
        super().__init__(None)
        self.profile = profile
        self._remembered: list[tuple[Resource, bool | None]] = []
        self._snapshot_born = 0
        self._twins: weakref.WeakKeyDictionary[Resource, Resource] = weakref.WeakKeyDictionary()
        self._memory = ffi.gc(memory, lib.vmxsim_memory_destroy)
        self._hal = lib.vmxsim_memory_hal(self._memory)
        self.memory = Memory(self, self._memory)
        self.frames = FrameAllocator(self, self._memory)
        # The memory goes when nothing refers to it: what lives on it holds a reference until it is freed.
        self._owns(lambda memory: None, self._memory)

    def _check_can_close(self) -> None:
        if self.memory.live_views:
            raise BufferError(f"{self.memory.live_views} views of the memory are alive; release them first")
        super()._check_can_close()

    def close(self) -> None:
        """Frees the machine: its children, then its memory. `BufferError` if a view of the memory is alive."""
        if not self.closed:
            super().close()
            self._remembered = []
            ffi.release(self._memory)

    # ---- What lives on a machine ----

    def cpu(self) -> Cpu:
        """A new logical processor."""
        from vmxsim.cpu import Cpu
        return Cpu(self)

    def address_space(self, base: int = 0, size: int | str | None = None, **options: typing.Any) -> AddressSpace:
        """A new, empty guest-physical address space; parameters as of `AddressSpace`."""
        from vmxsim.addrspace import AddressSpace
        return AddressSpace(self, base, size, **options)

    def ept(self, **options: typing.Any) -> Ept:
        """A new, empty EPT hierarchy without areas; parameters as of `Ept`."""
        from vmxsim.ept import Ept
        return Ept(self, **options)

    def io_bitmap(self, everything: Intercept = Intercept.INTERCEPT) -> IoBitmap:
        """New I/O bitmaps."""
        from vmxsim.bitmap import IoBitmap
        return IoBitmap(self, everything)

    def msr_bitmap(self, everything: Intercept = Intercept.INTERCEPT) -> MsrBitmap:
        """New MSR bitmaps."""
        from vmxsim.bitmap import MsrBitmap
        return MsrBitmap(self, everything)

    def _only_space(self) -> AddressSpace:
        from vmxsim.addrspace import AddressSpace
        spaces = [child for child in self._children if isinstance(child, AddressSpace) and not child.closed]
        if len(spaces) != 1:
            raise InvalidInput(f"the machine has {len(spaces)} address spaces; ask the one that is meant")
        return spaces[0]

    @typing.overload
    def translate(self, gpa: int, access: EptPerm = EptPerm.R) -> Outcome: ...
    @typing.overload
    def translate(self, gpa: typing.Any, access: EptPerm = EptPerm.R) -> typing.Any: ...

    def translate(self, gpa: typing.Any, access: EptPerm = EptPerm.R) -> typing.Any:
        """`AddressSpace.translate` of the machine's only address space."""
        self._check_open()
        return self._only_space().translate(gpa, access)

    # ---- The machine as a whole ----

    def digest(self) -> str:
        """128 bits, in hexadecimal, that depend on the content of all RAM and on nothing else."""
        self._check_open()
        digest = lib.vmxsim_memory_digest(self._memory)
        return f"{digest.high:016x}{digest.low:016x}"

    def reset(self) -> None:
        """Makes all RAM zero and the allocator empty. `BufferError` with a live view; `Busy` with children that own frames."""
        self._check_open()
        if self.memory.live_views:
            raise BufferError("views of the memory are alive; release them first")
        if any(not child.closed for child in self._children):
            raise Busy("objects on this machine are open; close them first")
        self.drop_snapshot()
        lib.vmxsim_memory_reset(self._memory)

    # ---- Hazards ----

    def hazards(self) -> list[Hazard]:
        """The last hazards (at most 16), oldest first: uses of VMXON and VMCS regions, and of stale translations, that the manual warns of."""
        self._check_open()
        room = ffi.new("struct vmxsim_hazard[]", lib.VMXSIM_HAZARDS_KEPT)
        count = lib.vmxsim_hazards_last(self._memory, room, len(room))
        return [Hazard(HazardRule(raw.rule), raw.processor, raw.region_hpa, raw.other_processor if raw.by_processor else None,
                       raw.hpa, raw.length, bool(raw.write), bool(raw.found_later), *_stale(raw), _explain_hazard(raw))
                for raw in room[0:count]]

    @property
    def hazard_count(self) -> int:
        """Hazards since the machine was made, or since `forget_hazards`."""
        self._check_open()
        return int(lib.vmxsim_hazard_count(self._memory))

    def forget_hazards(self) -> None:
        """Empties the log."""
        self._check_open()
        lib.vmxsim_hazards_forget(self._memory)

    # ---- Snapshots and clones ----

    def _open_children(self) -> list[Resource]:
        """Oldest first."""
        return sorted((child for child in self._children if not child.closed), key=lambda child: child._order)

    def snapshot(self) -> None:
        """Remembers memory, allocator, counters, processors and every object on the machine. `Busy` if there is a snapshot.

        Costs what was written since the one before; objects that are open now are kept until `drop_snapshot`.

        >>> with Machine() as machine, machine.address_space() as space:
        ...     space.map_alloc(0, "64K", lazy=True)
        ...     machine.snapshot()
        ...     for gpa in (0x1000, 0x2000):
        ...         result = space.handle_fault(gpa)
        ...         pages = machine.restore()
        ...     space.mappings()
        []
        """
        self._check_open()
        check(lib.vmxsim_snapshot_take(self._memory), "snapshot")
        self._remembered = [(child, getattr(child, "_guest_loaded", None)) for child in self._open_children()]
        self._snapshot_born = self._born

    def restore(self) -> int:
        """Makes the machine what it was at the snapshot, any number of times; returns how many pages were copied.

        Objects made since are closed. `BadState` if there is no snapshot, or if an object of that time has been closed.
        """
        self._check_open()
        if not lib.vmxsim_snapshot_exists(self._memory):
            raise BadState("there is no snapshot")
        gone = [child for child, _ in self._remembered if child.closed]
        if gone:
            raise BadState(f"closed since the snapshot: {', '.join(type(child).__name__ for child in gone)}")
        for child in reversed(self._open_children()):
            if child._order > self._snapshot_born:
                child.close()
        pages = ffi.new("uint64_t *")
        check(lib.vmxsim_snapshot_restore(self._memory, pages), "restore")
        for child, loaded in self._remembered:
            if loaded is not None:
                child._guest_loaded = loaded  # type: ignore[attr-defined]
        return int(pages[0])

    def drop_snapshot(self) -> None:
        """Forgets the snapshot, if there is one; the machine stays as it is."""
        self._check_open()
        lib.vmxsim_snapshot_drop(self._memory)
        self._remembered = []

    def clone(self) -> Machine:
        """A machine of its own in the same state, with a twin of every open object on this one: `twin_of` finds it.

        Pages that neither writes are in host memory once (`Memory.footprint`). The snapshot is not cloned.
        """
        self._check_open()
        twin = Machine.__new__(Machine)
        found, error = ffi.new("struct vmxsim_memory **"), ffi.new("struct vmxsim_error *")
        check(lib.vmxsim_memory_clone(self._memory, found, error), "clone", error)
        twin._hold(self.profile, found[0])
        for child in self._open_children():
            made = child._twin(twin)
            if made is not None:
                twin._twins[child] = made
        for child in list(twin._twins):
            child._twins_made(twin)
        return twin

    def twin_of(self, original: Twin) -> Twin:
        """The object on this clone that is the twin of one on the machine it was cloned from. `NotFound` if there is none."""
        found = self._twins.get(original)
        if found is None:
            raise NotFound(f"this machine has no twin of {original!r}")
        return typing.cast(Twin, found)

    @contextlib.contextmanager
    def trace(self) -> typing.Iterator[list[TraceEvent]]:
        """Collects what libvmxcore does in the block: frames taken and given back, mappings, splits, invalidations.

        >>> with Machine() as machine, machine.trace() as events:
        ...     frame = machine.frames.alloc("mine")
        >>> [(event.kind, event.label) for event in events][:1]
        [(TraceKind.FRAME_ALLOC, 'mine')]
        """
        self._check_open()
        events: list[TraceEvent] = []
        handle = ffi.new_handle(events)
        lib.vmxsim_memory_on_trace(self._memory, lib.vmxpy_on_trace, handle)
        try:
            yield events
        finally:
            if not self.closed:
                lib.vmxsim_memory_on_trace(self._memory, ffi.NULL, ffi.NULL)

    def __repr__(self) -> str:
        return f"Machine(profile={self.profile.name!r}{', closed' if self.closed else ''})"


def ept_config(profile: Profile, levels: int, largest_page: PageLevel | None, accessed_dirty: bool,
               mode_based_execute: bool) -> typing.Any:
    """The EPT configuration that a processor allows; see `Ept`."""
    from vmxsim.enums import Msr
    request = ffi.new("struct vmxc_caps_ept_request *")
    request.maxphyaddr, request.levels = profile.maxphyaddr, levels
    request.accessed_dirty, request.mode_based_execute = accessed_dirty, mode_based_execute
    config = ffi.new("struct vmxc_ept_config *")
    secondary = profile.msr(Msr.VMX_PROCBASED_CTLS2) >> 32
    check(lib.vmxc_caps_ept_config(profile.msr(Msr.VMX_EPT_VPID_CAP), secondary, request, config), "EPT configuration")
    if largest_page is not None:
        config.largest_page = min(config.largest_page, largest_page)
    return config
