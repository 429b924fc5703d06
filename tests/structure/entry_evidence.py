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

Large runs (tests/crosscheck/rule_counts/, one file per CPU model, from `scripts/crosscheck.sh --keep`): the same counts over
generated experiments, with the seed that makes them again, and which rules cannot be broken there. Their reasons must be those
of tests/crosscheck/unreachable.json.

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

sys.path.insert(0, str(ROOT / "tests" / "crosscheck"))
import rule_counts  # pylint: disable=wrong-import-position
import sequences  # pylint: disable=wrong-import-position

TABLE = ROOT / "sim" / "entry_evidence.def"
VECTORS = ROOT / "tests" / "vectors"
RUNS = ROOT / "tests" / "crosscheck" / "rule_counts"
KINDS = ("entry", "access", "instructions")
ENTERED = ("entered",)
HEADING = """\
/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How each rule of a VM entry was cross-checked, and which tests exercise it. Made by tests/structure/entry_evidence.py,
 * which explains the counts; a test compares. Do not edit.
 *
 *   VMXSIM_ENTRY_ENGINE(key, name, version, model, how, cases)
 *       another engine, perhaps one of its CPU models: what was taken from it, and in how many cases a VM entry was judged
 *   VMXSIM_ENTRY_EVIDENCE(rule, engine, alone, together, contradicted, deviations)
 *       cases of an engine that speak for or against a rule, and the ids of the deviations (tests/vectors/deviations.json)
 *       behind those against it; rules without a row have none
 *   VMXSIM_ENTRY_UNREACHABLE(rule, engine, why)
 *       no experiment can break this rule alone there
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
        self.deviations, self.unreachable = defaultdict(set), {}
        self.too_strict = 0

    def confirm(self, engine, rules):
        """An engine reported what these violated rules lead to."""
        kind = self.alone if len(rules) == 1 else self.together
        kind.update((rule, engine) for rule in rules)

    def contradict(self, engine, rules, case):
        """An engine did something else."""
        self.contradicted.update((rule, engine) for rule in rules)
        for rule in rules:
            self.deviations[rule, engine].add(case["deviates"])

    def add_run(self, engine, run):
        """The counts of a large run."""
        self.engines[engine] = run["entries"]
        for rule, counts in run["rules"].items():
            for name in ("alone", "together", "contradicted"):
                getattr(self, name)[rule, engine] += counts[name]
            self.deviations[rule, engine].update(counts["deviations"])
        self.unreachable.update({(rule, engine): why for rule, why in run["unreachable"].items()})


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
        evidence.contradict(engine, rules, case)


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
    engine = (header["source"]["engine"], header["source"]["version"], "", "recorded")
    for case in cases:
        if case["kind"] == "instructions":
            evidence.engines[engine] += judge_sequence(case, engine, evidence)
        else:
            evidence.engines[engine] += 1
            judge_case(command, path, case, engine, evidence)


# ---- Large runs ----


def read_runs(evidence):
    """Lines about what the files of the runs say that is not so."""
    rules, wrong = set(rule_counts.all_rules()), []
    known = set(json.loads((VECTORS / "deviations.json").read_text()))
    for path in sorted(RUNS.glob("*.json")):
        run = json.loads(path.read_text())
        named = {name for counts in run["rules"].values() for name in counts["deviations"]}
        if path.stem != run["model"] or (run["unreachable"] != rule_counts.unreachable(run["engine"], run["model"])):
            wrong.append(f"{path.name}: not of this model, or with other reasons than unreachable.json")
        wrong += [f"{path.name}: {rule}: there is no such rule" for rule in {*run["rules"], *run["unreachable"]} - rules]
        wrong += [f"{path.name}: {name}: not in deviations.json" for name in named - known]
        wrong += [f"{path.name}: {rule}: neither broken alone nor unreachable" for rule in sorted(rules - run["unreachable"].keys())
                  if not run["rules"].get(rule, {}).get("hit")]
        evidence.add_run((run["engine"], run["version"], run["model"], f"seed {run['seed']}"), run)
    return wrong


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
    return re.sub(r"\W+", "_", "_".join(part for part in engine[:3] if part)).upper()


def quoted(text):
    return f'"{text}"'


def engine_rows(evidence):
    yield "#ifdef VMXSIM_ENTRY_ENGINE"
    for engine, cases in sorted(evidence.engines.items()):
        yield f'VMXSIM_ENTRY_ENGINE({key(engine)}, {", ".join(quoted(part) for part in engine)}, {cases})'
    yield "#undef VMXSIM_ENTRY_ENGINE\n#endif\n"


def evidence_rows(rules, evidence):
    yield "#ifdef VMXSIM_ENTRY_EVIDENCE"
    for name, rule in rules.items():
        for engine in sorted(evidence.engines):
            counts = [kind[rule, engine] for kind in (evidence.alone, evidence.together, evidence.contradicted)]
            if any(counts):
                named = quoted(" ".join(sorted(evidence.deviations[rule, engine])))
                yield f"VMXSIM_ENTRY_EVIDENCE({name}, {key(engine)}, {', '.join(map(str, counts))}, {named})"
    yield "#undef VMXSIM_ENTRY_EVIDENCE\n#endif\n"
    yield "#ifdef VMXSIM_ENTRY_UNREACHABLE"
    for name, rule in rules.items():
        for engine in sorted(evidence.engines):
            if (rule, engine) in evidence.unreachable:
                yield f"VMXSIM_ENTRY_UNREACHABLE({name}, {key(engine)}, {quoted(evidence.unreachable[rule, engine])})"
    yield "#undef VMXSIM_ENTRY_UNREACHABLE\n#endif\n"


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
    wrong = read_runs(evidence)
    rows = [*engine_rows(evidence), *evidence_rows(rules, evidence), *test_rows(rules, arguments.cc)]
    table = HEADING + "\n".join(rows) + "\n"
    if arguments.update:
        TABLE.write_text(table)
    offenders = list(difflib.unified_diff(TABLE.read_text().splitlines(), table.splitlines(), TABLE.name,
                                          "made now", lineterm="", n=0))
    counted = [len({rule for (rule, _), cases in kind.items() if cases}) for kind in (evidence.alone, evidence.contradicted)]
    finish(wrong + offenders, f"{sum(evidence.engines.values())} VM entries, {counted[0]} rules alone, "
           f"{counted[1]} contradicted; {evidence.too_strict} refused that the manual allows")


if __name__ == "__main__":
    main()
