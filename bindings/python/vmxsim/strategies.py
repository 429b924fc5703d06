# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies: VMCSs that enter and VMCSs that just do not, rights, ranges, EPT entries. Needs hypothesis."""
from __future__ import annotations

from hypothesis import strategies as st

from vmxsim.enums import EntryRule, EptBits, EptPerm, Field, MemType
from vmxsim.profile import Profile
from vmxsim.vmcs import Vmcs

__all__ = ["ept_entries", "memory_types", "near_valid_vmcs", "pages", "perms", "ranges", "valid_vmcs", "vmcs"]

_BITS = {field: (16, 64, 32, 64)[field >> 13] for field in Field}


@st.composite
def vmcs(draw: st.DrawFn, fields: int = 12) -> Vmcs:
    """Any VMCS: up to `fields` fields have values, the others are 0. Hardly ever one that enters."""
    chosen = draw(st.lists(st.sampled_from(list(Field)), max_size=fields, unique=True))
    return Vmcs({field: draw(st.integers(0, (1 << _BITS[field]) - 1)) for field in chosen})


@st.composite
def valid_vmcs(draw: st.DrawFn, profile: Profile | str = "icelake") -> Vmcs:
    """A VMCS that enters on this profile."""
    found = draw(vmcs())
    found.round(profile)
    return found


@st.composite
def near_valid_vmcs(draw: st.DrawFn, profile: Profile | str = "icelake",
                    max_broken: int = 3) -> tuple[Vmcs, frozenset[EntryRule]]:
    """A VMCS that breaks one to `max_broken` rules by the smallest step, and these rules."""
    found = draw(valid_vmcs(profile))
    count, seed = draw(st.integers(1, max_broken)), draw(st.integers(0, (1 << 64) - 1))
    return found, frozenset(found.break_rules(count, seed, profile))


def perms(*, user_execute: bool = False, execute_only: bool = True) -> st.SearchStrategy[EptPerm]:
    """Rights that a mapping can have: never write without read."""
    known = EptPerm.RWX | (EptPerm.UX if user_execute else EptPerm.NONE)
    lawful = [EptPerm(bits) for bits in range(16)
              if not bits & ~known and (bits & EptPerm.R or not bits & EptPerm.W)
              and (execute_only or bits & EptPerm.R or not bits)]
    return st.sampled_from(lawful)


def memory_types() -> st.SearchStrategy[MemType]:
    """Memory types that an EPT entry can have."""
    return st.sampled_from([MemType.WB, MemType.UC, MemType.WC, MemType.WT, MemType.WP])


def pages(count: int) -> st.SearchStrategy[int]:
    """Addresses of one of `count` 4-KByte pages, from 0 on."""
    return st.integers(0, count - 1).map(lambda page: page << 12)


@st.composite
def ranges(draw: st.DrawFn, count: int) -> tuple[int, int]:
    """(address, bytes) of one or more of `count` pages."""
    first = draw(st.integers(0, count - 1))
    return first << 12, draw(st.integers(1, count - first)) << 12


@st.composite
def ept_entries(draw: st.DrawFn, width: int = 40) -> int:
    """EPT entries: rights, type and address as they should be, then up to two bits flipped."""
    entry = int(draw(perms()) & 7) | draw(memory_types()) << 3 | draw(st.integers(0, (1 << (width - 12)) - 1)) << 12
    if draw(st.booleans()):
        entry |= EptBits.LARGE_PAGE
    for bit in draw(st.lists(st.integers(0, 63), max_size=2, unique=True)):
        entry ^= 1 << bit
    return entry
