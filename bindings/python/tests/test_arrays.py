# SPDX-License-Identifier: Apache-2.0
"""Arrays in and out: the same as one call per element."""
from __future__ import annotations

import array
import typing

import pytest

import vmxsim
from vmxsim import (Access, AddressSpace, EptMisconfiguration, EptPerm, EptViolation, ExitReason, Intercept, Machine, MsrAccess,
                    Translation, arrays, errors)
from vmxsim.enums import OutcomeKind
from vmxsim.raw import ffi

GPAS = [0, 8, 0x1000, 0x2345, 0x5000, 1 << 30, (1 << 39) + 5]


@pytest.fixture(params=["numpy", "plain"])
def numpy_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> typing.Any:
    """Runs the test with numpy, and as if it were not installed."""
    if request.param == "plain":
        monkeypatch.setattr(arrays, "numpy", None)
        return None
    return pytest.importorskip("numpy")


@pytest.fixture
def space(machine: Machine) -> AddressSpace:
    space = machine.address_space()
    space.map_alloc(0, "12K", EptPerm.RW)
    space.map_linear(1 << 30, 0, "2M", EptPerm.R)
    space.map_alloc(0x5000, 4096)
    space.entries[0x5000, 1] &= ~1
    return space


def test_columns_are_laid_out_as_c_has_them() -> None:
    numpy = pytest.importorskip("numpy")
    dtype = numpy.dtype(list(arrays.ROW_FIELDS.items()), align=True)
    assert dtype.itemsize == ffi.sizeof("struct vmxpy_row")
    assert {name: dtype.fields[name][1] for name in dtype.names} == {
        name: ffi.offsetof("struct vmxpy_row", name) for name in arrays.ROW_FIELDS}
    assert tuple(arrays.ROW_FIELDS) == arrays.Row._fields


@pytest.mark.parametrize("access", [EptPerm.R, EptPerm.W, EptPerm.RW])
def test_translate_is_the_scalar_call(space: AddressSpace, access: EptPerm, numpy_or_not: typing.Any) -> None:
    rows = space.translate(array.array("Q", GPAS), access)
    kinds = set()
    for gpa, row in zip(GPAS, rows):
        outcome = space.translate(gpa, access)
        kinds.add(type(outcome))
        got = arrays.Row(*row)
        match outcome:
            case Translation():
                assert (got.kind, got.hpa, got.page_size) == (OutcomeKind.COMPLETE, outcome.hpa, outcome.page_size)
                assert (got.rights, got.memory_type, got.gpa) == (outcome.perms, outcome.memory_type, gpa)
            case EptViolation():
                assert (got.exit_reason, got.qualification) == (ExitReason.EPT_VIOLATION, outcome.qualification)
                assert (got.rule, got.gpa) == (outcome.rule, gpa)
            case EptMisconfiguration():
                assert (got.exit_reason, got.rule) == (ExitReason.EPT_MISCONFIGURATION, outcome.rule)
    assert kinds == {Translation, EptViolation, EptMisconfiguration}


def test_walk_is_the_scalar_call(machine: Machine, space: AddressSpace) -> None:
    cpu = machine.cpu()
    with pytest.raises(errors.BadState):
        cpu.walk([0])
    cpu.load_guest(guest_without_paging(space))
    gvas = [0, 0x1008, 0x3000, 1 << 30]
    rows = cpu.walk(gvas, Access.WRITE, 8)
    scalar = [cpu.walk(gva, Access.WRITE, 8) for gva in gvas]
    assert [row["kind"] == OutcomeKind.COMPLETE for row in rows] == [isinstance(one, Translation) for one in scalar]
    assert [int(row["hpa"]) for row in rows] == [one.hpa if isinstance(one, Translation) else 0 for one in scalar]
    with pytest.raises(errors.InvalidInput, match="element 0"):
        cpu.walk(gvas, Access.READ, 65)


def guest_without_paging(space: AddressSpace) -> vmxsim.Vmcs:
    vmcs = vmxsim.Vmcs({"EPT_POINTER": space.eptp, "GUEST_CR0": 0x31})
    vmcs.control.primary_processor_based_controls = vmxsim.PrimaryControls.ACTIVATE_SECONDARY_CONTROLS
    vmcs.control.secondary_processor_based_controls = vmxsim.SecondaryControls.ENABLE_EPT
    return vmcs


def test_host_addresses(space: AddressSpace, numpy_or_not: typing.Any) -> None:
    got = [int(hpa) for hpa in space.hpas(GPAS)]
    for gpa, hpa in zip(GPAS, got):
        if hpa == (1 << 64) - 1:
            with pytest.raises(LookupError):
                space.hpa(gpa)
        else:
            assert space.hpa(gpa) == hpa


