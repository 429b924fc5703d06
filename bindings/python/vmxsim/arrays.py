# SPDX-License-Identifier: Apache-2.0
"""Arrays in and out: anything with the buffer protocol in; numpy structured arrays out, or `Rows` without numpy."""
from __future__ import annotations

import array
import typing

from vmxsim._vmxsim import ffi
from vmxsim.errors import InvalidInput

try:
    import numpy
except ImportError:  # an optional extra
    numpy = None  # type: ignore[assignment, unused-ignore]

__all__ = ["ROW_FIELDS", "Row", "Rows"]

_SIZES = {"uint64_t": "u8", "uint32_t": "u4", "uint16_t": "u2", "uint8_t": "u1"}
ROW_FIELDS: dict[str, str] = {name: _SIZES[field.type.cname] for name, field in ffi.typeof("struct vmxpy_row").fields}
"""Columns of a result and their numpy types."""


class Row(typing.NamedTuple):
    """What one access of an array came to. Members that do not apply are 0."""

    address: int
    """As given."""
    gpa: int
    hpa: int
    page_size: int
    """Bytes."""
    qualification: int
    error_code: int
    rule: int
    """`WalkRule`"""
    exit_reason: int
    """`ExitReason`; 0 unless `kind` is a VM exit."""
    kind: int
    """`OutcomeKind`"""
    vector: int
    rights: int
    """`EptPerm`"""
    memory_type: int
    """`MemType`"""


class Rows(typing.Sequence[Row]):
    """Results without numpy: rows by index, columns by name."""

    def __init__(self, raw: typing.Any, count: int) -> None:
        self._raw, self._count = raw, count

    def __len__(self) -> int:
        return self._count

    @typing.overload
    def __getitem__(self, index: int) -> Row: ...
    @typing.overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    @typing.overload
    def __getitem__(self, index: str) -> list[int]: ...

    def __getitem__(self, index: int | slice | str) -> Row | list[Row] | list[int]:
        if isinstance(index, str):
            if index not in ROW_FIELDS:
                raise KeyError(index)
            return [getattr(self._raw[i], index) for i in range(self._count)]
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        raw = self._raw[index % self._count]
        return Row(*(getattr(raw, name) for name in Row._fields))


def _input(values: typing.Any, code: str, width: int) -> typing.Any:
    """`values` as something contiguous with unsigned elements of `width` bytes."""
    if numpy is not None and not isinstance(values, (array.array, memoryview)):
        found = numpy.asarray(values)
        if found.size and (found.dtype.kind not in "ui" or (found.dtype.kind == "i" and int(found.min()) < 0)
                           or (found.dtype.itemsize > width and int(found.max()) >> 8 * width)):
            raise InvalidInput(f"unsigned integers of {8 * width} bits are wanted, not these of {found.dtype}")
        return numpy.ascontiguousarray(found, dtype=f"u{width}")
    try:
        view = memoryview(values)
    except TypeError:
        return _from_sequence(values, code)
    if view.format in ("B", "b", "c") or view.itemsize != width or not view.contiguous:
        return _from_sequence(view.tolist(), code)
    return view


def _from_sequence(values: typing.Iterable[int], code: str) -> array.array[int]:
    try:
        return array.array(code, values)
    except (OverflowError, TypeError) as error:
        raise InvalidInput(f"unsigned integers are wanted: {error}") from None


_CODES = {8: ("Q", "uint64_t[]"), 4: ("I", "uint32_t[]"), 2: ("H", "uint16_t[]")}


def column(values: typing.Any, width: int) -> typing.Any:
    """A C array over `values`, of unsigned integers of `width` bytes; shared if they have that form already."""
    code, kind = _CODES[width]
    return ffi.from_buffer(kind, _input(values, code, width))


def rows(count: int) -> tuple[typing.Any, typing.Any]:
    """Room for results: what the caller gets, and the C array behind it."""
    if numpy is None:
        raw = ffi.new("struct vmxpy_row[]", count)
        return Rows(raw, count), raw
    result = numpy.zeros(count, dtype=numpy.dtype(list(ROW_FIELDS.items()), align=True))
    return result, ffi.from_buffer("struct vmxpy_row[]", result, require_writable=True)


def numbers(count: int, width: int) -> tuple[typing.Any, typing.Any]:
    """Room for `count` unsigned integers of `width` bytes: what the caller gets, and the C array."""
    kind = {8: "uint64_t[]", 1: "uint8_t[]"}[width]
    result: typing.Any = array.array("Q" if width == 8 else "B", bytes(width * count))
    if numpy is not None:
        result = numpy.zeros(count, dtype=f"u{width}")
    return result, ffi.from_buffer(kind, result, require_writable=True)


def booleans(values: typing.Any) -> typing.Any:
    """A result of `numbers(…, 1)` as truth values: a numpy array, or a list."""
    return values.view("bool") if numpy is not None else [bool(value) for value in values]
