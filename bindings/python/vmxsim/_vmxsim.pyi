# SPDX-License-Identifier: Apache-2.0
# The compiled module: made by cffi from the C headers.
import typing

ffi: typing.Any
lib: typing.Any
