# SPDX-License-Identifier: Apache-2.0
"""VM entries in sequences of instructions: which of the basic checks each speaks for."""


def basic_rule(step, result, has_current):
    """The basic check that VMLAUNCH or VMRESUME reported; None: none of them."""
    if result["status"] == "vmfail_invalid":
        return "ENT.SHADOWCUR" if has_current else "ENT.NOVMCS"
    if result["status"] == "exception":
        return {6: "ENT.UD.MODE", 13: "ENT.GP.CPL"}[result["vector"]]
    if result["status"] == "vmfail_valid" and result["error"] == 26:
        return "ENT.MOVSS"
    if result["status"] == "vmfail_valid" and result["error"] in (4, 5):
        return "ENT.LAUNCH.CLEAR" if step["op"] == "vmlaunch" else "ENT.RESUME.LAUNCHED"
    return None


def next_current(current, step, result):
    """The current VMCS after a step; None: there is none."""
    if result["status"] != "ok":
        return current
    if step["op"] == "vmptrld":
        return step["address"]
    if step["op"] in ("vmxon", "vmxoff") or (step["op"] == "vmclear" and step["address"] == current):
        return None
    return current


def entries(steps, did, should):
    """(rule or None, the engine reported it) of each VMLAUNCH and VMRESUME, by what they did and what they should have done."""
    current = None
    for step, result, manual in zip(steps, did, should):
        if step["op"] in ("vmlaunch", "vmresume"):
            rule = basic_rule(step, manual, current is not None)
            yield rule, result == manual
        current = next_current(current, step, manual)
