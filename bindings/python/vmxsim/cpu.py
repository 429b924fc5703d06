# SPDX-License-Identifier: Apache-2.0
"""A logical processor: the VMX instructions, and the guest that runs on it."""
from __future__ import annotations

import dataclasses
import typing

from vmxsim import arrays
from vmxsim._resource import Resource
from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import (Access, Cr0, Cr4, Efer, EntryRule, ExitReason, FieldType, InsnKind, InsnRule, Instruction,
                          InterruptionType, InveptType, InvvpidType, Msr, RegionKind, Rflags, TaskSource, TlbMode, VmInstructionError,
                          VmxAbort, VmxMode)
from vmxsim.errors import BadState, InvalidInput, check
from vmxsim.fields import GuestFields
from vmxsim.machine import Machine
from vmxsim.outcome import (Completed, CpuException, Entered, EntryFailure, EptMisconfiguration, EptViolation, Outcome,
                            VmExit, VmFail, from_action, from_outcome)
from vmxsim.vmcs import FieldKey, Vmcs, find_field

__all__ = ["Cpu", "Guest", "Region", "RootState", "TlbStats", "VmxState"]


@dataclasses.dataclass(frozen=True, slots=True)
class RootState:
    """Registers outside VMX non-root operation."""

    cr0: Cr0 = Cr0(0x80000031)
    cr4: Cr4 = Cr4(0x2020)
    efer: Efer = Efer(0x500)


@dataclasses.dataclass(frozen=True, slots=True)
class TlbStats:
    """What a processor's cache of translations did."""

    walks: int
    """Pages of accesses that were not in the cache."""
    stale: int
    """Uses of translations whose entries have changed: hazards."""
    mappings: int
    """In the cache now."""


@dataclasses.dataclass(frozen=True, slots=True)
class VmxState:
    """Where a processor is in VMX operation. None: the pointer points nowhere."""

    mode: VmxMode
    vmxon_pointer: int | None
    current_vmcs: int | None
    launched: bool
    aborted: bool


class Region(Resource):
    """A VMXON or VMCS region: a frame with the processor's revision identifier."""

    def __init__(self, machine: Machine, kind: RegionKind = RegionKind.ORDINARY) -> None:
        machine._check_open()
        super().__init__(machine)
        self._raw = ffi.new("struct vmxc_region *")
        check(lib.vmxc_region_init_for(self._raw, machine._hal, machine.profile.msr(Msr.VMX_BASIC), kind), "region")
        self._owns_value(machine, lib.vmxc_region_fini)

    def _twin(self, machine: Machine) -> Region:
        return self._twin_value(machine, lib.vmxc_region_fini, "frame")

    @property
    def hpa(self) -> int:
        """The operand of VMXON, VMPTRLD and VMCLEAR."""
        self._check_open()
        return int(self._raw.frame.hpa)

    @property
    def abort_indicator(self) -> VmxAbort:
        """Why the processor gave up on a VM exit; NONE: it did not."""
        self._check_open()
        value = ffi.new("uint32_t *")
        check(lib.vmxc_region_abort_indicator(self._raw, value), "region")
        return VmxAbort(value[0])


_RULES = list(EntryRule)
_ENTERED = Entered()
_ENTERED_KIND = int(InsnKind.ENTERED)
# Types once instead of texts at each call: what is made often.
_OUTCOME, _RESULT, _ACCESS = (ffi.typeof(f"struct vmxsim_{name} *") for name in ("outcome", "insn_result", "access"))
_OPERANDS, _TRAIL, _CONTEXT = (ffi.typeof(f"struct vmxsim_{name} *") for name in ("operands", "trail", "exit_context"))
_ABORT = ffi.typeof("enum vmxc_vmx_abort *")
_NO_OPERANDS = ffi.new(_OPERANDS)
_NO_CONTEXT = (0, 0, 0, False)


def _instruction_rule(raw: typing.Any) -> InsnRule | EntryRule:
    rule = InsnRule(raw.rule)
    return _RULES[raw.entry_rule] if rule is InsnRule.ENTRY else rule


