# SPDX-License-Identifier: Apache-2.0
"""Exceptions: misuse of the package, and input that cannot be read.

What the simulated processor or the guest comes to is never an exception but an outcome (`vmxsim.outcome`). Every class
derives from `VmxsimError` and from the builtin exception that fits.
"""
from __future__ import annotations

import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import Status

__all__ = [
    "AlreadyExists", "BadFormat", "BadState", "Busy", "Closed", "Denied", "GuestFault", "InvalidInput", "IoError", "NoMemory",
    "NoSpace", "NotBacked", "NotFound", "Unsupported", "VmxsimError",
]


class VmxsimError(Exception):
    """What all exceptions of this package are. `status` is the C status behind it."""

    status: typing.ClassVar[Status] = Status.BAD_STATE


class NoMemory(VmxsimError, MemoryError):
    """No frame or host memory was left; nothing changed."""

    status = Status.NO_MEMORY


class InvalidInput(VmxsimError, ValueError):
    """An argument is misaligned, out of range or contradicts another."""

    status = Status.INVALID_INPUT


class AlreadyExists(VmxsimError, ValueError):
    """Part of the range is in use already."""

    status = Status.ALREADY_EXISTS


class NotFound(VmxsimError, LookupError):
    """Nothing is there."""

    status = Status.NOT_FOUND


class BadState(VmxsimError, RuntimeError):
    """The object is not in the state that this call needs."""

    status = Status.BAD_STATE


class Unsupported(VmxsimError, NotImplementedError):
    """The processor profile, or this library, does not offer what was asked for."""

    status = Status.UNSUPPORTED


class Busy(VmxsimError, RuntimeError):
    """The object is in use and cannot be changed now."""

    status = Status.BUSY


class NotBacked(VmxsimError, LookupError):
    """The address is valid, but no memory stands behind it yet."""

    status = Status.NOT_BACKED


class Denied(VmxsimError, PermissionError):
    """The access needs a right that the area does not give."""

    status = Status.DENIED


class NoSpace(VmxsimError, ValueError):
    """There is no room for the result."""

    status = Status.NO_SPACE


class GuestFault(VmxsimError, RuntimeError):
    """The guest's own paging structures refuse the access."""

    status = Status.GUEST_FAULT


class IoError(VmxsimError, OSError):
    """A file could not be read or written."""

    status = Status.IO_ERROR


class BadFormat(VmxsimError, ValueError):
    """The input is not well formed."""

    status = Status.BAD_FORMAT


class Closed(VmxsimError, ValueError):
    """The object, or the machine it belongs to, has been closed."""


_BY_STATUS: dict[int, type[VmxsimError]] = {
    cls.status: cls
    for cls in (NoMemory, InvalidInput, AlreadyExists, NotFound, BadState, Unsupported, Busy, NotBacked, Denied, NoSpace,
                GuestFault, IoError, BadFormat)
}


def check(status: int, what: str, error: typing.Any = None) -> None:
    """Raises what belongs to a status other than OK. `error` is a ``struct vmxsim_error *`` or None."""
    if status:
        text = ffi.string(error.text).decode() if error is not None and error.text[0] != b"\0" else ""
        if not text:
            text = ffi.string(lib.vmxsim_status_text(status)).decode()
        raise _BY_STATUS.get(status, VmxsimError)(f"{what}: {text}")
