# SPDX-License-Identifier: Apache-2.0
"""Which of the MSRs that a hypervisor lists as handled its MSR bitmap really intercepts, and the other way round."""
import array

from vmxsim import Intercept, Machine, Msr, MsrAccess

# What the hypervisor says it handles, by direction.
HANDLED = {
    MsrAccess.READ: [Msr.APIC_BASE, Msr.FEATURE_CONTROL, Msr.EFER, *range(Msr.VMX_BASIC, Msr.VMX_EXIT_CTLS2 + 1), 0x4000_0000],
    MsrAccess.WRITE: [Msr.APIC_BASE, Msr.FEATURE_CONTROL, Msr.EFER, Msr.PAT, 0x4000_0000],
}


def build(bitmap) -> None:
    """The bitmap as the hypervisor sets it up; two mistakes are in it."""
    bitmap.set_all(Intercept.PASSTHROUGH)
    bitmap.set(Msr.APIC_BASE)
    bitmap.set(Msr.FEATURE_CONTROL)
    bitmap.set(Msr.EFER, MsrAccess.READ)  # the write is missing
    bitmap.set(Msr.PAT, MsrAccess.WRITE)
    bitmap.set_range(Msr.VMX_BASIC, Msr.VMX_TRUE_ENTRY_CTLS, MsrAccess.READ)  # ends too early


def main() -> None:
    everything = array.array("I", [*range(0x2000), *range(0xC000_0000, 0xC000_2000)])
    with Machine() as machine, machine.msr_bitmap() as bitmap:
        build(bitmap)
        for access, handled in HANDLED.items():
            name = "RDMSR" if access == MsrAccess.READ else "WRMSR"
            exits = {msr for msr, exit in zip(everything, bitmap.test(everything, access)) if exit}
            missing = [msr for msr in handled if not bitmap.test(msr, access)]
            print(f"{name}: {len(exits)} MSRs exit")
            print(f"  handled but passed through: {', '.join(f'{msr:x}H' for msr in missing) or 'none'}")
            print(f"  exit but not handled: {', '.join(f'{msr:x}H' for msr in sorted(exits - set(handled))) or 'none'}")


if __name__ == "__main__":
    main()
