# SPDX-License-Identifier: Apache-2.0
"""Physical memory of a machine, and its frames."""
from __future__ import annotations

import dataclasses
import typing
import weakref

from vmxsim._resource import Resource
from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import TraceKind
from vmxsim.errors import InvalidInput, check

if typing.TYPE_CHECKING:
    from vmxsim.machine import Machine

__all__ = ["Footprint", "Frame", "FrameAllocator", "FrameStats", "Leak", "Memory", "TraceEvent"]

PAGE_SIZE = 4096
_LABELS: dict[str, typing.Any] = {}  # the HAL keeps pointers to labels


def static_label(label: str) -> typing.Any:
    """A C string that lives as long as the process."""
    return _LABELS.setdefault(label, ffi.new("char[]", label.encode()))


@dataclasses.dataclass(frozen=True, slots=True)
class FrameStats:
    """Counters of a memory since it was made, or reset."""

    frames_total: int
    frames_in_use: int
    frames_peak: int
    allocations: int
    frees: int
    failed: int
    double_frees: int
    foreign_frees: int
    use_after_free: int
    hole_reads: int
    hole_writes: int
    invalidations: int


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """Host memory behind what was written, in bytes."""

    own: int
    """For this machine alone, what its snapshot has saved included."""
    shared: int
    """In common with clones."""


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """A frame in use and the label that its owner gave."""

    hpa: int
    label: str


@dataclasses.dataclass(frozen=True, slots=True)
class TraceEvent:
    """What libvmxcore did. Members that the kind does not name are 0."""

    kind: TraceKind
    label: str
    gpa: int
    hpa: int
    size: int
    value: int


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_frame(context: typing.Any, hpa: int, label: typing.Any) -> None:
    ffi.from_handle(context).append(Leak(hpa, "" if label == ffi.NULL else ffi.string(label).decode()))


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_page(context: typing.Any, hpa: int, data: typing.Any) -> None:
    ffi.from_handle(context).append(hpa)


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_trace(context: typing.Any, event: typing.Any) -> None:
    label = "" if event.label == ffi.NULL else ffi.string(event.label).decode()
    ffi.from_handle(context).append(
        TraceEvent(TraceKind(event.kind), label, event.gpa, event.hpa, event.size, event.value))


def _hand_back(views: dict[int, typing.Any], key: int, raw: typing.Any, hpa: int, length: int) -> None:
    del views[key]
    check(lib.vmxsim_memory_hand_back(raw, hpa, length), "view")


class Memory:
    """Simulated physical memory: ``memory[a:b]`` reads bytes, ``memory[a:b] = data`` writes them.

    Addresses are host-physical. What is no RAM reads as all ones and swallows writes, as on a bus; both are counted.

    Examples
    --------
    >>> from vmxsim import Machine
    >>> with Machine(ram="1M") as machine:
    ...     machine.memory[0x1000:0x1004] = b"abcd"
    ...     machine.memory.read64(0x1000) == int.from_bytes(b"abcd", "little")
    True
    """

    def __init__(self, machine: Machine, raw: typing.Any) -> None:
        self._machine, self._raw = machine, raw
        self._views: dict[int, weakref.finalize[typing.Any, typing.Any]] = {}  # buffers cannot be hashed

    def _bounds(self, key: slice) -> tuple[int, int]:
        if key.step not in (None, 1) or key.start is None or key.stop is None:
            raise InvalidInput("a slice of memory is [first:behind the last], both given")
        if not 0 <= key.start <= key.stop <= 1 << 64:
            raise InvalidInput(f"[{key.start:#x}:{key.stop:#x}] is no range of addresses")
        return key.start, key.stop - key.start

    def __getitem__(self, key: slice) -> bytes:
        start, length = self._bounds(key)
        return self.read(start, length)

    def __setitem__(self, key: slice, data: typing.Any) -> None:
        start, length = self._bounds(key)
        with memoryview(data) as view:
            if view.nbytes != length:
                raise InvalidInput(f"{view.nbytes} bytes for a slice of {length}")
        self.write(start, data)

    def read(self, hpa: int, length: int) -> bytes:
        """`length` bytes from `hpa` on."""
        self._machine._check_open()
        buffer = ffi.new("uint8_t[]", length)
        lib.vmxsim_memory_read(self._raw, hpa, buffer, length)
        return bytes(ffi.buffer(buffer))

    def write(self, hpa: int, data: typing.Any) -> None:
        """Writes anything with the buffer protocol."""
        self._machine._check_open()
        with ffi.from_buffer(data) as buffer:
            lib.vmxsim_memory_write(self._raw, hpa, buffer, len(buffer))

    def read64(self, hpa: int) -> int:
        """One little-endian quadword."""
        self._machine._check_open()
        return int(lib.vmxsim_memory_read64(self._raw, hpa))

    def write64(self, hpa: int, value: int) -> None:
        """One little-endian quadword."""
        self._machine._check_open()
        lib.vmxsim_memory_write64(self._raw, hpa, value)

    def read32(self, hpa: int) -> int:
        """One little-endian doubleword."""
        self._machine._check_open()
        return int(lib.vmxsim_memory_read32(self._raw, hpa))

    def write32(self, hpa: int, value: int) -> None:
        """One little-endian doubleword."""
        self._machine._check_open()
        lib.vmxsim_memory_write32(self._raw, hpa, value)

    def is_ram(self, hpa: int, length: int = 1) -> bool:
        """True if all of [hpa, hpa + length) is RAM."""
        self._machine._check_open()
        return bool(lib.vmxsim_memory_is_ram(self._raw, hpa, length))

    def view(self, hpa: int, length: int, *, writable: bool = True) -> memoryview:
        """The memory itself, not a copy. All of it must be RAM.

        ``view.cast("Q")`` has quadwords; ``numpy.frombuffer(view, "u8")`` shares the bytes. The pages of a view count as
        written as long as it lives. As long as a view (or an array over it) lives, the machine cannot be closed or reset: `BufferError`.
        """
        self._machine._check_open()
        if length <= 0 or not self.is_ram(hpa, length):
            raise InvalidInput(f"[{hpa:#x}, {hpa + length:#x}) is not all RAM")
        pointer = ffi.new("void **")
        check(lib.vmxsim_memory_hand_out(self._raw, hpa, length, pointer), "view")
        buffer = ffi.buffer(pointer[0], length)
        key = id(buffer)
        # What the callback refers to, the memory among it, lives as long as the buffer, the machine closed or not.
        self._views[key] = weakref.finalize(buffer, _hand_back, self._views, key, self._raw, hpa, length)
        view = memoryview(buffer)
        return view if writable else view.toreadonly()

    @property
    def live_views(self) -> int:
        """Views that something still refers to."""
        return len(self._views)

    @property
    def footprint(self) -> Footprint:
        """What the machine's memory costs the host: a clone's is `shared` until one of the two writes.

        >>> with Machine(ram="64M") as machine:
        ...     machine.memory.write(0, bytes(1 << 20))
        ...     with machine.clone() as twin:
        ...         twin.memory.write64(0x5000, 7)
        ...         twin.memory.footprint
        Footprint(own=4096, shared=1044480)
        """
        self._machine._check_open()
        raw = lib.vmxsim_memory_footprint(self._raw)
        return Footprint(int(raw.own), int(raw.shared))

    def touched_pages(self) -> list[int]:
        """Addresses of the 4-KByte pages that may have been written, ascending."""
        self._machine._check_open()
        pages: list[int] = []
        handle = ffi.new_handle(pages)
        lib.vmxsim_memory_touched_pages(self._raw, lib.vmxpy_on_page, handle)
        return pages


