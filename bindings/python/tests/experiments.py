# SPDX-License-Identifier: Apache-2.0
"""Experiments that campaigns of the tests run; workers import them from here."""
from __future__ import annotations

import os
import pathlib
import time
import typing

import vmxsim


def square(config: typing.Mapping[str, typing.Any], seed: int) -> dict[str, int]:
    """Counts its runs in a folder, if it is given one."""
    if "log" in config:
        log = pathlib.Path(config["log"])
        (log / f"{seed}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(config.get("seconds", 0))
    return {"value": seed * seed * config.get("factor", 1)}


def dies_once(config: typing.Mapping[str, typing.Any], seed: int) -> dict[str, int]:
    """The process of the first run with seed 3 ends without a word."""
    mark = pathlib.Path(config["mark"])
    if seed == 3 and not mark.exists():
        mark.touch()
        os._exit(1)
    return {"value": seed}


def always_dies(config: typing.Mapping[str, typing.Any], seed: int) -> dict[str, int]:
    os._exit(1)


def fails(config: typing.Mapping[str, typing.Any], seed: int) -> dict[str, int]:
    raise ZeroDivisionError(f"seed {seed}")


def broken_rules(config: typing.Mapping[str, typing.Any], seed: int) -> dict[str, list[str]]:
    """A real one: which rules a damaged VMCS breaks."""
    vmcs = vmxsim.Vmcs.valid(config["profile"])
    vmcs.break_rules(2, seed, config["profile"])
    return {"rules": sorted(rule.id for rule in vmxsim.check(vmcs, config["profile"]).rules)}
