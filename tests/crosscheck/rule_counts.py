# SPDX-License-Identifier: Apache-2.0
"""
What a run says of each rule of a VM entry, and whether every rule that the engine offers was broken alone.

A case in which one rule is violated, and no other, hits the rule alone. The engine agrees, or does otherwise as a known deviation
predicts. unreachable.json has the rules that cannot be hit on a CPU model, with the reason. It is true: a rule that is listed and
hit, or not listed and not hit, is a fault of the run.
"""
import collections
import json
import os
import re

import answers
import deviations
import sequences
import verdicts

HERE = os.path.dirname(os.path.abspath(__file__))
RULES = os.path.join(HERE, os.pardir, os.pardir, "include", "vmxsim", "entry_rules.def")
UNREACHABLE = os.path.join(HERE, "unreachable.json")
# Models of Bochs that the reasons are about.
MODELS = ("corei7_icelake_u", "corei7_skylake_x", "tigerlake", "broadwell_ult")
# What must have been run for a verdict on what was not hit: entry has a case for each rule first (generate_entry.py).
IN_SEQUENCES = ("ENT.UD.MODE", "ENT.NOVMCS")


def all_rules():
    """Ids in the order of the table."""
    with open(RULES, encoding="utf-8") as stream:
        return re.findall(r'^VMXSIM_ENTRY_RULE\(\w+, "([^"]+)"', stream.read(), re.MULTILINE)


def unreachable(engine, model):
    """{rule: reason} of a CPU model; None if nothing is known about it."""
    if engine != "bochs" or model not in MODELS:
        return None
    with open(UNREACHABLE, encoding="utf-8") as stream:
        groups = json.load(stream)
    return {rule: group["why"] for group in groups if model in group.get("models", MODELS) for rule in group["rules"]}


class Rule:
    """Cases of one rule."""

    def __init__(self):
        self.hit, self.first = 0, None  # violated alone, and the first such case
        self.alone, self.together, self.contradicted = 0, 0, 0
        self.deviations = collections.Counter()

    def as_json(self):
        return {"hit": self.hit, "alone": self.alone, "together": self.together, "contradicted": self.contradicted,
                "deviations": dict(sorted(self.deviations.items()))}


def leads_to(violation, answer):
    """Breaking this rule alone has this answer."""
    wanted = deviations.single_entry_answer(violation, deviations.stage_of(violation))
    return not answers.differences(wanted, answer, {})


class RuleCounts:
    """Counts over the verdicts of a run."""

    def __init__(self, given):
        self.rules = collections.defaultdict(Rule)
        self.entries, self.ran = 0, collections.Counter()
        for verdict in given:
            self.ran[verdict.case["kind"]] += 1
            if verdict.kind in (verdicts.AGREES, verdicts.DEVIATES):
                self._add(verdict)

    def _add(self, verdict):
        if verdict.case["kind"] == "instructions":
            manual = verdict.prediction.manual
            for rule, agrees in sequences.entries(verdict.case["steps"], verdict.answer, manual):
                self.entries += 1
                if rule:
                    self._count(verdict, rule, agrees)
            return
        self.entries += 1
        violated = verdict.prediction.violated
        if len(violated) == 1:
            refused = verdict.answer.get("result") in ("vmfail", "entry_failure")
            self._count(verdict, violated[0]["rule"], verdict.kind == verdicts.AGREES, refused)
        elif verdict.kind == verdicts.AGREES:
            for one in violated:
                self.rules[one["rule"]].together += leads_to(one, verdict.answer)

    def _count(self, verdict, name, agrees, confirms=True):
        """One rule violated alone. Where the manual lets a processor enter all the same, that agrees and confirms nothing."""
        rule = self.rules[name]
        rule.hit, rule.first = rule.hit + 1, rule.first or verdict.case["id"]
        rule.alone += agrees and confirms
        rule.contradicted += not agrees
        rule.deviations.update(verdict.ids if not agrees else [])

    def hits(self):
        return {name for name, rule in self.rules.items() if rule.hit}

    def _was_run(self, rule, rule_count):
        return self.ran["instructions"] > 1 if rule in IN_SEQUENCES else self.ran["entry"] >= rule_count

    def faults(self, engine, model):
        """Lines about what unreachable.json says and what was hit."""
        listed, rules = unreachable(engine, model), all_rules()
        if listed is None:
            return []
        wrong = [f"{rule}: listed as unreachable, and broken alone in {self.rules[rule].first}"
                 for rule in rules if rule in listed and self.rules[rule].hit]
        return wrong + [f"{rule}: not broken alone in any case" for rule in rules
                        if rule not in listed and not self.rules[rule].hit and self._was_run(rule, len(rules))]

    def as_json(self, engine, version, model, seed):
        """What --rule-counts writes."""
        return {"engine": engine, "version": version, "model": model, "seed": seed, "entries": self.entries,
                "rules": {rule: self.rules[rule].as_json() for rule in all_rules() if rule in self.rules},
                "unreachable": unreachable(engine, model) or {}}


def write(path, counts):
    """One line for each rule, so that changes can be read."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in counts.items() if not isinstance(value, dict)]
    for key in ("rules", "unreachable"):
        rows = ",\n".join(f"  {json.dumps(rule)}: {json.dumps(value)}" for rule, value in counts[key].items())
        lines.append(f" {json.dumps(key)}: {{\n{rows}\n }}")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("{\n" + ",\n".join(lines) + "\n}\n")
