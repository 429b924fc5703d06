# SPDX-License-Identifier: Apache-2.0
"""A pytest fixture: ``vmx_machine``, a machine that fails the test if it loses memory.

The package registers it, so that a test only names it::

    def test_my_space(vmx_machine):
        with vmx_machine.address_space() as space: ...

    @pytest.mark.vmx_machine(ram="1G", profile="skylake")
    def test_large(vmx_machine): ...

At the end of a test that passed, every frame must have been given back, none of them twice, and none written to afterwards.
"""
from __future__ import annotations

import typing

import pytest

from vmxsim.machine import Machine

__all__ = ["complaints", "vmx_machine"]

_PASSED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "vmx_machine(ram, profile, ...): arguments of vmxsim.Machine for the fixture vmx_machine")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> typing.Generator[None, typing.Any, None]:
    report = (yield).get_result()
    if report.when == "call":
        item.stash[_PASSED] = report.passed


def complaints(machine: Machine) -> list[str]:
    """What is wrong with the frames of a machine whose user is done: one sentence each."""
    stats = machine.frames.stats
    found = [f"not given back: {line}" for line in machine.frames.leak_report().splitlines()]
    found += [f"written after it was given back: {leak.hpa:#x} ({leak.label})" for leak in machine.frames.damaged()]
    counters = {"given back twice": stats.double_frees, "given back but never taken": stats.foreign_frees,
                "written after they were given back, and taken again": stats.use_after_free}
    return found + [f"frames {what}: {count}" for what, count in counters.items() if count]


@pytest.fixture
def vmx_machine(request: pytest.FixtureRequest) -> typing.Iterator[Machine]:
    """A machine with 64 MBytes and the profile icelake; the marker ``vmx_machine`` changes that."""
    marker = request.node.get_closest_marker("vmx_machine")
    machine = Machine(*marker.args, **marker.kwargs) if marker else Machine()
    try:
        yield machine
        found = complaints(machine)
        if found and request.node.stash.get(_PASSED, False):
            pytest.fail("vmx_machine: " + "; ".join(found), pytrace=False)
    finally:
        if not machine.memory.live_views:
            machine.close()
