# SPDX-License-Identifier: Apache-2.0
"""Makes an experiment that shows a disagreement small: the fewest memory words, fields, accesses and steps that still show it."""
import batch
import header as templates
import vectors

ROUNDS = 20
ENTRY_INFO = "0x4016"


def is_code(case, key):
    """A word with instructions that the experiment is about: without it, it would be about others."""
    return case["kind"] in ("access", "intercept") and vectors.number(key) & ~0xFFF == templates.CODE_PAGE


def is_fixed(case, key):
    """A field without which the experiment would be another one: where the code is, the event."""
    return key == (ENTRY_INFO if case["kind"] == "event" else hex(templates.GUEST_RIP) if case["kind"] in ("access", "intercept") else None)


def removable_accesses(case):
    """Of several instructions in a row none can be left out; of steps between rounds all but one."""
    accesses = case.get("accesses", [])
    types = [access["type"] for access in accesses]
    if len(accesses) <= 2:
        return range(len(accesses) - 1)
    steps = [kind in batch.ROUND_STEPS for kind in types] + [False]
    return [index for index, is_step in enumerate(steps) if is_step and (steps[index - 1] or steps[index + 1])]


def parts(case):
    """What can be taken away, one at a time: (name, key)."""
    found = [("memory", key) for key in case["memory"][1] if not is_code(case, key)]
    found += [("vmcs", key) for key in case.get("vmcs", [None, {}])[1] if not is_fixed(case, key)]
    found += [("steps", index) for index in range(len(case.get("steps", [])))]
    found += [("accesses", index) for index in removable_accesses(case)]
    return found


def without(case, taken):
    """The case without these parts."""
    result = dict(case)
    for name in ("memory", "vmcs"):
        if name in case:
            kept = {key: value for key, value in case[name][1].items() if (name, key) not in taken}
            result[name] = [case[name][0], kept]
    for name in ("steps", "accesses"):
        if name in case:
            result[name] = [value for index, value in enumerate(case[name]) if (name, index) not in taken]
    return result


def size(case):
    """{"words": changed memory words, "fields": changed VMCS fields, "accesses" or "steps"}"""
    return {"words": len(case["memory"][1]), "fields": len(case.get("vmcs", [None, {}])[1]),
            "steps": len(case.get("steps", case.get("accesses", [])))}


def chunks(found, count):
    """The list in about `count` pieces."""
    step = max(1, -(-len(found) // count))
    return [set(found[start:start + step]) for start in range(0, len(found), step)]


def minimize(case, still_differs, progress=None):
    """
    `still_differs(cases)` says of each whether it shows the disagreement. Ever smaller pieces are taken away: half of the
    parts at a time, then a quarter, down to single ones.
    """
    pieces = 2
    for _ in range(ROUNDS):
        found = parts(case)
        if not found:
            break
        candidates = [without(case, taken) for taken in chunks(found, pieces)]
        candidates = [{**candidate, "id": f"{case['id']}-{index}"} for index, candidate in enumerate(candidates)
                      if candidate.get("steps", [0]) and candidate.get("accesses", [0])]
        hits = [candidate for candidate, differs in zip(candidates, still_differs(candidates)) if differs]
        if hits:
            case = {**min(hits, key=lambda one: sum(size(one).values())), "id": case["id"]}
        elif pieces >= len(found):
            break
        else:
            pieces *= 2
        if progress:
            progress(size(case))
    return case
