# SPDX-License-Identifier: Apache-2.0
"""Snapshots, restores and clones of a machine with everything on it."""
from __future__ import annotations

import gc

import pytest

from vmxsim import (Cpu, Entered, EptViolation, FaultResult, Instruction, Intercept, Machine, Region, Translation, Vmcs, VmExit,
                    VmxMode, errors)
from vmxsim.memory import Footprint


def test_a_restore_needs_a_snapshot(machine: Machine) -> None:
    with pytest.raises(errors.BadState, match="no snapshot"):
        machine.restore()
    machine.drop_snapshot()
    machine.snapshot()
    with pytest.raises(errors.Busy):
        machine.snapshot()
    machine.drop_snapshot()
    machine.snapshot()
    machine.drop_snapshot()


def test_memory_frames_and_spaces_return(machine: Machine) -> None:
    space, ept = machine.address_space(), machine.ept()
    space.map_alloc(0, "64K", lazy=True)
    space.write(0x1000, b"before")
    digest, areas, mappings, stats = machine.digest(), space.areas(), space.mappings(), machine.frames.stats
    machine.snapshot()
    for _ in range(3):
        space.write(0x1000, b"behind")
        assert space.handle_fault(0x5000) == FaultResult.MAPPED
        space.map_linear(1 << 30, 0, "2M")
        ept.map(0, 0, "2M")
        space.unmap(0x1000, 4096)
        assert machine.digest() != digest
        assert machine.restore() > 0
        assert (machine.digest(), space.areas(), space.mappings(), machine.frames.stats) == (digest, areas, mappings, stats)
        assert space.read(0x1000, 6) == b"before" and space.is_valid() and ept.walk() == []
        assert isinstance(space.translate(0x5000), EptViolation)
    assert machine.restore() == 0
    machine.drop_snapshot()


def test_what_came_later_is_closed(machine: Machine) -> None:
    space = machine.address_space()
    space.map_alloc(0, "64K")
    machine.snapshot()
    later = [machine.frames.alloc("later"), machine.address_space(), machine.cpu(), machine.io_bitmap(), Region(machine)]
    assert isinstance(space.translate(0), Translation)  # on a processor that the space makes
    machine.restore()
    assert all(one.closed for one in later) and not space.closed
    assert "later" not in machine.frames.leak_report()
    assert isinstance(space.translate(0), Translation)
    assert machine.frames.stats.foreign_frees == machine.frames.stats.double_frees == 0
    machine.drop_snapshot()


def test_what_was_there_must_stay(machine: Machine) -> None:
    space, frame = machine.address_space(), machine.frames.alloc()
    machine.snapshot()
    del space
    gc.collect()
    machine.restore()  # the snapshot keeps it
    frame.close()
    with pytest.raises(errors.BadState, match="closed since the snapshot: Frame"):
        machine.restore()
    machine.drop_snapshot()


def test_processors_return(machine: Machine) -> None:
    cpu = machine.cpu()
    cpu.load(Vmcs.valid())
    assert cpu.enter() == Entered()
    cpu.guest.rip = 0x1234
    machine.snapshot()
    for _ in range(2):
        cpu.guest.rip = 0x5678
        outcome = cpu.guest.execute(Instruction.CPUID)
        assert isinstance(outcome, VmExit)
        cpu.exit(outcome)
        assert cpu.vmx.mode == VmxMode.ROOT
        machine.restore()
        assert cpu.vmx.mode == VmxMode.NON_ROOT and cpu.guest.rip == 0x1234
    machine.drop_snapshot()


def test_a_guest_that_was_loaded_later_is_none(machine: Machine) -> None:
    cpu = machine.cpu()
    machine.snapshot()
    cpu.load_guest(Vmcs({"GUEST_CR0": 0x31}))
    assert cpu.vmcs["GUEST_CR0"] == 0x31
    machine.restore()
    with pytest.raises(errors.BadState):
        cpu.vmcs["GUEST_CR0"]
    machine.drop_snapshot()


