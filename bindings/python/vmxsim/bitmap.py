# SPDX-License-Identifier: Apache-2.0
"""I/O and MSR bitmaps."""
from __future__ import annotations

import typing

from vmxsim import arrays
from vmxsim._resource import Resource
from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import Intercept, MsrAccess
from vmxsim.errors import InvalidInput, check
from vmxsim.machine import Machine

__all__ = ["IoBitmap", "MsrBitmap"]


class IoBitmap(Resource):
    """I/O bitmaps A and B: which ports cause VM exits.

    >>> with Machine() as machine, machine.io_bitmap(Intercept.PASSTHROUGH) as bitmap:
    ...     bitmap.set(0x60, 1, Intercept.INTERCEPT)
    ...     bitmap.test(0x60), bitmap.test(0x5e, 4), bitmap.test(0x61)
    (True, True, False)
    """

    def __init__(self, machine: Machine, everything: Intercept = Intercept.INTERCEPT) -> None:
        machine._check_open()
        super().__init__(machine)
        self._raw = ffi.new("struct vmxc_io_bitmap *")
        check(lib.vmxc_io_bitmap_init(self._raw, machine._hal, everything), "I/O bitmap")
        self._owns_value(machine, lib.vmxc_io_bitmap_fini)

    def _twin(self, machine: Machine) -> IoBitmap:
        return self._twin_value(machine, lib.vmxc_io_bitmap_fini, "a", "b")

    @property
    def hpas(self) -> tuple[int, int]:
        """Addresses of bitmaps A and B, for the VMCS."""
        self._check_open()
        return int(self._raw.a.hpa), int(self._raw.b.hpa)

    def set(self, port: int, size: int = 1, intercept: Intercept = Intercept.INTERCEPT) -> None:
        """The `size` (1, 2 or 4) ports from `port` on."""
        self._check_open()
        check(lib.vmxc_io_bitmap_set(self._raw, _port(port), size, intercept), f"port {port:#x}")

    def set_range(self, first: int, last: int, intercept: Intercept = Intercept.INTERCEPT) -> None:
        """The ports from `first` to `last`, both included."""
        self._check_open()
        check(lib.vmxc_io_bitmap_set_range(self._raw, _port(first), _port(last), intercept), f"ports {first:#x} to {last:#x}")

    def set_all(self, intercept: Intercept) -> None:
        """Every port."""
        self._check_open()
        call = lib.vmxc_io_bitmap_intercept_all if intercept else lib.vmxc_io_bitmap_passthrough_all
        check(call(self._raw), "I/O bitmap")

    @typing.overload
    def test(self, port: int, size: int = 1) -> bool: ...
    @typing.overload
    def test(self, port: typing.Any, size: int = 1) -> typing.Any: ...

    def test(self, port: typing.Any, size: int = 1) -> typing.Any:
        """Whether an access of `size` bytes causes a VM exit: of a port, or of an array of ports (an array of truth values)."""
        self._check_open()
        if size not in (1, 2, 4):
            raise InvalidInput(f"an I/O instruction accesses 1, 2 or 4 bytes, not {size}")
        if isinstance(port, int):
            return bool(lib.vmxc_io_bitmap_exits(self._raw, _port(port), size))
        with arrays.column(port, 2) as ports:
            result, room = arrays.numbers(len(ports), 1)
            with room:
                lib.vmxpy_io_test_many(self._raw, ports, len(ports), size, room)
        return arrays.booleans(result)


def _port(port: int) -> int:
    if not 0 <= port <= 0xffff:
        raise InvalidInput(f"{port:#x} is no port")
    return port


def _msr(msr: int) -> int:
    if not 0 <= msr <= 0xffffffff:
        raise InvalidInput(f"{msr:#x} is no MSR index")
    return msr


class MsrBitmap(Resource):
    """The MSR bitmaps: which accesses to MSRs cause VM exits. Those outside both ranges always do.

    >>> with Machine() as machine, machine.msr_bitmap() as bitmap:
    ...     bitmap.set(0x1b, MsrAccess.READ, Intercept.PASSTHROUGH)
    ...     bitmap.test(0x1b), bitmap.test(0x1b, MsrAccess.WRITE), bitmap.test(0x40000000)
    (False, True, True)
    """

    def __init__(self, machine: Machine, everything: Intercept = Intercept.INTERCEPT) -> None:
        machine._check_open()
        super().__init__(machine)
        self._raw = ffi.new("struct vmxc_msr_bitmap *")
        check(lib.vmxc_msr_bitmap_init(self._raw, machine._hal, everything), "MSR bitmap")
        self._owns_value(machine, lib.vmxc_msr_bitmap_fini)

    def _twin(self, machine: Machine) -> MsrBitmap:
        return self._twin_value(machine, lib.vmxc_msr_bitmap_fini, "frame")

    @property
    def hpa(self) -> int:
        """Address of the bitmaps, for the VMCS."""
        self._check_open()
        return int(self._raw.frame.hpa)

    @staticmethod
    def covers(msr: int) -> bool:
        """True if the bitmaps have bits for this MSR."""
        return bool(lib.vmxc_msr_bitmap_covers(_msr(msr)))

    def set(self, msr: int, access: MsrAccess = MsrAccess.READ | MsrAccess.WRITE,
            intercept: Intercept = Intercept.INTERCEPT) -> None:
        """The bits of one MSR. `InvalidInput` if the bitmaps have none for it."""
        self._check_open()
        check(lib.vmxc_msr_bitmap_set(self._raw, _msr(msr), MsrAccess.require(access), intercept), f"MSR {msr:#x}")

    def set_range(self, first: int, last: int, access: MsrAccess = MsrAccess.READ | MsrAccess.WRITE,
                  intercept: Intercept = Intercept.INTERCEPT) -> None:
        """The MSRs from `first` to `last`, both included and in the same range."""
        self._check_open()
        check(lib.vmxc_msr_bitmap_set_range(self._raw, _msr(first), _msr(last), MsrAccess.require(access), intercept),
              f"MSRs {first:#x} to {last:#x}")

    def set_all(self, intercept: Intercept) -> None:
        """Every MSR of both ranges, both directions."""
        self._check_open()
        call = lib.vmxc_msr_bitmap_intercept_all if intercept else lib.vmxc_msr_bitmap_passthrough_all
        check(call(self._raw), "MSR bitmap")

    @typing.overload
    def test(self, msr: int, access: MsrAccess = MsrAccess.READ) -> bool: ...
    @typing.overload
    def test(self, msr: typing.Any, access: MsrAccess = MsrAccess.READ) -> typing.Any: ...

    def test(self, msr: typing.Any, access: MsrAccess = MsrAccess.READ) -> typing.Any:
        """Whether an access causes a VM exit: of an MSR, or of an array of MSRs (an array of truth values)."""
        self._check_open()
        wanted = MsrAccess.require(access)
        if not wanted:
            raise InvalidInput("an access needs a direction")
        if isinstance(msr, int):
            return bool(lib.vmxc_msr_bitmap_exits(self._raw, _msr(msr), wanted))
        with arrays.column(msr, 4) as msrs:
            result, room = arrays.numbers(len(msrs), 1)
            with room:
                lib.vmxpy_msr_test_many(self._raw, msrs, len(msrs), wanted, room)
        return arrays.booleans(result)