def _from_instruction(raw: typing.Any) -> Outcome:
    """A ``struct vmxsim_insn_result *`` as a value."""
    kind = raw.kind
    if kind == _ENTERED_KIND:
        return _ENTERED
    if kind == InsnKind.SUCCEEDED:
        return Completed(raw.value, InsnRule(raw.rule))
    rule = _instruction_rule(raw)
    if kind == InsnKind.FAIL_INVALID:
        return VmFail(None, rule)
    if kind == InsnKind.FAIL_VALID:
        return VmFail(VmInstructionError(raw.error), rule)
    if kind == InsnKind.EXCEPTION:
        return CpuException(raw.vector, raw.error_code if raw.has_error_code else None, rule)
    if kind == InsnKind.ENTRY_FAILURE:
        return EntryFailure(ExitReason(raw.exit_reason), raw.qualification, typing.cast(EntryRule, rule))
    return VmExit(ExitReason(raw.exit_reason), raw.qualification, rule)


def _destroy_cpu(raw: typing.Any, memory: typing.Any, profile: typing.Any) -> None:
    lib.vmxsim_cpu_destroy(raw)


class Guest(GuestFields):
    """The guest that runs on a processor: what it does, and its registers (``guest.rip``, ``guest["GUEST_RIP"]``).

    Every action decides and returns an outcome; a VM exit is performed by `Cpu.exit`. Actions raise `BadState` if no guest
    runs and `InvalidInput` for operands that no instruction can have.
    """

    __slots__ = ("_cpu",)
    _cpu: Cpu

    def __init__(self, cpu: Cpu) -> None:
        super().__init__(self)
        object.__setattr__(self, "_cpu", cpu)

    # ---- Registers, as a VM exit would save them now ----

    def __getitem__(self, field: FieldKey) -> int:
        value = ffi.new("uint64_t *")
        found = find_field(field)
        check(lib.vmxsim_guest_get(self._cpu._open(), found, value), found.name)
        return int(value[0])

    def __setitem__(self, field: FieldKey, value: int) -> None:
        found = find_field(field)
        check(lib.vmxsim_guest_set(self._cpu._open(), found, value), found.name)

    # ---- Memory ----

    def access(self, kind: Access, gva: int, size: int = 8, data: bytes = b"", *, implicit: bool = False,
               shadow_stack: bool = False, event_delivery: bool = False, trail: bool = True) -> Outcome:
        """One access to a linear address, through guest paging and EPT.

        Parameters
        ----------
        size
            Bytes, 1 to 64.
        data
            What a write or read-modify-write stores.
        implicit
            An implicit supervisor-mode access, whatever the CPL.
        event_delivery
            Part of the delivery of an event through the IDT.
        trail
            Whether to keep the entries that the walk read.
        """
        raw = self._cpu._open()
        access = ffi.new(_ACCESS)
        access.type, access.linear, access.size = kind, gva, size
        access.implicit, access.shadow_stack, access.event_delivery = implicit, shadow_stack, event_delivery
        if data:
            if len(data) != size:
                raise InvalidInput(f"{len(data)} bytes of data for an access of {size}")
            ffi.memmove(access.data, data, size)
        outcome = ffi.new(_OUTCOME)
        steps = ffi.new(_TRAIL) if trail else ffi.NULL
        check(lib.vmxsim_guest_access(raw, access, outcome, steps), f"access {gva:#x}")
        return from_outcome(access, outcome, steps if trail else None)

    def read(self, gva: int, size: int = 8, *, trail: bool = True) -> Outcome:
        """The guest reads; `Translation.data` is what it gets."""
        return self.access(Access.READ, gva, size, trail=trail)

    def write(self, gva: int, data: bytes, *, trail: bool = True) -> Outcome:
        """The guest writes."""
        return self.access(Access.WRITE, gva, len(data), data, trail=trail)

    def fetch(self, gva: int, size: int = 1, *, trail: bool = True) -> Outcome:
        """The guest fetches an instruction."""
        return self.access(Access.FETCH, gva, size, trail=trail)

    # ---- Instructions ----

    def _act(self, call: typing.Callable[..., int], *operands: typing.Any) -> Outcome:
        outcome = ffi.new(_OUTCOME)
        status = call(self._cpu._open(), *operands, outcome)
        if status:
            check(status, "guest action")
        return from_action(outcome)

    def execute(self, instruction: Instruction, **operands: int) -> Outcome:
        """An instruction whose VM exit does not depend on an operand's value. `operands`: members of ``struct vmxsim_operands``."""
        given = ffi.new(_OPERANDS, operands) if operands else _NO_OPERANDS
        return self._act(lib.vmxsim_guest_instruction, instruction, given)

    def io(self, port: int, size: int = 1, *, is_in: bool = True, **operands: int) -> Outcome:
        """IN, OUT, INS or OUTS. `operands`: further members of ``struct vmxsim_io``."""
        given = ffi.new("struct vmxsim_io *", {"port": port, "size": size, "in": is_in, **operands})
        return self._act(lib.vmxsim_guest_io, given)

    def rdmsr(self, msr: int) -> Outcome:
        """RDMSR with this value in ECX."""
        return self._act(lib.vmxsim_guest_rdmsr, msr)

    def wrmsr(self, msr: int, value: int = 0) -> Outcome:
        """WRMSR with this MSR in ECX and this value in EDX:EAX."""
        return self._act(lib.vmxsim_guest_wrmsr, msr, value)

    def invlpg(self, gva: int) -> Outcome:
        """INVLPG."""
        return self._act(lib.vmxsim_guest_invlpg, gva)

    def mwait(self, armed: bool = False) -> Outcome:
        """MWAIT; `armed`: a MONITOR has armed the hardware."""
        return self._act(lib.vmxsim_guest_mwait, armed)

    def pause(self, tsc: int) -> Outcome:
        """PAUSE when a counter that runs at the rate of the TSC stands at `tsc`."""
        return self._act(lib.vmxsim_guest_pause, tsc)

    def xsaves(self, mask: int, **operands: int) -> Outcome:
        """XSAVES with this mask in EDX:EAX."""
        return self._act(lib.vmxsim_guest_xsaves, mask, ffi.new(_OPERANDS, operands))

    def xrstors(self, mask: int, **operands: int) -> Outcome:
        """XRSTORS with this mask in EDX:EAX."""
        return self._act(lib.vmxsim_guest_xrstors, mask, ffi.new(_OPERANDS, operands))

    def mov_to_cr(self, cr: int, value: int, gpr: int = 0) -> Outcome:
        """MOV to a control register."""
        return self._act(lib.vmxsim_guest_mov_to_cr, cr, gpr, value)

    def mov_from_cr(self, cr: int, gpr: int = 0) -> Outcome:
        """MOV from a control register; `Completed.value` is what the guest sees."""
        return self._act(lib.vmxsim_guest_mov_from_cr, cr, gpr)

    def clts(self) -> Outcome:
        """CLTS."""
        return self._act(lib.vmxsim_guest_clts)

    def lmsw(self, source: int, gva: int | None = None) -> Outcome:
        """LMSW; `gva`: where the source was read, None: a register."""
        linear = ffi.NULL if gva is None else ffi.new("uint64_t *", gva)
        return self._act(lib.vmxsim_guest_lmsw, source, linear)

    def smsw(self) -> Outcome:
        """SMSW; `Completed.value` is all of CR0 as the guest sees it."""
        return self._act(lib.vmxsim_guest_smsw)

    def mov_to_dr(self, dr: int, value: int, gpr: int = 0) -> Outcome:
        """MOV to a debug register."""
        return self._act(lib.vmxsim_guest_mov_to_dr, dr, gpr, value)

    def mov_from_dr(self, dr: int, gpr: int = 0) -> Outcome:
        """MOV from a debug register."""
        return self._act(lib.vmxsim_guest_mov_from_dr, dr, gpr)

    # ---- Events ----

    def exception(self, vector: int, error_code: int | None = None, detail: int = 0,
                  kind: InterruptionType = InterruptionType.HARDWARE_EXCEPTION) -> Outcome:
        """An exception. `detail`: of #PF the linear address, of #DB the causes."""
        event = ffi.new("struct vmxsim_event *")
        event.vector, event.type, event.detail = vector, kind, detail
        event.has_error_code, event.error_code = error_code is not None, error_code or 0
        return self._act(lib.vmxsim_guest_exception, event)

    def nmi(self) -> Outcome:
        """A non-maskable interrupt arrives."""
        return self._act(lib.vmxsim_guest_nmi)

    def external_interrupt(self, vector: int) -> Outcome:
        """An external interrupt arrives."""
        return self._act(lib.vmxsim_guest_external_interrupt, vector)

    def task_switch(self, selector: int, source: TaskSource) -> Outcome:
        """A task switch."""
        return self._act(lib.vmxsim_guest_task_switch, selector, source)

    def triple_fault(self) -> Outcome:
        """A triple fault."""
        return self._act(lib.vmxsim_guest_triple_fault)

    def init(self) -> Outcome:
        """An INIT signal arrives."""
        return self._act(lib.vmxsim_guest_init)

    def sipi(self, vector: int) -> Outcome:
        """A start-up IPI arrives."""
        return self._act(lib.vmxsim_guest_sipi, vector)

    def advance_timer(self, counts: int) -> None:
        """The VMX-preemption timer counts down."""
        check(lib.vmxsim_guest_advance_timer(self._cpu._open(), counts), "preemption timer")

    def boundary(self, **pending: int) -> Outcome:
        """What waits between two instructions; `pending`: members of ``struct vmxsim_pending``."""
        return self._act(lib.vmxsim_guest_boundary, ffi.new("struct vmxsim_pending *", pending))


