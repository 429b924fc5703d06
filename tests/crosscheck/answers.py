# SPDX-License-Identifier: Apache-2.0
"""Comparing answers of two engines to the same experiment."""
import vectors

ENGINE_RESULTS = ("engine_crash", "engine_hang", "engine_reset", "not_runnable")


def is_missing(answer):
    """The engine has not run the experiment at all."""
    return isinstance(answer, dict) and answer.get("result") == "not_runnable"


def alternatives(answer):
    """The single answers that an answer allows, each with the bits that are open for all of them."""
    if "any_of" not in answer:
        return [answer]
    shared = answer.get("open", {})
    return [merge_open(one, shared) for one in answer["any_of"]]


def merge_open(answer, more):
    """The answer with further bits open."""
    if not more:
        return answer
    own = answer.get("open", {})
    merged = {"memory": {**own.get("memory", {})}}
    for key, mask in more.get("memory", {}).items():
        before = vectors.number(merged["memory"].get(key, "0x0"))
        merged["memory"][key] = vectors.hexadecimal(before | vectors.number(mask))
    if not merged["memory"]:
        del merged["memory"]
    for key in ("qualification", "instruction_info"):
        bits = vectors.number(own.get(key, "0x0")) | vectors.number(more.get(key, "0x0"))
        if bits:
            merged[key] = vectors.hexadecimal(bits)
    return {**answer, "open": merged}


def differing_bits(a, b, mask):
    """Do two hexadecimal strings differ outside the mask?"""
    return (vectors.number(a) ^ vectors.number(b)) & ~mask


def open_mask(answer, *path):
    for key in ("open", *path):
        answer = answer.get(key, {}) if isinstance(answer, dict) else {}
    return vectors.number(answer) if isinstance(answer, str) else 0


def memory_differences(a, b, initial):
    """Words of `memory` that differ where neither side leaves them open; unlisted words kept their value."""
    found = []
    for key in sorted(a["memory"].keys() | b["memory"].keys(), key=vectors.number):
        before = vectors.hexadecimal(initial.get(vectors.number(key), 0))
        one, other = a["memory"].get(key, before), b["memory"].get(key, before)
        mask = open_mask(a, "memory", key) | open_mask(b, "memory", key)
        if differing_bits(one, other, mask):
            found.append(f"memory {key}: {one} and {other}")
    return found


def single_differences(a, b, initial):
    """What two single answers say differently. Only keys that both have are compared, results always."""
    name = "status" if "status" in a else "result"
    if a.get(name) != b.get(name):
        return [f"{name}: {a.get(name)} and {b.get(name)}"]
    found = []
    for key in a.keys() & b.keys() - {"memory", "open", "why"}:
        if key in ("qualification", "instruction_info"):
            mask = open_mask(a, key) | open_mask(b, key)
            if not differing_bits(a[key], b[key], mask):
                continue
        elif a[key] == b[key] or (key == "values" and same_values(a[key], b[key])):
            continue
        found.append(f"{key}: {a[key]} and {b[key]}")
    if "memory" in a and "memory" in b:
        found += memory_differences(a, b, initial)
    return sorted(found)


def same_values(a, b):
    """Values of accesses; null says nothing."""
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b))


def differences(a, b, initial):
    """How the answers differ; empty if one of the alternatives of each is the same."""
    if isinstance(a, dict) != isinstance(b, dict):
        return ["an engine has not answered"]
    if isinstance(a, list):
        if len(a) != len(b):
            return [f"{len(a)} and {len(b)} steps"]
        for index, (one, other) in enumerate(zip(a, b)):
            found = single_differences(one, other, initial)
            if found:
                return [f"steps[{index}]: {line}" for line in found]
        return []
    first = None
    for one in alternatives(a):
        for other in alternatives(b):
            found = single_differences(one, other, initial)
            if not found:
                return []
            first = first or found
    return first
