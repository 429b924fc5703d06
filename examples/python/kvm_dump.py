# SPDX-License-Identifier: Apache-2.0
"""The broken field of a pasted KVM dump: what `dmesg` shows with kvm_intel.dump_invalid_vmcs=1.

    python kvm_dump.py [FILE] [PROFILE]
"""
import pathlib
import sys

from vmxsim import Vmcs, check

SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "check" / "linux-6.log"


def main() -> None:
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    profile = sys.argv[2] if len(sys.argv) > 2 else "icelake"
    vmcs = Vmcs.from_linux(path.read_text())
    report = check(vmcs, profile)
    print(f"{len(vmcs)} of 206 fields are shown; {len(report.undecided)} rules need more than that")
    for violation in report:
        field = violation.fields[0]
        print(f"\n{violation.rule.id}: {violation.rule.text}")
        print(f"  {field.name} = {vmcs[field]:#x}" + (f", bits {violation.offending:#x}" if violation.offending else ""))
        for change in violation.changes:
            print(f"  change: {change.field.name} = {change.value:#x}")


if __name__ == "__main__":
    main()
