# SPDX-License-Identifier: Apache-2.0
"""Processors: instructions, entries, guest actions, exits."""
from __future__ import annotations

import typing

import pytest

from vmxsim import (Access, Completed, Cpu, CpuException, Entered, EntryFailure, EptPerm, EptViolation, ExitReason, Field,
                    GuestPageFault, Instruction, Machine, PinControls, PrimaryControls, RootState, SecondaryControls, TlbMode, TlbStats,
                    Translation, Vmcs, VmExit, VmFail, VmInstructionError, VmxMode, WalkRule, errors)
from vmxsim.enums import InsnRule, InterruptionType, InveptType, InvvpidType, Msr, RegionKind, TaskSource, VmxAbort
from vmxsim.cpu import Region


@pytest.fixture
def cpu(machine: Machine) -> Cpu:
    return machine.cpu()


@pytest.fixture
def running(cpu: Cpu) -> Cpu:
    """A processor whose guest runs after a VM entry."""
    cpu.load(Vmcs.valid())
    assert cpu.enter() == Entered()
    return cpu


def test_instructions_outside_vmx_operation(cpu: Cpu) -> None:
    assert cpu.vmx.mode == VmxMode.OFF and cpu.vmx.current_vmcs is None
    outcome = cpu.vmptrst()
    assert isinstance(outcome, CpuException) and outcome.name == "#UD"
    assert outcome.rule == InsnRule.UD_OUTSIDE_VMX and "INSN.UD.OUTSIDE_VMX" in outcome.explain()
    with pytest.raises(errors.BadState):
        cpu.vmread("GUEST_CR0")
    with pytest.raises(errors.BadState):
        cpu.guest.read(0)
    with pytest.raises(KeyError):
        cpu.vmread("NO_SUCH_FIELD")


def test_vmfail_is_a_value(machine: Machine, cpu: Cpu) -> None:
    region = Region(machine)
    assert cpu.vmxon(region.hpa) == Completed(0, InsnRule.NONE)
    assert cpu.vmclear(region.hpa + 1) == VmFail(None, InsnRule.VMCLEAR_ADDRESS)
    vmcs = Region(machine)
    cpu.vmclear(vmcs.hpa)
    cpu.vmptrld(vmcs.hpa)
    assert cpu.vmptrld(region.hpa) == VmFail(VmInstructionError.VMPTRLD_VMXON_POINTER, InsnRule.VMPTRLD_VMXON)
    assert cpu.vmread(Field.VM_INSTRUCTION_ERROR) == 10
    assert isinstance(cpu.try_vmread(0x7ffe), VmFail)
    assert isinstance(cpu.vmwrite(Field.GUEST_RIP, 5), Completed) and cpu.vmread(Field.GUEST_RIP) == 5
    assert cpu.vmptrst() == Completed(vmcs.hpa, InsnRule.NONE)
    assert isinstance(cpu.vmresume(), VmFail)
    assert isinstance(cpu.vmcall(), VmFail)
    assert isinstance(cpu.invept(InveptType.ALL), Completed)
    assert isinstance(cpu.invept(7), VmFail)
    assert isinstance(cpu.invvpid(InvvpidType.ALL), Completed)
    assert isinstance(cpu.vmfunc(0, 0), CpuException)
    assert cpu.vmxoff() == Completed(0, InsnRule.NONE)
    assert region.abort_indicator == VmxAbort.NONE


def test_privilege_and_registers(cpu: Cpu) -> None:
    assert cpu.cpl == 0
    cpu.cpl = 3
    with pytest.raises(ValueError):
        cpu.cpl = 4
    assert isinstance(cpu.vmxon(0x1000), CpuException)
    cpu.reset()
    assert cpu.root == RootState() and cpu.cpl == 0 and cpu.rflags & 2
    assert cpu.rdmsr(Msr.VMX_BASIC) == Completed(cpu._machine.profile.msr(Msr.VMX_BASIC), InsnRule.NONE)
    assert isinstance(cpu.wrmsr(Msr.VMX_BASIC, 0), CpuException)
    assert isinstance(cpu.mov_to_cr4(0x20), Completed) and cpu.root.cr4 == 0x20
    assert isinstance(cpu.mov_to_cr0(0x80000011), Completed)
    cpu.root = RootState()
    assert cpu.root == RootState()
    assert repr(cpu) == "Cpu(OFF)"