class Cpu(Resource):
    """A logical processor.

    Two ways to a running guest: `load_guest` puts the processor into the guest without any check; `load` and `enter` do it as
    a hypervisor does.

    Examples
    --------
    >>> with Machine() as machine, machine.cpu() as cpu:
    ...     region = cpu.load(Vmcs.valid())
    ...     outcome = cpu.enter()
    ...     exit = cpu.guest.execute(Instruction.CPUID)
    ...     cpu.exit(exit)
    ...     outcome, exit.reason, cpu.vmread("EXIT_REASON")
    (Entered(), ExitReason.CPUID, 10)
    """

    def __init__(self, machine: Machine) -> None:
        machine._check_open()
        super().__init__(machine)
        found = ffi.new("struct vmxsim_cpu **")
        check(lib.vmxsim_cpu_create(machine._memory, machine.profile._raw, found), "cpu")
        self._hold(machine, found[0])

    def _hold(self, machine: Machine, raw: typing.Any) -> None:
        self._machine, self._raw = machine, raw
        self._result, self._abort = ffi.new(_RESULT), ffi.new(_ABORT)
        self._regions: list[Region] = []
        self._guest_loaded = False
        self._is_probe = False  # of an address space, which makes another one when it needs one
        self._owns(_destroy_cpu, self._raw, machine._memory, machine.profile)

    def _twin(self, machine: Machine) -> Cpu | None:
        if self._is_probe:
            return None
        found = ffi.new("struct vmxsim_cpu **")
        check(lib.vmxsim_cpu_clone(self._raw, machine._memory, found), "cpu")
        twin = Cpu.__new__(Cpu)
        Resource.__init__(twin, machine)
        twin._hold(machine, found[0])
        twin._guest_loaded = self._guest_loaded
        return twin

    def _twins_made(self, machine: Machine) -> None:
        regions = [region for region in self._regions if not region.closed]
        machine.twin_of(self)._regions = [machine.twin_of(region) for region in regions]

    def _open(self) -> typing.Any:
        """The C processor, if everything it lives on is open."""
        if not self._open_flag:
            self._check_open()
        return self._raw

    def close(self) -> None:
        """Ends the processor and gives back the regions that `load` took."""
        if not self.closed:
            super().close()
            for region in self._regions:
                region.close()

    # ---- State ----

    @property
    def vmx(self) -> VmxState:
        """Where the processor is in VMX operation."""
        raw = lib.vmxsim_cpu_vmx_state(self._open())
        nowhere = lib.VMXC_VMCS_POINTER_NONE

        def pointer(value: int) -> int | None:
            return None if value == nowhere else value

        return VmxState(VmxMode(raw.mode), pointer(raw.vmxon_pointer), pointer(raw.current_vmcs), bool(raw.launched),
                        bool(raw.aborted))

    @property
    def root(self) -> RootState:
        """Registers outside VMX non-root operation. Setting them checks nothing."""
        raw = lib.vmxsim_cpu_root_state(self._open())
        return RootState(Cr0(raw.cr0), Cr4(raw.cr4), Efer(raw.efer))

    @root.setter
    def root(self, state: RootState) -> None:
        raw = ffi.new("struct vmxsim_root_state *", dataclasses.asdict(state))
        lib.vmxsim_cpu_set_root_state(self._open(), raw)

    @property
    def number(self) -> int:
        """Processors of a machine are numbered from 0 in the order of their creation."""
        return int(lib.vmxsim_cpu_number(self._open()))

    @property
    def rflags(self) -> Rflags:
        """RFLAGS of whatever executes."""
        return Rflags(lib.vmxsim_cpu_rflags(self._open()))

    @property
    def cpl(self) -> int:
        """Privilege level outside VMX non-root operation."""
        return int(lib.vmxsim_cpu_execution_state(self._open()).cpl)

    @cpl.setter
    def cpl(self, cpl: int) -> None:
        if not 0 <= cpl <= 3:
            raise InvalidInput(f"CPL {cpl}")
        state = ffi.new("struct vmxsim_execution_state *", lib.vmxsim_cpu_execution_state(self._open()))
        state.cpl = cpl
        lib.vmxsim_cpu_set_execution_state(self._raw, state)

    @property
    def vmcs(self) -> Vmcs:
        """A copy of the current VMCS; after `load_guest`, of what the processor was given."""
        raw = lib.vmxsim_exit_vmcs(self._open())
        if not self._guest_loaded and self.vmx.current_vmcs is None:
            raise BadState("there is no current VMCS")
        vmcs = Vmcs()
        ffi.memmove(vmcs._raw, raw, ffi.sizeof("struct vmxsim_vmcs"))
        return vmcs

    @property
    def pml_index(self) -> int:
        """The page-modification-log index as it is now."""
        return int(lib.vmxsim_cpu_pml_index(self._open()))

    @property
    def tlb(self) -> TlbMode:
        """What the processor caches: OFF (a new one), EXACT or LAZY; a name will do to set it, which drops what is cached.

        EXACT makes accesses fast and changes no outcome. LAZY keeps what a processor may keep until something invalidates it, so
        that software that forgets to invalidate is found: each use of a stale translation is a hazard (`Machine.hazards`).

        >>> with Machine() as machine, machine.cpu() as cpu:
        ...     cpu.tlb = "lazy"
        ...     cpu.tlb
        TlbMode.LAZY
        """
        return TlbMode(lib.vmxsim_cpu_tlb(self._open()))

    @tlb.setter
    def tlb(self, mode: TlbMode | str) -> None:
        if isinstance(mode, str):
            if mode.upper() not in TlbMode.__members__:
                raise InvalidInput(f"tlb: {mode!r} is not one of {', '.join(name.lower() for name in TlbMode.__members__)}")
            mode = TlbMode[mode.upper()]
        check(lib.vmxsim_cpu_set_tlb(self._open(), mode), "tlb")

    @property
    def tlb_stats(self) -> TlbStats:
        """What the cache did since `tlb` was set."""
        raw = lib.vmxsim_cpu_tlb_stats(self._open())
        return TlbStats(raw.walks, raw.stale, raw.mappings)

    def set_pkru(self, pkru: int) -> None:
        """PKRU, which no VMCS holds."""
        lib.vmxsim_cpu_set_pkru(self._open(), pkru)

    def reset(self, root: RootState = RootState()) -> None:
        """Puts the processor outside VMX operation with these registers."""
        lib.vmxsim_cpu_reset(self._open(), ffi.new("struct vmxsim_root_state *", dataclasses.asdict(root)))
        self._guest_loaded = False

    @property
    def guest(self) -> Guest:
        """The guest: its actions and its registers."""
        return Guest(self)

    # ---- The guest, without and with VM entry ----

    def load_guest(self, vmcs: Vmcs) -> None:
        """Puts the processor into the guest that a successful VM entry from this VMCS gives; no rule is checked.

        Raises `Unsupported` for controls that the model does not have; the message names the control.
        """
        error = ffi.new("struct vmxsim_error *")
        check(lib.vmxsim_cpu_load_guest(self._open(), vmcs._raw, error), "guest", error)
        self._guest_loaded = True

    def load(self, vmcs: Vmcs) -> Region:
        """What a hypervisor does before VMLAUNCH: VMXON if need be, a new region, VMCLEAR, VMPTRLD, VMWRITE of every field.

        Fields that the profile does not have must be 0; read-only fields are left out. Returns the region, which lives
        until the processor is closed. Raises `BadState` if an instruction fails; its message says why.
        """
        self._open()
        if self.vmx.mode == VmxMode.OFF:
            self._regions.append(Region(self._machine))
            self._must(self.vmxon(self._regions[-1].hpa), "VMXON")
        region = Region(self._machine)
        self._regions.append(region)
        self._must(self.vmclear(region.hpa), "VMCLEAR")
        self._must(self.vmptrld(region.hpa), "VMPTRLD")
        for field, value in vmcs.fields():
            if field >> 10 & 3 == FieldType.READ_ONLY:
                continue
            if self._machine.profile.has_field(field):
                self._must(self.vmwrite(field, value), field.name)
            elif value:
                raise InvalidInput(f"{self._machine.profile.name} has no {field.name}, and its value is {value:#x}")
        return region

    @staticmethod
    def _must(outcome: Outcome, what: str) -> None:
        if not isinstance(outcome, Completed):
            raise BadState(f"{what}: {outcome}")

    def enter(self) -> Outcome:
        """VMLAUNCH if the current VMCS is clear, VMRESUME if it is launched: Entered, EntryFailure, VmFail, CpuException."""
        check(lib.vmxpy_enter(self._open(), self._result), "VM entry")
        return _from_instruction(self._result)

    def exit(self, outcome: Outcome, *, instruction_length: int = 0, idt_vectoring_info: int = 0,
             idt_vectoring_error_code: int = 0, nmi_unblocking: bool = False) -> None:
        """Performs the VM exit of an outcome: information fields, guest state, MSRs, host state.

        Raises `BadState` if no guest runs or the VM exit ends in a VMX abort, `InvalidInput` if the outcome is no VM exit
        of a guest action.
        """
        if not isinstance(outcome, (VmExit, EptViolation, EptMisconfiguration)) or outcome._evidence is None:
            raise InvalidInput(f"{type(outcome).__name__} is no VM exit of a guest action")
        known = (instruction_length, idt_vectoring_info, idt_vectoring_error_code, nmi_unblocking)
        context = ffi.NULL if known == _NO_CONTEXT else ffi.new(_CONTEXT, known)
        check(lib.vmxsim_vm_exit(self._open(), outcome._evidence[1], context, self._abort), "VM exit")
        if self._abort[0]:
            raise BadState(f"VMX abort: {VmxAbort(self._abort[0]).name}")

    @typing.overload
    def walk(self, gva: int, access: Access = Access.READ, size: int = 1) -> Outcome: ...
    @typing.overload
    def walk(self, gva: typing.Any, access: Access = Access.READ, size: int = 1) -> typing.Any: ...

    def walk(self, gva: typing.Any, access: Access = Access.READ, size: int = 1) -> typing.Any:
        """What the guest's access comes to, without its data, of an address or of an array of addresses.

        A write stores zeros. Returns as `AddressSpace.translate`.
        """
        if isinstance(gva, int):
            return self.guest.access(access, gva, size)
        raw = self._open()
        given = ffi.new(_ACCESS)
        given.type, given.size = access, size
        with arrays.column(gva, 8) as addresses:
            result, room = arrays.rows(len(addresses))
            done = ffi.new("size_t *")
            with room:
                status = lib.vmxpy_walk_many(raw, given, addresses, len(addresses), room, done)
            check(status, f"element {done[0]}")
        return result

    # ---- VMX instructions ----

    def _execute(self, call: typing.Callable[..., int], *operands: typing.Any) -> Outcome:
        result = ffi.new(_RESULT)
        check(call(self._open(), *operands, result), "instruction")
        return _from_instruction(result)

    def vmxon(self, hpa: int) -> Outcome:
        """VMXON; the operand is a region's address, as of the next three."""
        return self._execute(lib.vmxsim_insn_vmxon, hpa)

    def vmxoff(self) -> Outcome:
        """VMXOFF."""
        return self._execute(lib.vmxsim_insn_vmxoff)

    def vmclear(self, hpa: int) -> Outcome:
        """VMCLEAR."""
        return self._execute(lib.vmxsim_insn_vmclear, hpa)

    def vmptrld(self, hpa: int) -> Outcome:
        """VMPTRLD."""
        return self._execute(lib.vmxsim_insn_vmptrld, hpa)

    def vmptrst(self) -> Outcome:
        """VMPTRST; `Completed.value` is the current-VMCS pointer."""
        return self._execute(lib.vmxsim_insn_vmptrst)

    def try_vmread(self, encoding: int) -> Outcome:
        """VMREAD of any encoding, real or not; `Completed.value` is what it read."""
        return self._execute(lib.vmxsim_insn_vmread, encoding)

    def vmread(self, field: FieldKey) -> int:
        """The value of a field. `BadState` if VMREAD fails."""
        outcome = self.try_vmread(find_field(field))
        if not isinstance(outcome, Completed):
            raise BadState(f"VMREAD: {outcome}")
        return outcome.value

    def vmwrite(self, field: FieldKey, value: int) -> Outcome:
        """VMWRITE; a number need not be a field's encoding."""
        encoding = field if isinstance(field, int) else find_field(field)
        return self._execute(lib.vmxsim_insn_vmwrite, encoding, value)

    def vmlaunch(self) -> Outcome:
        """VMLAUNCH."""
        return self._execute(lib.vmxsim_insn_vmlaunch, ffi.NULL)

    def vmresume(self) -> Outcome:
        """VMRESUME."""
        return self._execute(lib.vmxsim_insn_vmresume, ffi.NULL)

    def vmcall(self) -> Outcome:
        """VMCALL."""
        return self._execute(lib.vmxsim_insn_vmcall)

    def vmfunc(self, eax: int, ecx: int) -> Outcome:
        """VMFUNC."""
        return self._execute(lib.vmxsim_insn_vmfunc, eax, ecx)

    def invept(self, kind: InveptType | int, eptp: int = 0) -> Outcome:
        """INVEPT."""
        return self._execute(lib.vmxsim_insn_invept, kind, ffi.new("uint64_t[2]", [eptp, 0]))

    def invvpid(self, kind: InvvpidType | int, vpid: int = 0, gva: int = 0) -> Outcome:
        """INVVPID."""
        return self._execute(lib.vmxsim_insn_invvpid, kind, ffi.new("uint64_t[2]", [vpid, gva]))

    def mov_to_cr0(self, value: int) -> Outcome:
        """MOV to CR0, outside VMX non-root operation; as the next three."""
        return self._execute(lib.vmxsim_insn_mov_to_cr0, value)

    def mov_to_cr4(self, value: int) -> Outcome:
        """MOV to CR4."""
        return self._execute(lib.vmxsim_insn_mov_to_cr4, value)

    def rdmsr(self, msr: int) -> Outcome:
        """RDMSR; `Completed.value` is what it read."""
        return self._execute(lib.vmxsim_insn_rdmsr, msr)

    def wrmsr(self, msr: int, value: int) -> Outcome:
        """WRMSR."""
        return self._execute(lib.vmxsim_insn_wrmsr, msr, value)

    def __repr__(self) -> str:
        return "Cpu(closed)" if self.closed else f"Cpu({self.vmx.mode.name})"
