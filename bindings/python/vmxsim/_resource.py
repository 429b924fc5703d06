# SPDX-License-Identifier: Apache-2.0
"""Objects that own something in C: closed once, by the user or by the garbage collector, children before their parent."""
from __future__ import annotations

import types
import typing
import weakref

from vmxsim._vmxsim import ffi, lib
from vmxsim.errors import Closed, check

if typing.TYPE_CHECKING:
    from vmxsim.machine import Machine

Self = typing.TypeVar("Self", bound="Resource")


def _end_value(free: typing.Callable[[typing.Any], object], raw: typing.Any, memory: typing.Any) -> None:
    lib.vmxsim_snapshot_unregister(memory, raw)
    free(raw)


class Resource:
    """A context manager over something that C allocated.

    A child keeps its parent alive. Closing a parent closes its children first. Closing twice is harmless; any other use
    afterwards raises `Closed`.
    """

    _raw: typing.Any

    def __init__(self, parent: Resource | None) -> None:
        self._parent = parent
        self._children: weakref.WeakSet[Resource] = weakref.WeakSet()
        self._finalizer: weakref.finalize[typing.Any, typing.Any] | None = None
        self._open_flag = False  # what every call looks at: asking the finalizer is dear
        self._order = 0
        self._born = 0
        if parent is not None:
            parent._born += 1
            self._order = parent._born
            parent._children.add(self)

    def _owns(self, free: typing.Callable[..., object], *arguments: object) -> None:
        """`free` runs once: at close, or when the object is collected. What `arguments` refer to lives until then."""
        self._finalizer = weakref.finalize(self, free, *arguments)
        self._open_flag = True

    def _owns_value(self, machine: Machine, free: typing.Callable[[typing.Any], object]) -> None:
        """`self._raw` is a plain C value on this machine: it goes with snapshots, and `free` ends it."""
        check(lib.vmxsim_snapshot_register(machine._memory, self._raw, ffi.sizeof(self._raw[0])), type(self).__name__)
        self._owns(_end_value, free, self._raw, machine._memory)

    def _twin(self, machine: Machine) -> Resource | None:
        """The same object on a clone of its machine; None: the clone makes its own."""
        raise NotImplementedError

    def _twins_made(self, machine: Machine) -> None:
        """Every object on the machine has its twin now: what refers to others can be joined."""

    def _twin_value(self: Self, machine: Machine, free: typing.Callable[[typing.Any], object], *owners: str) -> Self:
        """A copy of a plain C value; `owners`: the members, "" for itself, that name the HAL."""
        twin = type(self).__new__(type(self))
        Resource.__init__(twin, machine)
        twin._raw = ffi.new(ffi.typeof(self._raw), self._raw[0])
        for owner in owners:
            (getattr(twin._raw, owner) if owner else twin._raw).hal = machine._hal
        twin._owns_value(machine, free)
        return twin

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return not self._open_flag

    def _check_open(self) -> None:
        if not self._open_flag:
            raise Closed(f"this {type(self).__name__} is closed")

    def _check_can_close(self) -> None:
        """Raises before anything is closed if something stands against it."""
        for child in list(self._children):
            child._check_can_close()

    def close(self) -> None:
        """Gives everything back, that of the children first, the youngest child first."""
        if self.closed:
            return
        self._check_can_close()
        for child in sorted(self._children, key=lambda each: -each._order):
            child.close()
        assert self._finalizer is not None
        self._open_flag = False
        self._finalizer()

    def __enter__(self: Self) -> Self:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: types.TracebackType | None) -> None:
        self.close()
