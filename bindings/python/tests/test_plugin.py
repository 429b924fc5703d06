# SPDX-License-Identifier: Apache-2.0
"""The fixture that other projects use."""
from __future__ import annotations

import pytest

from vmxsim import Machine
from vmxsim.pytest_plugin import complaints

pytest_plugins = ["pytester"]


@pytest.mark.vmx_machine(ram="1M", profile="skylake")
def test_the_marker_gives_arguments(vmx_machine: Machine) -> None:
    assert vmx_machine.profile.name == "skylake" and not vmx_machine.memory.is_ram(1 << 20)


def test_a_test_that_gives_everything_back_passes(vmx_machine: Machine) -> None:
    with vmx_machine.address_space() as space:
        space.map_alloc(0, "64K")


def test_what_is_wrong_is_named() -> None:
    machine = Machine()
    frame = machine.frames.alloc("kept")
    assert complaints(machine) == ["not given back: kept: 1 frame, first " + hex(frame.hpa)]
    hpa = frame.hpa
    frame.close()
    machine.memory.write64(hpa, 5)
    assert complaints(machine) == [f"written after it was given back: {hpa:#x} (kept)"]
    machine.close()


def test_a_leak_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        kept = []
        def test_leaks(vmx_machine):
            kept.append(vmx_machine.frames.alloc("my frame"))
        def test_fails_for_another_reason(vmx_machine):
            kept.append(vmx_machine.frames.alloc("my frame"))
            assert False
        def test_is_fine(vmx_machine):
            vmx_machine.frames.alloc("my frame").close()
    """)
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*vmx_machine: not given back: my frame: 1 frame*"])
