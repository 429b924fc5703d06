#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The cross-check rig: the same experiments on an engine and on the model. See docs/cross-check.md."""
import argparse
import collections
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# pylint: disable=wrong-import-position
import answers
import compare
import deviations
import engines
import fetches
import generate
import header as headers
import minimize
import model_engine
import recorded_engine
import rule_counts
import vectors
import verdicts

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir)
DEVIATIONS = os.path.join(headers.VECTORS, "deviations.json")
CHUNK = 5000
AGREED, DISAGREED, WRONG_USE, UNAVAILABLE = 0, 1, 2, 77


class Mistake(Exception):
    """Wrong input; the text is the one line to print."""


# ---- Arguments ----

def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="run.py", description="Runs the same experiments on an engine and on the model, and compares.",
        epilog="exit status: 0 everything agrees or deviates as predicted; 1 something differs; 2 wrong use; "
               "77 the engine cannot run here")
    parser.add_argument("--engine", choices=["bochs", "kvm", "model", "recording"], default="model",
                        help="recording: with --replay, the answers are those of the file")
    parser.add_argument("--model", metavar="CPU", help="the engine's CPU model, or the model's profile")
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "dev"), help="build directory (default: build/dev)")
    parser.add_argument("--vmxsim", help="the vmxsim command to compare with (default: that of the build directory)")
    parser.add_argument("--jobs", type=int, default=1, help="machines at a time")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--generate", type=int, metavar="SEED", help="make experiments, run them, compare with the model")
    action.add_argument("--replay", metavar="FILE", help="run the experiments of a vector file, compare with the model")
    action.add_argument("--compare", nargs=2, metavar=("A", "B"), help="compare two recordings")
    action.add_argument("--minimize", nargs=2, metavar=("FILE", "CASE"), help="shrink a case that differs; needs --record")
    action.add_argument("--capture-profile", action="store_true", help="print the engine's profile for vmxsim")
    parser.add_argument("--count", default="1000", help="experiments of each kind, or kind=N,kind=N")
    parser.add_argument("--kinds", default=",".join(generate.KINDS), help="of " + ",".join(generate.KINDS))
    parser.add_argument("--record", metavar="FILE", help="write the engine's answers as a vector file")
    parser.add_argument("--differences", metavar="FILE", help="write the cases that differ as a vector file")
    parser.add_argument("--rule-counts", metavar="FILE",
                        help="write what the run says of each rule of a VM entry (scripts/crosscheck.sh --keep)")
    parser.add_argument("--require-deviations", action="store_true", help="fail if a known deviation of the engine is not seen")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser.parse_args(arguments)


def counts_of(options):
    kinds = options.kinds.split(",")
    for kind in kinds:
        if kind not in generate.KINDS:
            raise Mistake(f"there is no kind \"{kind}\"")
    try:
        if "=" not in options.count:
            return {kind: int(options.count) for kind in kinds}
        given = dict(part.split("=") for part in options.count.split(","))
        return {kind: int(given[kind]) for kind in kinds if kind in given}
    except ValueError as error:
        raise Mistake(f"--count {options.count}: neither a number nor kind=N,kind=N") from error


def open_model(options):
    command = options.vmxsim or os.path.join(options.build, "bin", "vmxsim")
    if not os.path.exists(command):
        raise Mistake(f"{command}: not built")
    return model_engine.ModelEngine(command, options.model if options.engine == "model" and options.model else "icelake")


def open_engine(options, model):
    payload = {"payload": os.path.join(options.build, "tests", "crosscheck", "payload"), "jobs": options.jobs}
    if options.engine == "bochs":
        return engines.BochsEngine(model=options.model or "corei7_icelake_u", **payload)
    if options.engine == "kvm":
        return engines.QemuEngine(**payload)
    if options.engine == "recording":
        raise Mistake("--engine recording goes with --replay")
    return model


def progress_line(text):
    if sys.stderr.isatty():
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def end_progress():
    progress_line("")


# ---- Recording ----

def recorded(verdict):
    """A case with what the engine did, and what the manual leaves open or says instead."""
    prediction, answer = verdict.prediction, verdict.answer
    case = dict(prediction.case)
    if verdict.kind == verdicts.NOT_RUN:
        case["expect"] = {"result": "not_runnable", "why": verdict.reasons[0]}
    elif not isinstance(answer, dict) or answer.get("result") in answers.ENGINE_RESULTS:
        case["expect"] = answer
    else:
        known = prediction.manual if verdict.kind == verdicts.AGREES else prediction.answer
        case["expect"] = allow(known or {}, answer)
    if verdict.kind == verdicts.DEVIATES:
        case["deviates"], case["sdm"] = verdict.ids[0], prediction.manual
    return case


