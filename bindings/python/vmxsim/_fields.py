# SPDX-License-Identifier: Apache-2.0
"""VMCS fields as typed attributes; the classes that use this are generated."""
from __future__ import annotations

import typing

from vmxsim.enums import Field

Value = typing.TypeVar("Value", bound=int)


class FieldStore(typing.Protocol):
    """What holds fields: a `Vmcs`, or the registers of a running guest."""

    def __getitem__(self, field: Field, /) -> int: ...
    def __setitem__(self, field: Field, value: int, /) -> None: ...


class FieldGroup:
    """The fields of one area, as attributes."""

    __slots__ = ("_store",)

    def __init__(self, store: FieldStore) -> None:
        object.__setattr__(self, "_store", store)

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(getattr(type(self), name, None), FieldAttribute):
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        object.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        return [name for name in dir(type(self)) if isinstance(getattr(type(self), name), FieldAttribute)]


class FieldAttribute(typing.Generic[Value]):
    """One field: reading gives an int, or the set of bits that the field is."""

    __slots__ = ("field", "kind")

    def __init__(self, field: Field, kind: type[Value]) -> None:
        self.field, self.kind = field, kind

    @typing.overload
    def __get__(self, group: None, owner: type[FieldGroup]) -> FieldAttribute[Value]: ...
    @typing.overload
    def __get__(self, group: FieldGroup, owner: type[FieldGroup]) -> Value: ...

    def __get__(self, group: FieldGroup | None, owner: type[FieldGroup]) -> FieldAttribute[Value] | Value:
        if group is None:
            return self
        return self.kind(group._store[self.field])  # type: ignore[attr-defined]

    def __set__(self, group: FieldGroup, value: int) -> None:
        group._store[self.field] = value  # type: ignore[attr-defined]
