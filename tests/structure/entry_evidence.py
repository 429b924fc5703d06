# SPDX-License-Identifier: Apache-2.0
"""What the recordings and the test cases say about each rule of a VM entry: sim/entry_evidence.def is what this makes now.

usage: entry_evidence.py --command VMXSIM --cc COMPILER [--update]     (--update writes the table instead of comparing)

Recordings (tests/vectors/). The model must agree with all of them first. An engine stops at the first check that fails; the
model lists every violated rule. So a case speaks for the violated rules that lead to exactly what the engine reported: error 7
for one on controls, exit reason 33 with its qualification, and so on. One such rule: the case is counted as `alone`;
several: as `together` for each. A case in which the guest was entered speaks for no rule. Where the engine departs from the
manual (`deviates`), the rules that lead to what the manual asks for are `contradicted`: all of them if the engine went
past their checks, otherwise only one that is the only one.

Sequences of instructions have no VMCS to judge from outside: they speak for the basic checks of VMLAUNCH and VMRESUME, by what the
instruction reported and by whether there was a current VMCS.

Test cases: tests/data/entry_cases.def after the preprocessor, since macros make several cases; recipes of the mutator; suites
that name the rule.
"""
import argparse
import difflib
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict

from common import ROOT, finish

TABLE = ROOT / "sim" / "entry_evidence.def"
VECTORS = ROOT / "tests" / "vectors"
KINDS = ("entry", "access", "instructions")
ENTERED = ("entered",)
HEADING = """\
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How each rule of a VM entry was cross-checked, and which tests exercise it. Made by tests/structure/entry_evidence.py,
 * which explains the counts; a test compares. Do not edit.
 *
 *   VMXSIM_ENTRY_ENGINE(key, name, version, how, cases)
 *       another engine: what was taken from it, and in how many cases a VM entry was judged
 *   VMXSIM_ENTRY_EVIDENCE(rule, engine, alone, together, contradicted)
 *       cases of an engine that speak for or against a rule; rules without a row have none
 *   VMXSIM_ENTRY_TESTS(rule, broken, holding, recipes, suites)
 *       cases of tests/data/entry_cases.def that break it, and that satisfy it at the boundary; recipes of the mutator;
 *       suites beside entry_rules and entry_generate that name it
 */
/* clang-format off */
"""


def output(*command, **options):
    """What a command prints; a failure ends the test."""
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    return run.returncode, run.stdout, run.stderr


def rules_of_table():
    """Names and ids of all rules, in order."""
    text = (ROOT / "include/vmxsim/entry_rules.def").read_text()
    return dict(re.findall(r'^VMXSIM_ENTRY_RULE\((\w+), "([^"]+)"', text, re.MULTILINE))


# ---- Recordings ----


class Evidence:
    """Counts per rule id and engine."""

    def __init__(self):
        self.engines = Counter()
        self.alone, self.together, self.contradicted = Counter(), Counter(), Counter()
        self.too_strict = 0

    def confirm(self, engine, rules):
        """An engine reported what these violated rules lead to."""
        kind = self.alone if len(rules) == 1 else self.together
        kind.update((rule, engine) for rule in rules)

    def contradict(self, engine, rules):
        """An engine did something else."""
        self.contradicted.update((rule, engine) for rule in rules)


def reported(expect):
    """The outcome of a VM entry in a recorded case: a tuple that names it."""
    if expect["result"] == "vmfail":
        return ("vmfail", expect.get("error", 0))
    if expect["result"] == "entry_failure":
        return ("failure", expect["exit_reason"], int(expect["qualification"], 0))
    return ENTERED


def stage(outcome):
    """Controls and host state, guest state, MSR loading, the guest itself."""
    if outcome == ENTERED:
        return 3
    return 0 if outcome[0] == "vmfail" else {33: 1, 34: 2}[outcome[1]]


def alternatives(expect):
    """All lawful outcomes; the observed one first."""
    return [reported(one) for one in expect.get("any_of", [expect])]


def leads_to(violation, outcomes):
    """Whether breaking this rule alone has one of these outcomes."""
    number = int(violation["outcome"].rsplit(" ", 1)[1])
    if violation["outcome"].startswith("VM-instruction error"):
        return ("vmfail", number) in outcomes
    if violation.get("qualification_varies"):
        return any(o[:2] == ("failure", number) for o in outcomes)
    return ("failure", number, int(violation["qualification"], 0)) in outcomes


def judge_case(command, path, case, engine, evidence):
    """Counts one case of kind entry or access."""
    status, text, error = output(command, "check", "--json", "--vector", path, "--case", case["id"])
    if status not in (0, 1):
        sys.exit(f"FAILED: {path.name} {case['id']}: {error}")
    report = json.loads(text)
    if report["undecided"]:
        sys.exit(f"FAILED: {path.name} {case['id']}: a rule is undecided")
    observed = alternatives(case["expect"])[0]
    lawful = alternatives(case.get("sdm", case["expect"]))
    wanted = lawful if "sdm" in case else [observed]
    rules = sorted({v["rule"] for v in report["violations"] if leads_to(v, wanted)})
    if observed in lawful:
        if (observed == ENTERED) == bool(rules):
            sys.exit(f"FAILED: {path.name} {case['id']}: no rule explains it")
        if observed != ENTERED and "deviates" not in case:
            evidence.confirm(engine, rules)
    elif not rules:
        evidence.too_strict += 1
    elif stage(observed) > min(map(stage, lawful)) or len(rules) == 1:
        evidence.contradict(engine, rules)