def allow(known, answer):
    """The answer first, then the others that are lawful; with what is open."""
    if "any_of" in known and "any_of" not in answer:
        same = [one for one in known["any_of"] if not answers.differences(one, answer, {})]
        others = [one for one in known["any_of"] if one not in same]
        return {"any_of": [answers.merge_open(answer, same[0].get("open")), *others]} if same else answer
    return answers.merge_open(answer, known.get("open"))


# ---- Runs ----

class Run:
    """Experiments on one engine, in pieces; what came of them."""

    def __init__(self, engine, model, header, generated=False):
        self.engine, self.model, self.header, self.generated = engine, model, header, generated
        self.verdicts = []

    def add(self, cases, kind):
        for start in range(0, len(cases), CHUNK):
            piece = cases[start:start + CHUNK]
            given = self.engine.run(self.header, piece, lambda done, start=start: progress_line(
                f"{self.engine.name} {self.engine.model}: {kind}: {start + done} of {len(cases)}"))
            judged = verdicts.judge(self.model, self.header, self.engine.name, piece, given)
            for verdict in judged:
                verdict.group = kind if kind in generate.KINDS else verdict.group
            self.verdicts += judged
        end_progress()

    def differing(self):
        return [verdict for verdict in self.verdicts if verdict.kind == verdicts.DIFFERS]

    def record(self, path, chosen):
        """A case of a recording has one deviation at most; the others are left out."""
        vectors.write(path, self.header, [recorded(verdict) for verdict in chosen if len(verdict.ids) <= 1])


def report(run, options):
    """Prints the result; the exit status."""
    counts, seen = verdicts.count(run.verdicts), verdicts.deviations_seen(run.verdicts)
    known = deviations.table_of(run.engine.name).ids()
    unseen = sorted(known - seen.keys()) if options.require_deviations else []
    rules = rule_counts.RuleCounts(run.verdicts)
    result = {"engine": run.engine.name, "version": run.engine.version, "model": run.engine.model,
              "seed": run.header["source"].get("seed"), "kinds": counts, "deviations": dict(sorted(seen.items())),
              "allowed": verdicts.allowed([one for one in run.verdicts if one.group == "stale"]),
              "unseen": unseen, "not_run": not_run(run.verdicts), "rules": rule_summary(run, rules),
              "differences": [{"id": one.case["id"], "reasons": one.reasons} for one in run.differing()]}
    if options.rule_counts:
        rule_counts.write(options.rule_counts,
                          rules.as_json(run.engine.name, run.engine.version, run.engine.model, result["seed"]))
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print_report(result)
    wrong = run.differing() or unseen or result["rules"]["faults"] or not run.verdicts
    return DISAGREED if wrong else AGREED


def rule_summary(run, rules):
    """Of the rules of a VM entry: which were broken alone, which cannot be. Only a generated run is expected to break all."""
    listed = rule_counts.unreachable(run.engine.name, run.engine.model)
    hits = rules.hits()
    return {"hit_alone": len(hits), "reachable": len(rule_counts.all_rules()) - len(listed or {}),
            "not_hit": [rule for rule in rule_counts.all_rules() if rule not in hits and rule not in (listed or {})],
            "unreachable": listed or {}, "faults": rules.faults(run.engine.name, run.engine.model) if run.generated else []}


def not_run(given):
    return dict(collections.Counter(verdict.reasons[0] for verdict in given if verdict.kind == verdicts.NOT_RUN))


def print_report(result):
    name = f"{result['engine']} {result['version']} {result['model']}"
    for difference in result["differences"][:20]:
        print(f"{difference['id']}: differs\n    " + "\n    ".join(difference["reasons"]))
    for kind, counted in result["kinds"].items():
        print(f"{name}: seed {result['seed']}: {kind}: {sum(counted.values())} cases, " +
              ", ".join(f"{counted[verdict]} {verdict}" for verdict in
                        (verdicts.AGREES, verdicts.DEVIATES, verdicts.DIFFERS, verdicts.NOT_RUN)))
    if result["allowed"]:
        print("    stale: answers that caches allow: " + ", ".join(f"{what}: {n}" for what, n in result["allowed"].items()))
    for identity, cases in result["deviations"].items():
        print(f"    {identity}: {cases}")
    for reason, cases in result["not_run"].items():
        print(f"    not run: {cases}: {reason}")
    for identity in result["unseen"]:
        print(f"    {identity}: no case shows it")
    print_rules(name, result["rules"])


