# SPDX-License-Identifier: Apache-2.0
"""The C API itself: `lib` has every function and constant of the public headers, `ffi` makes their arguments.

Nothing here checks arguments or lifetimes. Objects of the package keep their C pointer in ``_raw``.
"""
from __future__ import annotations

from vmxsim._vmxsim import ffi, lib

__all__ = ["ffi", "lib"]
