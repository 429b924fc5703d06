# SPDX-License-Identifier: Apache-2.0
"""Address spaces and EPT hierarchies."""
from __future__ import annotations

import typing

import pytest

from vmxsim import (AddressSpace, EptBits, EptMisconfiguration, EptPerm, EptViolation, EptViolationBits, ExitReason, FaultResult,
                    Machine, MemType, PageLevel, Translation, WalkRule, errors)

PAGE = 4096


@pytest.fixture
def space(machine: Machine) -> AddressSpace:
    return machine.address_space(0, "4G")


BAD_CALLS: list[tuple[str, type[Exception], typing.Callable[[AddressSpace], object]]] = [
    ("misaligned", ValueError, lambda s: s.map_alloc(1, PAGE)),
    ("empty", ValueError, lambda s: s.map_alloc(0, 0)),
    ("outside", ValueError, lambda s: s.map_linear(4 << 30, 0, PAGE)),
    ("overlap", errors.AlreadyExists, lambda s: s.map_linear(0x3000, 0, PAGE)),
    ("execute-only type", ValueError, lambda s: s.map_alloc(0x10000, PAGE, EptPerm.W)),
    ("reserved type", ValueError, lambda s: s.map_alloc(0x10000, PAGE, EptPerm.R, MemType.UC_MINUS)),
    ("unknown right", ValueError, lambda s: s.map_alloc(0x10000, PAGE, typing.cast(EptPerm, 0x80))),
    ("no area", LookupError, lambda s: s.unmap(0x100000, PAGE)),
    ("no area to protect", errors.NotFound, lambda s: s.protect(0x100000, PAGE, EptPerm.R)),
    ("no host address", LookupError, lambda s: s.hpa(0x100000)),
    ("no guest memory", errors.NotFound, lambda s: s.read(0x100000, 4)),
    ("not writable", PermissionError, lambda s: s.write(0x4000, b"x")),
    ("no such access", ValueError, lambda s: s.handle_fault(0, typing.cast(EptPerm, 0x100))),
    ("no access at all", ValueError, lambda s: s.translate(0, EptPerm.NONE)),
    ("user execute", NotImplementedError, lambda s: s.translate(0, EptPerm.UX)),
    ("user execute mapped", NotImplementedError, lambda s: s.map_alloc(0x10000, PAGE, EptPerm.R | EptPerm.UX)),
    ("negative", OverflowError, lambda s: s.hpa(-1)),
]


@pytest.mark.parametrize("name, kind, call", BAD_CALLS, ids=[name for name, _, _ in BAD_CALLS])
def test_misuse_is_an_exception_and_changes_nothing(space: AddressSpace, name: str, kind: type[Exception],
                                                    call: typing.Callable[[AddressSpace], object]) -> None:
    space.map_alloc(0, 4 * PAGE)
    space.map_alloc(4 * PAGE, PAGE, EptPerm.R)
    before = (space.areas(), space.mappings())
    with pytest.raises(kind):
        call(space)
    assert (space.areas(), space.mappings()) == before and space.is_valid()


def test_linear_areas_use_large_pages(space: AddressSpace) -> None:
    space.map_linear(0x200000, 0x400000, "4M", EptPerm.RX)
    (area,) = space.areas()
    assert (area.base, area.end, area.backend, area.hpa, area.lazy) == (0x200000, 0x600000, "linear", 0x400000, False)
    (run,) = space.mappings()
    assert (run.gpa, run.hpa, run.size, run.page_size) == (0x200000, 0x400000, 4 << 20, 2 << 20)
    assert space.translate(0x234567) == Translation(0x234567, 0x434567, 2 << 20, EptPerm.RX, MemType.WB)
    assert space.hpa(0x234567) == 0x434567


def test_a_lazy_area_faults_once_per_page(space: AddressSpace, machine: Machine) -> None:
    space.map_alloc(0, "1M", EptPerm.RW, lazy=True)
    violation = space.translate(0x5008, EptPerm.W)
    assert isinstance(violation, EptViolation)
    assert violation.rule == WalkRule.EPT_NOT_PRESENT and violation.access == EptPerm.W
    assert violation.qualification & EptViolationBits.WRITE and violation.gva is None
    assert space.handle_fault(violation) == FaultResult.MAPPED
    assert space.handle_fault(violation) == FaultResult.ALREADY_BACKED
    assert space.handle_fault(0x200000) == FaultResult.NO_AREA
    assert space.handle_fault(0x6000, EptPerm.X) == FaultResult.DENIED
    assert isinstance(space.translate(0x5008, EptPerm.W), Translation)
    assert space.read(0x5008, 8) == bytes(8)


def test_rights_decide(space: AddressSpace) -> None:
    space.map_alloc(0, PAGE, EptPerm.R)
    outcome = space.translate(8, EptPerm.W)
    assert isinstance(outcome, EptViolation) and outcome.rule == WalkRule.EPT_RIGHTS
    space.protect(0, PAGE, EptPerm.RW, MemType.UC)
    outcome = space.translate(8, EptPerm.W)
    assert isinstance(outcome, Translation) and outcome.memory_type == MemType.UC


def test_a_damaged_entry_is_a_misconfiguration(space: AddressSpace) -> None:
    space.map_alloc(0, PAGE)
    space.entries[0, 1] &= ~EptBits.READ
    outcome = space.translate(0)
    assert isinstance(outcome, EptMisconfiguration) and outcome.rule == WalkRule.EPT_MC_WO
    assert "EPT.MC.WO" in outcome.explain() and "EPT Misconfigurations" in outcome.explain()
    assert outcome.to_dict() == {"kind": "EptMisconfiguration", "gpa": 0, "rule": "EPT_MC_WO"}
    with pytest.raises(errors.NotFound):
        space.entries[1 << 39, 1]
    with pytest.raises(errors.InvalidInput):
        space.entries[0, 5]
    assert space.entries.leaf_level(0) == 1 and space.entries.leaf_level(1 << 40) == 4