def test_an_entry_and_an_exit(running: Cpu) -> None:
    assert running.vmx.mode == VmxMode.NON_ROOT and running.vmx.launched
    rip = running.guest.rip
    outcome = running.guest.execute(Instruction.CPUID)
    assert isinstance(outcome, VmExit) and outcome.reason == ExitReason.CPUID
    running.exit(outcome, instruction_length=2)
    assert running.vmread("EXIT_REASON") == 10 and running.vmread("VM_EXIT_INSTRUCTION_LENGTH") == 2
    assert running.vmread("GUEST_RIP") == rip
    assert running.vmcs["EXIT_REASON"] == 10
    assert running.enter() == Entered()
    with pytest.raises(errors.InvalidInput):
        running.exit(Completed())


def test_entries_that_fail(cpu: Cpu) -> None:
    vmcs = Vmcs.valid()
    vmcs.guest.rflags = 0
    cpu.load(vmcs)
    outcome = cpu.enter()
    assert isinstance(outcome, EntryFailure) and outcome.reason == ExitReason.ENTRY_FAILURE_GUEST_STATE
    assert outcome.rule.id == "RFLAGS.RSVD"
    cpu.vmwrite(Field.GUEST_RFLAGS, 2)
    cpu.vmwrite(Field.HOST_CR4, 0)
    assert isinstance(refused := cpu.enter(), VmFail) and refused.error == VmInstructionError.ENTRY_HOST_STATE


def test_load_refuses_fields_that_the_profile_lacks(cpu: Cpu) -> None:
    vmcs = Vmcs.valid()
    absent = next(field for field in Field if not cpu._machine.profile.has_field(field))
    vmcs[absent] = 1
    with pytest.raises(errors.InvalidInput, match=absent.name):
        cpu.load(vmcs)


def test_guest_registers(running: Cpu) -> None:
    running.guest["GUEST_RIP"] = 0x1234
    assert running.guest[Field.GUEST_RIP] == running.guest.rip == 0x1234
    with pytest.raises(NotImplementedError):
        running.guest.cr0 = 1
    with pytest.raises(AttributeError):
        running.guest.colour = 1
    with pytest.raises(KeyError):
        running.guest["COLOUR"]


def test_guest_actions(running: Cpu) -> None:
    guest = running.guest
    calls: list[tuple[str, typing.Callable[[], typing.Any]]] = [
        ("io", lambda: guest.io(0x60)), ("rdmsr", lambda: guest.rdmsr(0x1b)), ("wrmsr", lambda: guest.wrmsr(0x1b)),
        ("invlpg", lambda: guest.invlpg(0)), ("mov to cr3", lambda: guest.mov_to_cr(3, 0)),
        ("mov from cr0", lambda: guest.mov_from_cr(0)), ("clts", guest.clts),
        ("lmsw", lambda: guest.lmsw(1)), ("smsw", guest.smsw),
        ("lmsw memory", lambda: guest.lmsw(1, 0x1000)), ("mwait", guest.mwait), ("pause", lambda: guest.pause(5)),
        ("mov to dr", lambda: guest.mov_to_dr(0, 0)), ("mov from dr", lambda: guest.mov_from_dr(0)),
        ("xsaves", lambda: guest.xsaves(1)), ("xrstors", lambda: guest.xrstors(1)),
        ("exception", lambda: guest.exception(13, 0)),
        ("#BP", lambda: guest.exception(3, kind=InterruptionType.SOFTWARE_EXCEPTION)),
        ("nmi", guest.nmi), ("interrupt", lambda: guest.external_interrupt(0x40)), ("triple fault", guest.triple_fault),
        ("init", guest.init), ("boundary", lambda: guest.boundary(nmi=True)),
    ]
    for name, call in calls:
        assert isinstance(call(), (Completed, VmExit, CpuException)), name
    triple = guest.triple_fault()
    assert isinstance(triple, VmExit) and triple.reason == ExitReason.TRIPLE_FAULT
    assert triple.to_dict()["reason"] == "TRIPLE_FAULT" and "TRIPLE_FAULT" in triple.explain()
    with pytest.raises(errors.InvalidInput):
        guest.mov_to_cr(5, 0)
    assert isinstance(switch := guest.task_switch(8, TaskSource.JMP), VmExit) and switch.qualification == 8 | 2 << 30
    with pytest.raises(errors.BadState):
        guest.advance_timer(1)  # the timer is off
    assert isinstance(guest.sipi(1), (Completed, VmExit))


