# SPDX-License-Identifier: Apache-2.0
"""Three processors: their features, and what becomes of one VMCS on each."""
from vmxsim import Profile, Vmcs, check

PROFILES = [Profile(name) for name in ("skylake", "icelake", "tigerlake")]


def main() -> None:
    print(f"{'feature':24}" + "".join(f"{profile.name:>12}" for profile in PROFILES))
    for feature in PROFILES[0].features:
        values = [profile.features[feature] for profile in PROFILES]
        if len(set(values)) > 1:
            print(f"{feature:24}" + "".join(f"{str(value):>12}" for value in values))
    print("\nA VMCS that enters on the profile of its row, on the profile of the column: rules broken")
    for row in PROFILES:
        vmcs = Vmcs.valid(row, {"PRIMARY_PROCESSOR_BASED_CONTROLS": 0x80000000, "SECONDARY_PROCESSOR_BASED_CONTROLS": 0xffffffff,
                                "VM_ENTRY_CONTROLS": 0xffffffff, "GUEST_CR4": 0xffffffff})
        broken = [", ".join(rule.id for rule in sorted(check(vmcs, column).rules)) or "none" for column in PROFILES]
        for column, rules in zip(PROFILES, broken):
            print(f"  {row.name:10} on {column.name:10} {rules}")


if __name__ == "__main__":
    main()