def test_writes_through_a_view_are_undone(machine: Machine) -> None:
    view = machine.memory.view(0x3000, 0x2000)
    view[0x1008] = 7
    machine.snapshot()
    view[0x1008] = 8
    machine.restore()
    assert view[0x1008] == 7
    machine.drop_snapshot()


def test_a_view_keeps_the_memory_of_a_forgotten_machine() -> None:
    view = Machine(ram="1M").memory.view(0x1000, 4096)
    gc.collect()
    view[5] = 9
    assert bytes(view[4:7]) == b"\0\x09\0"


def test_a_clone_goes_its_own_way(machine: Machine) -> None:
    space, cpu, frame = machine.address_space(), machine.cpu(), machine.frames.alloc("mine")
    io, msr, ept, region = machine.io_bitmap(), machine.msr_bitmap(), machine.ept(), Region(machine)
    space.map_alloc(0, "64K", lazy=True)
    space.write(0x1000, b"shared")
    ept.map(0, 0, "2M")
    cpu.load(Vmcs.valid())
    cpu.enter()
    space.translate(0)
    with machine.clone() as twin:
        assert twin.digest() == machine.digest() and twin.frames.leaks() == machine.frames.leaks()
        other: Cpu = twin.twin_of(cpu)
        theirs = twin.twin_of(space)
        assert other.vmx == cpu.vmx and other.guest.rip == cpu.guest.rip
        assert theirs.areas() == space.areas() and theirs.read(0x1000, 6) == b"shared"
        assert theirs.translate(0x1000) == space.translate(0x1000)
        theirs.write(0x1000, b"theirs")
        theirs.map_alloc(1 << 20, "64K")
        twin.twin_of(io).set_all(Intercept.PASSTHROUGH)
        twin.twin_of(msr).set_all(Intercept.PASSTHROUGH)
        twin.twin_of(ept).unmap(0, "2M")
        twin.twin_of(frame).fill(1)
        assert space.read(0x1000, 6) == b"shared" and len(space.areas()) == 1 and space.is_valid() and theirs.is_valid()
        assert io.test(0) and msr.test(0) and len(ept.walk()) == 1 and frame.hpa == twin.twin_of(frame).hpa
        assert twin.twin_of(region).hpa == region.hpa
        with pytest.raises(errors.NotFound):
            twin.twin_of(machine.frames.alloc())
        for child in twin._open_children()[::-1]:
            child.close()
        assert twin.frames.leak_report() == "" and not twin.frames.damaged()
    assert not space.closed and machine.frames.in_use


def test_clones_share_what_nobody_writes() -> None:
    with Machine(ram="64M") as machine:
        machine.memory.write(0, b"x" * (16 << 20))
        with machine.clone() as one, machine.clone() as other, one.clone() as third:
            for twin in (one, other, third):
                assert twin.memory.footprint == Footprint(own=0, shared=16 << 20)
            one.memory.write(0x1000, b"y" * 8192)
            with third.memory.view(0x1000, 4096) as view:
                view[0] = 7
            assert one.memory.footprint.own == 8192 and third.memory.footprint.own == 4096
            assert machine.memory.read(0x1000, 8192) == other.memory.read(0x1000, 8192) == b"x" * 8192
            machine.memory.write(0x3000, b"z")
            assert third.memory.read(0x1000, 0x2001) == b"\x07" + b"x" * 0x2000
        assert machine.memory.footprint.own == 4096


def test_a_view_is_part_of_every_clone() -> None:
    with Machine(ram="4M") as machine:
        machine.memory.write(0, b"x" * (1 << 20))
        view = machine.memory.view(0x3000, 4096)
        for value in (1, 2, 3):
            view[5] = value
            with machine.clone() as twin:
                assert twin.memory.read(0x3005, 1) == bytes([value])
                view[5] = 0
                assert twin.memory.read(0x3005, 1) == bytes([value])
        del view


def test_a_view_is_restored_each_time_until_it_is_gone(machine: Machine) -> None:
    view = machine.memory.view(0x3000, 0x2000)
    machine.snapshot()
    assert [machine.restore() for _ in range(3)] == [2, 2, 2]
    del view
    gc.collect()
    assert [machine.restore() for _ in range(2)] == [2, 0]
    machine.drop_snapshot()
