# SPDX-License-Identifier: Apache-2.0
"""Two recordings of the same experiments: where their answers differ."""
import answers
import vectors


def without_answer(case):
    return {key: value for key, value in case.items() if key in
            ("kind", "root", "vmcs", "memory", "accesses", "pkru", "launch_state", "instruction", "steps")}


def manual_answer(case):
    """What a model is compared with."""
    return case.get("sdm", case.get("expect"))


def compare(path_a, path_b):
    """{"cases": common ones, "missing": ids, "changed": ids, "differences": {id: reasons}}"""
    header, cases_a = vectors.read(path_a)
    _, cases_b = vectors.read(path_b)
    others = {case["id"]: case for case in cases_b}
    known = {case["id"] for case in cases_a}
    result = {"cases": 0, "missing": [case["id"] for case in cases_b if case["id"] not in known], "changed": [],
              "differences": {}}
    for case in cases_a:
        other = others.get(case["id"])
        if other is None:
            result["missing"].append(case["id"])
        elif without_answer(case) != without_answer(other):
            result["changed"].append(case["id"])
        else:
            result["cases"] += 1
            initial = {} if case["kind"] == "instructions" else vectors.words(header, case)
            found = answers.differences(manual_answer(case), manual_answer(other), initial)
            if found:
                result["differences"][case["id"]] = found
    return result
