# SPDX-License-Identifier: Apache-2.0
"""What the generated enumerations have in common."""
from __future__ import annotations

import enum
import typing

# Class -> name of the member -> its texts: a sentence, then, of rules, the stable id and the section or group.
TEXTS: dict[type[enum.IntEnum], dict[str, tuple[str, ...]]] = {}


class Described(enum.IntEnum):
    """An enumeration of C. Where a C table has a sentence about a member, `text` is it."""

    def _texts(self) -> tuple[str, ...]:
        return TEXTS.get(type(self), {}).get(self.name, ())

    @property
    def text(self) -> str:
        """The sentence of the C table, or the name in lower case."""
        texts = self._texts()
        return texts[0] if texts else self.name.lower().replace("_", " ")

    @property
    def id(self) -> str:
        """The stable id of a rule (``"GUEST.CR0.FIXED"``), or the member's name."""
        texts = self._texts()
        return texts[1] if len(texts) > 1 else self.name

    @property
    def section(self) -> str:
        """Title of the manual's section that a rule stands in; of an entry rule, the name of its group. ``""``: none."""
        texts = self._texts()
        return texts[2] if len(texts) > 2 else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else str(self)


SomeBits = typing.TypeVar("SomeBits", bound="BitSet")


class BitSet(enum.IntFlag):
    """A set of bits of a hardware word; ``require`` refuses bits that have no name."""

    @classmethod
    def require(cls: type[SomeBits], value: int) -> SomeBits:
        """`value` as a member. ValueError if a bit of it is none of this set."""
        known = 0
        for member in cls.__members__.values():
            known |= member.value
        if int(value) & ~known:
            raise ValueError(f"{int(value) & ~known:#x}: no bits of {cls.__name__}")
        return cls(value)

    def names(self) -> list[str]:
        """Names of the single bits that are set, from bit 0 up."""
        return [name for name, bit in type(self).__members__.items()
                if bit.value & (bit.value - 1) == 0 and bit.value & self.value]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'|'.join(self.names()) or '0'})"

    def __str__(self) -> str:
        return "|".join(self.names()) or "0"

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if spec else str(self)