def test_the_preemption_timer(cpu: Cpu) -> None:
    vmcs = Vmcs({"PIN_BASED_CONTROLS": PinControls.ACTIVATE_PREEMPTION_TIMER, "PREEMPTION_TIMER_VALUE": 3})
    vmcs.round()
    assert vmcs.control.pin_based_controls & PinControls.ACTIVATE_PREEMPTION_TIMER
    cpu.load(vmcs)
    cpu.enter()
    cpu.guest.advance_timer(3)
    outcome = cpu.guest.boundary()
    assert isinstance(outcome, VmExit) and outcome.reason == ExitReason.PREEMPTION_TIMER


def paging_guest(machine: Machine, cpu: Cpu) -> None:
    """32-bit paging with one 4-MByte page at linear address 0, over EPT."""
    space = machine.address_space()
    space.map_alloc(0, "8M", lazy=True)
    space.write(0x1000, (0x83).to_bytes(4, "little"))
    vmcs = Vmcs({"EPT_POINTER": space.eptp, "GUEST_CR0": 0x80010031, "GUEST_CR3": 0x1000, "GUEST_CR4": 0x2010})
    vmcs.control.primary_processor_based_controls = PrimaryControls.ACTIVATE_SECONDARY_CONTROLS
    vmcs.control.secondary_processor_based_controls = SecondaryControls.ENABLE_EPT
    cpu.load_guest(vmcs)
    machine._kept = space  # type: ignore[attr-defined]


def test_guest_memory(machine: Machine, cpu: Cpu) -> None:
    paging_guest(machine, cpu)
    fault = cpu.guest.read(0x400000)
    assert isinstance(fault, GuestPageFault) and (fault.gva, fault.error_code) == (0x400000, 0)
    assert fault.trail and fault.trail[-1].verdict == fault.rule == WalkRule.PG_NOT_PRESENT
    violation = cpu.guest.write(0x5000, b"12345678")
    assert isinstance(violation, EptViolation) and violation.gva == 0x5000 and violation.access == EptPerm.W
    assert machine.translate(0x5000) != violation
    space = machine._only_space()
    assert space.handle_fault(violation).name == "MAPPED"
    assert isinstance(cpu.guest.write(0x5000, b"12345678"), Translation)
    read = cpu.guest.read(0x5000)
    assert isinstance(read, Translation) and read.data == b"12345678" and read.page_size == 4096
    assert "VM exit" in violation.explain() and "EPT.VIOLATION.NP" in violation.explain()
    assert isinstance(cpu.guest.fetch(0x5000), Translation)
    assert isinstance(cpu.guest.access(Access.RMW, 0x5000, 8, bytes(8)), Translation)
    with pytest.raises(errors.InvalidInput, match="3 bytes"):
        cpu.guest.access(Access.WRITE, 0, 8, b"123")
    with pytest.raises(errors.InvalidInput):
        cpu.guest.read(0, 65)
    assert cpu.pml_index == 0
    cpu.set_pkru(0)


def test_trails_are_sequences(machine: Machine, cpu: Cpu) -> None:
    paging_guest(machine, cpu)
    cpu.guest.read(0)  # sets the accessed flag
    outcome = cpu.guest.read(0)
    trail = outcome.trail
    assert trail is not None and len(trail) > 4 and trail == cpu.guest.read(0).trail and hash(trail) == hash(trail[:])
    assert len(trail[:2]) == 2 and trail[0].level == 4
    assert trail._repr_html_().count("<tr>") == len(trail) + 1 and "<table>" in outcome._repr_html_()
    assert cpu.guest.read(0, trail=False).trail is None
    assert "Trail([TrailEntry" in repr(trail)
    assert cpu.guest.read(0, trail=False)._repr_html_().startswith("<pre>")