def print_rules(name, rules):
    print(f"{name}: rules of VM entry hit alone: {rules['hit_alone']} of {rules['reachable']}, not reachable: "
          f"{len(rules['unreachable'])}")
    for why in dict.fromkeys(rules["unreachable"].values()):
        names = [rule for rule, reason in rules["unreachable"].items() if reason == why]
        print(f"    not reachable: {why}: {', '.join(names)}")
    if rules["not_hit"]:
        print(f"    not hit alone: {', '.join(rules['not_hit'])}")
    for fault in rules["faults"]:
        print(f"    wrong: {fault}")


def check_texts():
    """Every deviation of the tables is described."""
    with open(DEVIATIONS, encoding="utf-8") as stream:
        described = json.load(stream)
    for engine, table in deviations.TABLES.items():
        for identity in table.ids():
            if described.get(identity, {}).get("engine") != engine:
                raise Mistake(f"{identity}: not described in {os.path.normpath(DEVIATIONS)}")


def run_generated(options, model):
    engine = open_engine(options, model)
    header = headers.make(engine, engine.capture_profile(), options.generate)
    run = Run(engine, model, header, generated=True)
    program = os.path.join(options.build, "tests", "crosscheck", "entry_states")
    for kind, count in counts_of(options).items():
        cases = generate.generate(header, options.generate, kind, count, program)
        run.add(fetches.settle(model, header, cases) if kind == "access" else cases, kind)
    return finish(run, options)


def run_file(options, model):
    header, cases = vectors.read(options.replay)
    recording = options.engine == "recording"
    engine = recorded_engine.RecordedEngine(header, cases) if recording else open_engine(options, model)
    source = {"engine": engine.name, "version": engine.version, "model": engine.model}
    header = {**header, "source": source, "cpu": engine.capture_profile(), "version": 2}
    plain = [{key: value for key, value in case.items() if key not in ("expect", "sdm", "deviates", "note", "trace")}
             for case in cases]
    run = Run(engine, model, header)
    run.add(plain, "all")
    return finish(run, options)


def finish(run, options):
    if options.record:
        run.record(options.record, run.verdicts)
    if options.differences:
        run.record(options.differences, run.differing())
    return report(run, options)


# ---- Other actions ----

def run_minimize(options, model):
    path, identity = options.minimize
    engine = open_engine(options, model)
    header, cases = vectors.read(path)
    chosen = [case for case in cases if case["id"] == identity]
    if not chosen:
        raise Mistake(f"{path}: there is no case \"{identity}\"")
    if not options.record:
        raise Mistake("--minimize needs --record FILE for what is left")
    case = {key: value for key, value in chosen[0].items() if key not in ("expect", "sdm", "deviates", "note", "trace")}

    def still_differs(candidates):
        given = engine.run(header, candidates)
        return [one.kind == verdicts.DIFFERS for one in verdicts.judge(model, header, engine.name, candidates, given)]

    if not still_differs([case])[0]:
        raise Mistake(f"{identity}: {engine.name} and the model do not differ")
    small = minimize.minimize(case, still_differs, lambda left: progress_line(f"{identity}: {left}"))
    end_progress()
    run = Run(engine, model, header)
    run.add([small], small["kind"])
    run.record(options.record, run.verdicts)
    result = {"id": identity, **minimize.size(small), "reasons": run.verdicts[0].reasons}
    print(json.dumps(result, indent=2) if options.json else
          f"{identity}: {result['words']} memory words, {result['fields']} fields, {result['steps']} accesses or steps")
    return AGREED


def run_compare(options):
    result = compare.compare(*options.compare)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for identity, reasons in result["differences"].items():
            print(f"{identity}: " + "; ".join(reasons))
        print(f"{result['cases']} cases compared, {len(result['differences'])} differ, {len(result['missing'])} in one file "
              f"alone, {len(result['changed'])} not the same experiment")
    clean = result["cases"] and not (result["differences"] or result["missing"] or result["changed"])
    return AGREED if clean else DISAGREED


def act(options):
    if options.compare:
        return run_compare(options)
    check_texts()
    model = open_model(options)
    if options.capture_profile:
        print(json.dumps(open_engine(options, model).capture_profile(), indent=2))
        return AGREED
    if options.minimize:
        return run_minimize(options, model)
    return run_file(options, model) if options.replay else run_generated(options, model)


def main():
    options = parse(sys.argv[1:])
    try:
        return act(options)
    except engines.EngineUnavailable as error:
        print(f"run.py: skipped: {error}", file=sys.stderr)
        return UNAVAILABLE
    except (Mistake, model_engine.ModelError, OSError, ValueError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return WRONG_USE


if __name__ == "__main__":
    sys.exit(main())
