# SPDX-License-Identifier: Apache-2.0
"""Makes an experiment that shows a disagreement small: the fewest memory words, fields, accesses and steps that still show it."""
import vectors

ROUNDS = 20


def parts(case):
    """What can be taken away, one at a time: (name, key)."""
    found = [("memory", key) for key in case["memory"][1]]
    found += [("vmcs", key) for key in case.get("vmcs", [None, {}])[1]]
    found += [("steps", index) for index in range(len(case.get("steps", [])))]
    found += [("accesses", index) for index in range(len(case.get("accesses", [])) - 1)]
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
