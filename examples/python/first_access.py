# SPDX-License-Identifier: Apache-2.0
"""A guest reads memory that is backed on demand; the hypervisor handles the EPT violation; the guest reads again."""
from vmxsim import EptPerm, EptViolation, Machine, PrimaryControls, SecondaryControls, Translation, Vmcs

with Machine(ram="64M", profile="icelake") as machine, machine.address_space() as space, machine.cpu() as cpu:
    space.map_alloc(0, "16M", EptPerm.RWX, lazy=True)

    vmcs = Vmcs({"EPT_POINTER": space.eptp})
    vmcs.guest.cr0 = 0x31  # PE, ET, NE: no paging
    vmcs.control.primary_processor_based_controls = PrimaryControls.ACTIVATE_SECONDARY_CONTROLS
    vmcs.control.secondary_processor_based_controls = SecondaryControls.ENABLE_EPT
    cpu.load_guest(vmcs)

    while True:
        match cpu.guest.read(0x5008):
            case EptViolation() as violation:
                print(f"{violation.rule.id}: {violation.rule.text}")
                print("handled:", space.handle_fault(violation))
            case Translation() as translation:
                print(f"gpa {translation.gpa:#x} -> hpa {translation.hpa:#x}, {translation.perms}, {translation.data.hex()}")
                break
