# SPDX-License-Identifier: Apache-2.0
"""Vector files (docs/vectors.md): reading, writing, the values in them."""
import json


def number(text):
    """The value of a hexadecimal string of the format."""
    return int(text, 16)


def hexadecimal(value):
    return hex(value)


def read(path):
    """(header, cases) of a file."""
    with open(path, encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    if not lines:
        raise ValueError(f"{path}: empty file, no header")
    return lines[0], lines[1:]


def write(path, header, cases):
    with open(path, "w", encoding="utf-8") as stream:
        for line in [header, *cases]:
            stream.write(json.dumps(line, separators=(",", ":")) + "\n")


def words(header, case):
    """Memory of a case before it runs: address -> quadword, zeros left out."""
    name, changes = case["memory"]
    merged = {**header["memory"][name], **changes}
    return {number(key): number(value) for key, value in merged.items() if value != "0x0"}


def fields(header, case):
    """The VMCS of a case: encoding -> value, zeros left out."""
    name, changes = case["vmcs"]
    merged = {**header["vmcs"][name], **changes}
    return {number(key): number(value) for key, value in merged.items() if value != "0x0"}


def changes(template, wanted):
    """What turns the template (format strings) into `wanted` (numbers), zeros for what goes."""
    keys = {number(key) for key in template} | set(wanted)
    result = {}
    for key in sorted(keys):
        value = hexadecimal(wanted.get(key, 0))
        if template.get(hexadecimal(key), "0x0") != value:
            result[hexadecimal(key)] = value
    return result


def with_memory(header, case, wanted):
    """The case with exactly these words before it runs."""
    name = case["memory"][0]
    return {**case, "memory": [name, changes(header["memory"][name], wanted)]}


def with_fields(header, case, wanted):
    """The case with exactly this VMCS."""
    name = case["vmcs"][0]
    return {**case, "vmcs": [name, changes(header["vmcs"][name], wanted)]}
