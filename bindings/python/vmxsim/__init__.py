# SPDX-License-Identifier: Apache-2.0
"""vmxsim: a software model of Intel VMX and EPT, and hypervisor memory code to run on it.

>>> import vmxsim
>>> with vmxsim.Machine(ram="64M", profile="icelake") as machine:
...     space = machine.address_space()
...     space.map_alloc(0, "1M", vmxsim.EptPerm.RW, lazy=True)
...     match space.translate(0x5008):
...         case vmxsim.EptViolation() as violation:
...             space.handle_fault(violation)
FaultResult.MAPPED

`Machine` is where to begin. Outcomes (`vmxsim.outcome`) are values; exceptions (`vmxsim.errors`) mean misuse. The C functions
themselves are `vmxsim.raw.lib`, with `vmxsim.raw.ffi`.
"""
from __future__ import annotations

from importlib import metadata as _metadata

from vmxsim import decode
from vmxsim.addrspace import AddressSpace, Area, Mapping
from vmxsim.bitmap import IoBitmap, MsrBitmap
from vmxsim.campaigns import campaign
from vmxsim.checking import EntryReport, Processor, Violation, check
from vmxsim.cpu import Cpu, Guest, Region, RootState, TlbStats, VmxState
from vmxsim.enums import (Access, CaseVerdict, Cr0, Cr4, Efer, EntryControls, EntryRule, EptBits, EptPerm, EptViolationBits,
                          ExitControls, ExitReason, FaultResult, Field, InsnRule, Instruction, Intercept, MemType, Msr, MsrAccess,
                          PageLevel, PinControls, PrimaryControls, Rflags, SecondaryControls, TlbMode, TrailKind,
                          VmInstructionError, VmxMode, WalkRule)
from vmxsim.ept import Ept, EptMapping
from vmxsim.errors import VmxsimError
from vmxsim.machine import Machine
from vmxsim.memory import Frame, Memory
from vmxsim.outcome import (Completed, CpuException, Entered, EntryFailure, EptMisconfiguration, EptViolation, GuestPageFault,
                            Outcome, Rule, Trail, Translation, VmExit, VmFail)
from vmxsim.profile import Profile, profile_names
from vmxsim.replaying import ReplayResult, replay
from vmxsim.vmcs import Vmcs, VmcsReading

__version__ = _metadata.version("vmxsim")

__all__ = [
    "Access", "AddressSpace", "Area", "CaseVerdict", "Completed", "Cpu", "CpuException", "Cr0", "Cr4", "Efer", "Entered",
    "EntryControls", "EntryFailure", "EntryReport", "EntryRule", "Ept", "EptBits", "EptMapping", "EptMisconfiguration", "EptPerm",
    "EptViolation", "EptViolationBits", "ExitControls", "ExitReason", "FaultResult", "Field", "Frame", "Guest", "GuestPageFault",
    "InsnRule", "Instruction", "Intercept", "IoBitmap", "Machine", "Mapping", "MemType", "Memory", "Msr", "MsrAccess", "MsrBitmap",
    "Outcome", "PageLevel", "PinControls", "PrimaryControls", "Processor", "Profile", "Region", "ReplayResult", "Rflags",
    "RootState", "Rule", "SecondaryControls", "TlbMode", "TlbStats", "Trail", "TrailKind", "Translation", "VmExit", "VmFail", "VmInstructionError",
    "Vmcs", "VmcsReading", "Violation", "VmxMode", "VmxState", "VmxsimError", "WalkRule", "campaign", "check", "decode", "profile_names",
    "replay",
]