def test_stale_translations_are_found(machine: Machine, cpu: Cpu) -> None:
    paging_guest(machine, cpu)
    space = machine._only_space()
    cpu.tlb = "lazy"
    assert cpu.tlb == TlbMode.LAZY
    space.handle_fault(cpu.guest.read(0x5000))
    before = cpu.guest.read(0x5000)
    assert isinstance(before, Translation) and cpu.tlb_stats.stale == 0 and cpu.tlb_stats.mappings > 0
    entry = before.trail[-1]  # type: ignore[index]
    machine.memory.write64(entry.hpa, entry.updated + 4096)  # and no INVEPT
    stale = cpu.guest.read(0x5000)
    assert isinstance(stale, Translation) and stale.hpa == before.hpa and stale.trail is not None
    assert stale.trail[-1].cached and stale.trail[-1].now == entry.updated + 4096
    (hazard,) = machine.hazards()
    assert hazard.rule.id == "HAZARD.TLB.EPT" and (hazard.hpa, hazard.address) == (entry.hpa, 0x5000)
    assert (hazard.cached, hazard.now) == (entry.updated, entry.updated + 4096) and "cached translation" in hazard.explain()
    assert cpu.tlb_stats == TlbStats(walks=cpu.tlb_stats.walks, stale=1, mappings=cpu.tlb_stats.mappings)
    cpu.tlb = TlbMode.EXACT
    fresh = cpu.guest.read(0x5000, trail=False)
    assert isinstance(fresh, Translation) and fresh.hpa == before.hpa + 4096
    machine.memory.write64(entry.hpa, entry.updated)
    again = cpu.guest.read(0x5000, trail=False)
    assert isinstance(again, Translation) and again.hpa == before.hpa
    with pytest.raises(errors.InvalidInput, match="'warm' is not one of off, exact, lazy"):
        cpu.tlb = "warm"
    cpu.tlb = "off"
    assert cpu.tlb == TlbMode.OFF


def test_controls_that_are_not_modelled_are_named(machine: Machine, cpu: Cpu) -> None:
    vmcs = Vmcs({"GUEST_CR0": 0x31, "PRIMARY_PROCESSOR_BASED_CONTROLS": 1 << 17, "TERTIARY_PROCESSOR_BASED_CONTROLS": 2})
    with pytest.raises(errors.Unsupported, match="(?i)hlat"):
        cpu.load_guest(vmcs)


def test_shadow_regions(machine: Machine) -> None:
    with Region(machine, RegionKind.SHADOW) as region:
        assert machine.memory.read32(region.hpa) >> 31 == 1


def test_closed(machine: Machine, cpu: Cpu) -> None:
    cpu.load(Vmcs.valid())
    cpu.close()
    assert machine.frames.in_use == 0 and repr(cpu) == "Cpu(closed)"
    with pytest.raises(errors.Closed):
        cpu.enter()


def test_no_vmcs(cpu: Cpu) -> None:
    with pytest.raises(errors.BadState):
        cpu.vmcs["GUEST_CR0"]


def test_no_action_hides_a_register(cpu: Cpu) -> None:
    from vmxsim.fields import GuestFields
    actions = {name for name in vars(type(cpu.guest)) if not name.startswith("_")}
    assert not actions & {name for name in vars(GuestFields) if not name.startswith("_")}


def test_hazards_are_logged(machine: Machine, cpu: Cpu) -> None:
    region = cpu.load(Vmcs.valid())
    machine.forget_hazards()
    assert machine.hazards() == [] and machine.hazard_count == 0
    machine.memory.write64(region.hpa + 64, 1)
    (hazard,) = machine.hazards()
    assert hazard.rule.id == "HAZARD.VMCS.WRITE" and hazard.processor == cpu.number == 0 and hazard.write
    assert (hazard.region_hpa, hazard.hpa, hazard.length) == (region.hpa, region.hpa + 64, 8)
    assert "HAZARD.VMCS.WRITE" in hazard.explain() and machine.hazard_count == 1 and hazard.other_processor is None
    machine.forget_hazards()
    other = machine.cpu()
    other.load(Vmcs.valid())
    other.vmptrld(region.hpa)
    assert [(one.rule.id, one.other_processor) for one in machine.hazards()] == [("HAZARD.VMCS.SHARED", other.number)]
