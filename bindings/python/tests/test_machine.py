# SPDX-License-Identifier: Apache-2.0
"""Machine, memory, frames, lifetimes."""
from __future__ import annotations

import gc
import typing
import weakref

import pytest

import vmxsim
from vmxsim import EptPerm, Machine, errors
from vmxsim.enums import TraceKind
from vmxsim.profile import parse_size


@pytest.mark.parametrize("text", ["", "M", "12Q", "x", "1.5M"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidInput, match="no size"):
        parse_size(text)


@pytest.mark.parametrize("ram", [0, "4K3", [(0x1000, 0x1000), (0x1800, 0x1000)], [], [(1 << 52, "4K")]])
def test_ram_that_cannot_be_is_refused(ram: typing.Any) -> None:
    with pytest.raises(errors.VmxsimError) as caught:
        Machine(ram=ram)
    assert isinstance(caught.value, ValueError)


def test_unknown_profile() -> None:
    with pytest.raises(errors.IoError) as caught:
        Machine(profile="no-such-profile")
    assert isinstance(caught.value, OSError) and "no-such-profile" in str(caught.value)


def test_memory_reads_what_was_written(machine: Machine) -> None:
    machine.memory[0x1000:0x1004] = b"abcd"
    machine.memory.write32(0x1004, 0x11223344)
    assert machine.memory[0x1000:0x1008] == b"abcd\x44\x33\x22\x11"
    assert machine.memory.read64(0x1000) == int.from_bytes(b"abcd\x44\x33\x22\x11", "little")
    machine.memory.write64(0x1000, 1)
    assert machine.memory.read32(0x1000) == 1
    assert machine.memory.touched_pages() == [0x1000]


def test_slices_name_both_ends(machine: Machine) -> None:
    for key in (slice(0, None), slice(None, 4), slice(0, 8, 2), slice(8, 0), slice(-1, 4)):
        with pytest.raises(errors.InvalidInput):
            machine.memory[key]
    with pytest.raises(errors.InvalidInput, match="3 bytes for a slice of 4"):
        machine.memory[0:4] = b"abc"


def test_holes_read_as_ones_and_are_counted(machine: Machine) -> None:
    assert machine.memory[1 << 40:(1 << 40) + 4] == b"\xff" * 4
    assert machine.frames.stats.hole_reads == 1
    assert not machine.memory.is_ram(1 << 40)


def test_a_view_shares_the_memory(machine: Machine) -> None:
    view = machine.memory.view(0x2000, 0x1000)
    view[0] = 0x7f
    assert machine.memory.read32(0x2000) == 0x7f
    machine.memory.write64(0x2008, 5)
    assert view.cast("Q")[1] == 5 and len(view.cast("Q")) == 512


def test_a_read_only_view_does_not_write(machine: Machine) -> None:
    view = machine.memory.view(0x2000, 8, writable=False)
    with pytest.raises(TypeError):
        view[0] = 1
    assert machine.memory[0x2000:0x2008] == bytes(8)
    view.release()


def test_a_view_over_pages_counts_them_as_written(machine: Machine) -> None:
    view = machine.memory.view(0x2000, 0x3000)
    assert machine.memory.touched_pages() == [0x2000, 0x3000, 0x4000]
    del view


def test_views_of_holes_are_refused(machine: Machine) -> None:
    for hpa, length in ((1 << 40, 8), ((64 << 20) - 8, 16), (0, 0)):
        with pytest.raises(errors.InvalidInput):
            machine.memory.view(hpa, length)


def test_live_views_block_closing() -> None:
    machine = Machine()
    space = machine.address_space()
    view = machine.memory.view(0, 4096).cast("Q")
    with pytest.raises(BufferError, match="1 views"):
        machine.close()
    assert not machine.closed and not space.closed
    with pytest.raises(BufferError):
        machine.reset()
    view.release()
    del view
    gc.collect()
    machine.close()
    assert machine.closed and space.closed


def test_an_array_over_a_view_blocks_closing() -> None:
    numpy = pytest.importorskip("numpy")
    machine = Machine()
    array = numpy.frombuffer(machine.memory.view(0x3000, 4096), "u8")
    array[1] = 9
    assert machine.memory.read64(0x3008) == 9
    with pytest.raises(BufferError):
        machine.close()
    del array
    machine.close()


def uses() -> list[tuple[str, typing.Callable[[Machine], typing.Any]]]:
    return [
        ("read", lambda m: m.memory.read(0, 1)), ("view", lambda m: m.memory.view(0, 1)), ("frames", lambda m: m.frames.in_use),
        ("alloc", lambda m: m.frames.alloc()), ("cpu", lambda m: m.cpu()), ("space", lambda m: m.address_space()),
        ("ept", lambda m: m.ept()), ("io", lambda m: m.io_bitmap()), ("msr", lambda m: m.msr_bitmap()),
        ("digest", lambda m: m.digest()), ("reset", lambda m: m.reset()), ("translate", lambda m: m.translate(0)),
        ("leaks", lambda m: m.frames.leaks()), ("with", lambda m: m.__enter__()), ("region", lambda m: vmxsim.Region(m)),
        ("check", lambda m: vmxsim.check(vmxsim.Vmcs(), machine=m)), ("trace", lambda m: m.trace().__enter__()),
    ]


@pytest.mark.parametrize("name, use", uses(), ids=[name for name, _ in uses()])
def test_a_closed_machine_says_so(name: str, use: typing.Callable[[Machine], typing.Any]) -> None:
    machine = Machine()
    machine.close()
    machine.close()
    with pytest.raises(errors.Closed, match="Machine is closed"):
        use(machine)


def test_children_of_a_closed_machine_are_closed() -> None:
    machine = Machine()
    cpu, space, ept, frame = machine.cpu(), machine.address_space(), machine.ept(), machine.frames.alloc()
    io, msr, region = machine.io_bitmap(), machine.msr_bitmap(), vmxsim.Region(machine)
    space.map_alloc(0, "64K")
    machine.close()
    for use in (lambda: cpu.vmx, lambda: cpu.guest.read(0), lambda: space.areas(), lambda: space.hpa(0), lambda: space.translate(0),
                lambda: ept.query(0), lambda: frame.hpa, lambda: io.test(0), lambda: msr.test(0), lambda: region.hpa):
        with pytest.raises(errors.Closed) as caught:
            use()
        assert isinstance(caught.value, ValueError)


def test_children_keep_their_machine() -> None:
    space = Machine().address_space()
    gc.collect()
    space.map_alloc(0, "1M")
    assert space.hpa(0x5000)
    machine = weakref.ref(space._machine)
    del space
    gc.collect()
    assert machine() is None


def test_closing_a_child_gives_its_frames_back(machine: Machine) -> None:
    before = machine.frames.in_use
    with machine.address_space() as space, machine.ept() as ept, machine.io_bitmap(), machine.frames.alloc("one"):
        space.map_alloc(0, "1M")
        ept.map(0, 0, "1M")
        assert machine.frames.in_use > before + 256
        assert "one: 1 frame," in machine.frames.leak_report()
    assert machine.frames.in_use == before


def test_leaks_have_labels(machine: Machine) -> None:
    frame = machine.frames.alloc("the label")
    assert [(leak.hpa, leak.label) for leak in machine.frames.leaks()] == [(frame.hpa, "the label")]
    assert machine.frames.damaged() == []
    frame.fill(0xab)
    assert bytes(frame.view()) == b"\xab" * 4096
    assert repr(frame) == f"Frame({frame.hpa:#x})"
    frame.close()
    assert repr(frame) == "Frame(closed)"


def test_a_write_after_free_is_found(machine: Machine) -> None:
    frame = machine.frames.alloc("freed")
    hpa = frame.hpa
    frame.close()
    machine.memory.write64(hpa + 8, 1)
    assert [leak.label for leak in machine.frames.damaged()] == ["freed"]


def test_failure_injection(machine: Machine) -> None:
    machine.frames.fail_nth(2)
    kept = machine.frames.alloc()
    with pytest.raises(errors.NoMemory) as caught:
        machine.frames.alloc()
    assert isinstance(caught.value, MemoryError) and machine.frames.stats.failed == 1
    machine.frames.fail_randomly(7, 1.0)
    with pytest.raises(MemoryError):
        machine.address_space()
    machine.frames.fail_randomly(7, 0)
    with pytest.raises(ValueError):
        machine.frames.fail_randomly(7, 1.5)
    kept.close()


def test_digest_is_of_the_content(machine: Machine) -> None:
    with Machine(ram="64M") as other:
        assert machine.digest() == other.digest()
        other.memory.write64(8, 1)
        assert machine.digest() != other.digest()
        machine.memory.write64(8, 1)
        assert machine.digest() == other.digest()
        assert len(other.digest()) == 32


def test_reset_wants_children_closed(machine: Machine) -> None:
    cpu = machine.cpu()
    with pytest.raises(errors.Busy):
        machine.reset()
    cpu.close()
    machine.memory.write64(0x1000, 5)
    machine.reset()
    assert machine.memory.read64(0x1000) == 0


def test_tracing_collects_what_happens(machine: Machine) -> None:
    with machine.trace() as events:
        space = machine.address_space()
        space.map_alloc(0, "8K", EptPerm.RW)
        space.close()
    kinds = [event.kind for event in events]
    assert kinds.count(TraceKind.FRAME_ALLOC) == kinds.count(TraceKind.FRAME_FREE) > 2
    assert TraceKind.MAP in kinds and TraceKind.INVALIDATE_EPT in kinds
    count = len(events)
    machine.frames.alloc().close()
    assert len(events) == count


def test_ranges_and_frames() -> None:
    with Machine(ram=[(0, "1M"), (1 << 32, "16M")], frames=(1 << 32, "1M"), poison=False) as machine:
        assert machine.frames.stats.frames_total == 256
        assert machine.frames.alloc().hpa >> 32 == 1
        assert machine.memory.is_ram(1 << 32, 16 << 20) and not machine.memory.is_ram(2 << 20)


def test_nothing_leaks_over_many_machines() -> None:
    def resident_pages() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    def cycle(count: int) -> None:
        for _ in range(count):
            with Machine(ram="1M") as machine, machine.address_space() as space, machine.cpu():
                space.map_alloc(0, "4K")
                space.translate(0)

    cycle(1000)
    gc.collect()
    before = resident_pages()
    cycle(20_000)
    gc.collect()
    assert resident_pages() - before < 256  # 1 MByte: less than 53 bytes per cycle