class Frame(Resource):
    """One owned 4-KByte frame; `FrameAllocator.alloc` makes them."""

    def __init__(self, machine: Machine, label: str, zeroed: bool) -> None:
        super().__init__(machine)
        self._machine = machine
        self._raw = ffi.new("struct vmxc_frame *")
        alloc = lib.vmxc_frame_alloc_zeroed if zeroed else lib.vmxc_frame_alloc
        check(alloc(machine._hal, static_label(label), self._raw), "frame")
        self._owns_value(machine, lib.vmxc_frame_fini)

    def _twin(self, machine: Machine) -> Frame:
        twin = self._twin_value(machine, lib.vmxc_frame_fini, "")
        twin._machine = machine
        return twin

    @property
    def hpa(self) -> int:
        """The frame's address, a multiple of 4096."""
        self._check_open()
        return int(self._raw.hpa)

    def fill(self, byte: int) -> None:
        """Sets every byte."""
        self._check_open()
        check(lib.vmxc_frame_fill(self._raw, byte), "frame")

    def view(self, *, writable: bool = True) -> memoryview:
        """The 4096 bytes themselves; see `Memory.view`."""
        return self._machine.memory.view(self.hpa, PAGE_SIZE, writable=writable)

    def __repr__(self) -> str:
        return "Frame(closed)" if self.closed else f"Frame({self.hpa:#x})"


class FrameAllocator:
    """The machine's frames: handing out, accounting, making allocation fail."""

    def __init__(self, machine: Machine, raw: typing.Any) -> None:
        self._machine, self._raw = machine, raw

    def alloc(self, label: str = "Python", *, zeroed: bool = True) -> Frame:
        """Takes a frame. `label` says what for, in leak reports. `NoMemory` if there is none."""
        self._machine._check_open()
        return Frame(self._machine, label, zeroed)

    @property
    def stats(self) -> FrameStats:
        """All counters."""
        self._machine._check_open()
        raw = lib.vmxsim_memory_stats(self._raw)
        return FrameStats(*(getattr(raw, field.name) for field in dataclasses.fields(FrameStats)))

    @property
    def in_use(self) -> int:
        """Frames handed out and not given back."""
        return self.stats.frames_in_use

    def leaks(self) -> list[Leak]:
        """Every frame in use, ascending, with its owner's label."""
        self._machine._check_open()
        found: list[Leak] = []
        handle = ffi.new_handle(found)
        lib.vmxsim_memory_leaks(self._raw, lib.vmxpy_on_frame, handle)
        return found

    def leak_report(self) -> str:
        """One line per label; ``""`` if no frame is in use."""
        self._machine._check_open()
        size = lib.vmxsim_memory_leak_report(self._raw, ffi.NULL, 0) + 1
        text = ffi.new("char[]", size)
        lib.vmxsim_memory_leak_report(self._raw, text, size)
        return typing.cast(str, ffi.string(text).decode())

    def damaged(self) -> list[Leak]:
        """Frames that were written after they had been given back, with their last owner's label."""
        self._machine._check_open()
        found: list[Leak] = []
        handle = ffi.new_handle(found)
        lib.vmxsim_memory_damaged_frames(self._raw, lib.vmxpy_on_frame, handle)
        return found

    def fail_nth(self, n: int) -> None:
        """The n-th allocation from now on fails (1: the next), once. 0: none does."""
        self._machine._check_open()
        lib.vmxsim_memory_fail_nth(self._raw, n)

    def fail_randomly(self, seed: int, probability: float) -> None:
        """Each allocation fails with this probability, decided by `seed` alone. 0: none does."""
        self._machine._check_open()
        if not 0 <= probability <= 1:
            raise InvalidInput(f"{probability} is no probability")
        lib.vmxsim_memory_fail_randomly(self._raw, seed, round(probability * 1_000_000))