def test_anything_with_the_buffer_protocol_goes_in(space: AddressSpace) -> None:
    numpy = pytest.importorskip("numpy")
    expected = space.hpas([0, 0x1000, 0x2000]).tolist()
    for values in (array.array("Q", [0, 0x1000, 0x2000]), memoryview(array.array("Q", [0, 0x1000, 0x2000])),
                   numpy.array([0, 0x1000, 0x2000]), numpy.array([0, 9, 0x1000, 9, 0x2000], "u8")[::2], (0, 0x1000, 0x2000),
                   numpy.array([0, 0x1000, 0x2000], "u2"), array.array("I", [0, 0x1000, 0x2000])):
        assert space.hpas(values).tolist() == expected
    assert len(space.hpas([])) == 0 and len(space.translate([])) == 0


@pytest.mark.parametrize("values", [[-1], [1 << 64], [1.5], ["a"]])
def test_what_is_no_address_is_refused(space: AddressSpace, values: list[typing.Any], numpy_or_not: typing.Any) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        space.hpas(values)


def test_bitmaps(machine: Machine, numpy_or_not: typing.Any) -> None:
    with machine.io_bitmap(Intercept.PASSTHROUGH) as io, machine.msr_bitmap(Intercept.PASSTHROUGH) as msr:
        io.set_range(0x60, 0x64)
        ports = [0x5e, 0x5f, 0x60, 0x64, 0x65, 0xffff]
        for size in (1, 2, 4):
            assert list(io.test(ports, size)) == [io.test(port, size) for port in ports]
        assert list(io.test(array.array("H", ports), 2)) == [False, True, True, True, False, True]
        msr.set_range(0xc0000080, 0xc0000084, MsrAccess.WRITE)
        msrs = [0x1b, 0xc0000080, 0xc0000084, 0xc0000085, 0x4000]
        for access in (MsrAccess.READ, MsrAccess.WRITE):
            assert list(msr.test(msrs, access)) == [msr.test(one, access) for one in msrs]
        with pytest.raises((ValueError, OverflowError)):
            io.test([0x10000])
        with pytest.raises((ValueError, OverflowError)):
            msr.test([1 << 32])


def test_rows_without_numpy(space: AddressSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "numpy", None)
    rows = space.translate([0, 0x100000, 8])
    assert isinstance(rows, arrays.Rows) and len(rows) == 3
    assert rows["address"] == [0, 0x100000, 8] and rows[-1].address == 8
    assert [row.address for row in rows[1:]] == [0x100000, 8]
    with pytest.raises(IndexError):
        rows[3]
    with pytest.raises(KeyError):
        rows["colour"]


def test_results_outlive_the_machine() -> None:
    with Machine() as machine, machine.address_space() as space:
        space.map_alloc(0, 4096)
        rows = space.translate([0, 1])
    assert rows[1]["hpa"] == rows[0]["hpa"] + 1


def test_bitmaps_by_element(machine: Machine) -> None:
    with machine.io_bitmap() as io, machine.msr_bitmap() as msr:
        io.set(0x70, 2, Intercept.PASSTHROUGH)
        assert not io.test(0x70, 2) and io.test(0x72) and all(hpa % 4096 == 0 for hpa in io.hpas)
        io.set_all(Intercept.PASSTHROUGH)
        assert not io.test(0x72)
        io.set_all(Intercept.INTERCEPT)
        assert io.test(0x70)
        msr.set_range(0x10, 0x20, MsrAccess.READ, Intercept.PASSTHROUGH)
        assert not msr.test(0x20) and msr.test(0x20, MsrAccess.WRITE) and msr.hpa % 4096 == 0
        msr.set_all(Intercept.PASSTHROUGH)
        assert not msr.test(0x21) and msr.covers(0xc0001fff) and not msr.covers(0x2000)
        msr.set_all(Intercept.INTERCEPT)
        assert msr.test(0x20)


@pytest.mark.parametrize("call", [
    lambda io, msr: io.set(0x10000), lambda io, msr: io.set(0xffff, 2), lambda io, msr: io.set(0, 3), lambda io, msr: io.test(0, 3),
    lambda io, msr: io.test(-1), lambda io, msr: io.set_range(5, 4), lambda io, msr: msr.set(0x2000),
    lambda io, msr: msr.set(0x10, typing.cast(MsrAccess, 4)), lambda io, msr: msr.test(0x10, MsrAccess(0)),
    lambda io, msr: msr.set_range(0x10, 0xc0000000), lambda io, msr: msr.test(1 << 32),
])
def test_what_no_bitmap_has(machine: Machine, call: typing.Callable[[typing.Any, typing.Any], None]) -> None:
    with machine.io_bitmap() as io, machine.msr_bitmap() as msr, pytest.raises(ValueError):
        call(io, msr)