def test_replacing_and_unmapping(space: AddressSpace, machine: Machine) -> None:
    space.map_alloc(0, 8 * PAGE)
    space.write(0x1ffe, b"over pages")
    assert space.read(0x1ffe, 10) == b"over pages"
    space.map_linear(2 * PAGE, 0x800000, PAGE, EptPerm.R, replace=True)
    assert [area.backend for area in space.areas()] == ["alloc", "linear", "alloc"]
    space.map_alloc(2 * PAGE, PAGE, lazy=True, replace=True)
    space.unmap(0, 4 * PAGE)
    assert [(area.base, area.size) for area in space.areas()] == [(4 * PAGE, 4 * PAGE)]
    space.clear()
    assert space.areas() == () and space.mappings() == []


def test_splitting_and_merging(space: AddressSpace) -> None:
    space.map_linear(0, 0, "2M")
    space.protect(0x1000, PAGE, EptPerm.R)
    assert space.translate(0).page_size == PAGE
    space.protect(0x1000, PAGE, EptPerm.RWX)
    space.merge(0, "2M")
    assert space.translate(0).page_size == 2 << 20


def test_texts(space: AddressSpace) -> None:
    space.map_linear(0, 0x100000, "64K", EptPerm.RX)
    assert "[0x0, 0x10000) linear -> 0x100000 r-x- WB" in str(space)
    assert repr(space) == "AddressSpace(0x0, 0x100000000)"
    html = space._repr_html_()
    assert html.startswith("<table>") and "<td>linear</td>" in html and "<td>R|X</td>" in html
    space.close()
    assert repr(space) == "AddressSpace(closed)"


def test_a_machine_translates_by_its_only_space(machine: Machine, space: AddressSpace) -> None:
    space.map_alloc(0, PAGE)
    assert machine.translate(8) == space.translate(8)
    second = machine.address_space()
    with pytest.raises(errors.InvalidInput, match="2 address spaces"):
        machine.translate(8)
    second.close()
    assert machine.translate(8) == space.translate(8)


def test_mode_based_execute() -> None:
    with Machine(profile="everything") as machine:
        space = machine.address_space(mode_based_execute=True)
        space.map_alloc(0, PAGE, EptPerm.R | EptPerm.UX)
        assert isinstance(space.translate(0, EptPerm.UX), Translation)
        outcome = space.translate(0, EptPerm.X)
        assert isinstance(outcome, EptViolation) and outcome.rule == WalkRule.EPT_MBEC


def test_accessed_and_dirty_flags(machine: Machine) -> None:
    with machine.address_space(accessed_dirty=True) as space:
        space.map_alloc(0, PAGE)
        space.translate(0)
        assert space.entries[0, 1] & EptBits.ACCESSED and not space.entries[0, 1] & EptBits.DIRTY
        space.translate(0, EptPerm.W)
        assert space.entries[0, 1] & EptBits.DIRTY


def test_a_profile_without_five_levels(machine: Machine) -> None:
    with pytest.raises(errors.Unsupported):
        machine.address_space(levels=5)
    assert machine.frames.in_use == 0


class TestEpt:
    def test_mapping_queries_and_walks(self, machine: Machine) -> None:
        with machine.ept(largest_page=PageLevel.SIZE_2M) as ept:
            ept.map(0, 0x40000000, "1G", EptPerm.RW, MemType.WT, ignore_pat=True)
            mapping = ept.query(0x12345678)
            assert (mapping.gpa, mapping.hpa, mapping.page_size) == (0x12200000, 0x52200000, 2 << 20)
            assert (mapping.perms, mapping.memory_type, mapping.ignore_pat) == (EptPerm.RW, MemType.WT, True)
            assert len(ept.walk(0, "8M")) == 4 and ept.tables == 3
            assert ept.eptp & ~0xfff == ept.entries.address(0, 4) and ept.span == 1 << 40
            with pytest.raises(errors.AlreadyExists):
                ept.map(0x1000, 0, PAGE)

    def test_what_goes_is_told(self, machine: Machine) -> None:
        with machine.ept() as ept:
            ept.map(0, 0x200000, "2M")
            assert ept.unmap(0x1000, PAGE) == [(0x1000, 0x201000, PAGE)]
            assert ept.remap(0x2000, 0x900000, PAGE, EptPerm.R) == [(0x2000, 0x202000, PAGE)]
            ept.protect(0x3000, PAGE, EptPerm.R)
            ept.map(0x1000, 0x201000, PAGE)
            ept.remap(0x2000, 0x202000, PAGE)
            ept.protect(0x3000, PAGE, EptPerm.RWX)
            assert len(ept.walk()) == 512
            ept.merge(0, "2M")
            assert len(ept.walk()) == 1
            with pytest.raises(LookupError):
                ept.query(0x200000)


def test_violations_compare_and_match(space: AddressSpace) -> None:
    first, second = space.translate(0x1000), space.translate(0x1000)
    assert first == second and first != space.translate(0x2000) and hash(first) == hash(second)
    match first:
        case EptViolation(gpa=0x1000, rule=WalkRule.EPT_NOT_PRESENT):
            pass
        case _:
            pytest.fail("does not match")
    with pytest.raises(AttributeError):
        first.gpa = 5
    assert ExitReason.EPT_VIOLATION == 48