def judge_sequence(case, engine, evidence):
    """Counts the VM entries of a sequence of instructions; returns how many there are."""
    count = 0
    for rule, agrees in sequences.entries(case["steps"], case["expect"], case.get("sdm", case["expect"])):
        count += 1
        if rule and agrees:
            evidence.confirm(engine, [rule])
        elif rule:
            evidence.contradict(engine, [rule], case)
    return count


def judge_file(command, path, evidence):
    """Counts all cases of a vector file."""
    status, _, error = output(command, "replay", path)
    if status != 0:
        sys.exit(f"FAILED: the model does not agree with {path.name}: {error}")
    header, *cases = [json.loads(line) for line in path.read_text().splitlines()]
    engine = (header["source"]["engine"], header["source"]["version"])
    for case in cases:
        if case["kind"] == "instructions":
            evidence.engines[engine] += judge_sequence(case, engine, evidence)
        else:
            evidence.engines[engine] += 1
            judge_case(command, path, case, engine, evidence)


# ---- Tests ----


def count_cases(compiler):
    """Cases that break a rule and cases that satisfy it, per rule name."""
    marked = ("#define BREAKS_WITH(rule, ...) @broken rule\n#define BREAKS(rule, ...) @broken rule\n"
              "#define HOLDS(rule, ...) @holding rule\n#include \"data/entry_cases.def\"\n")
    status, text, error = output(compiler, "-E", "-P", "-x", "c", f"-I{ROOT / 'tests'}", "-", input=marked)
    if status != 0:
        sys.exit(f"FAILED: {error}")
    counts = {"broken": Counter(), "holding": Counter()}
    for kind, rule in re.findall(r"@(\w+) (\w+)", text):
        counts[kind][rule] += 1
    return counts["broken"], counts["holding"]


def count_recipes(compiler):
    """Recipes of the mutator per rule name."""
    marked = ("#define RECIPE(rule, ...) @recipe rule\n#define FORBIDDEN(rule, ...) @recipe rule\n"
              "#include \"entry_recipes.def\"\n")
    status, text, error = output(compiler, "-E", "-P", "-x", "c", f"-I{ROOT / 'sim'}", "-", input=marked)
    if status != 0:
        sys.exit(f"FAILED: {error}")
    return Counter(re.findall(r"@recipe (\w+)", text))


def naming_suites():
    """Other suites that name a rule, per rule name. The mutator's suite lists the rules it cannot break."""
    suites = defaultdict(set)
    for path in sorted((ROOT / "tests").glob("test_*.c")):
        suite = path.stem.removeprefix("test_")
        if suite in ("entry_rules", "entry_generate", "entry_evidence"):
            continue
        for rule in re.findall(r"VMXSIM_ENTRY_([A-Z0-9_]+)", path.read_text()):
            suites[rule].add(suite)
    return suites


# ---- The table ----


def key(engine):
    """What an engine is called in C."""
    return re.sub(r"\W+", "_", "_".join(engine)).upper()


def engine_rows(evidence):
    yield "#ifdef VMXSIM_ENTRY_ENGINE"
    for engine, cases in sorted(evidence.engines.items()):
        yield f'VMXSIM_ENTRY_ENGINE({key(engine)}, "{engine[0]}", "{engine[1]}", "recorded", {cases})'
    yield "#undef VMXSIM_ENTRY_ENGINE\n#endif\n"


def evidence_rows(rules, evidence):
    yield "#ifdef VMXSIM_ENTRY_EVIDENCE"
    for name, rule in rules.items():
        for engine in sorted(evidence.engines):
            counts = [kind[rule, engine] for kind in (evidence.alone, evidence.together, evidence.contradicted)]
            if any(counts):
                yield f"VMXSIM_ENTRY_EVIDENCE({name}, {key(engine)}, {', '.join(map(str, counts))})"
    yield "#undef VMXSIM_ENTRY_EVIDENCE\n#endif\n"


def test_rows(rules, compiler):
    broken, holding = count_cases(compiler)
    recipes, suites = count_recipes(compiler), naming_suites()
    yield "#ifdef VMXSIM_ENTRY_TESTS"
    for name in rules:
        named = " ".join(sorted(suites[name]))
        yield f'VMXSIM_ENTRY_TESTS({name}, {broken[name]}, {holding[name]}, {recipes[name]}, "{named}")'
    yield "#undef VMXSIM_ENTRY_TESTS\n#endif\n/* clang-format on */"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--command", required=True)
    parser.add_argument("--cc", required=True)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    rules, evidence = rules_of_table(), Evidence()
    for kind in KINDS:
        for path in sorted(VECTORS.glob(f"{kind}-*.jsonl")):
            judge_file(arguments.command, path, evidence)
    rows = [*engine_rows(evidence), *evidence_rows(rules, evidence), *test_rows(rules, arguments.cc)]
    table = HEADING + "\n".join(rows) + "\n"
    if arguments.update:
        TABLE.write_text(table)
    offenders = list(difflib.unified_diff(TABLE.read_text().splitlines(), table.splitlines(), TABLE.name,
                                          "made now", lineterm="", n=0))
    finish(offenders, f"{sum(evidence.engines.values())} VM entries, {len(evidence.alone)} rules alone, "
           f"{len(evidence.contradicted)} contradicted; {evidence.too_strict} refused that the manual allows")


if __name__ == "__main__":
    main()
