#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Guest page walks in a plain KVM guest against the model: generates experiments, runs them with the engine
kvm_paging, and compares with `vmxsim replay`. See docs/cross-check-kvm-paging.md."""

import argparse
import collections
import concurrent.futures
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import generate_paging
import paging_deviations as deviations

HERE = Path(__file__).resolve().parent
SKIPPED = 77
BATCH = 5000  # cases; each batch has a seed of its own
SHOWN = 20  # problems
ENOUGH = 5000  # cases from which on every deviation must have turned up


class Failure(Exception):
    """Something that the run depends on does not work; one line."""


def run_program(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise Failure(f"{command[0]}: exit status {done.returncode}: {done.stderr.strip()[:300]}")
    return done


class Batch:
    """The experiments of one seed."""

    def __init__(self, options, probe, seed, count, folder):
        self.engine, self.vmxsim = options.engine, options.vmxsim
        self.probe, self.seed, self.count, self.folder = probe, seed, count, folder
        self.source = probe["source"]
        self.features = generate_paging.Features(probe)
        self.starts = generate_paging.ram_starts(probe["cpu"]["maxphyaddr"])
        self.totals = collections.Counter()
        self.problems = []  # (id, text, case)

    def experiment(self, case):
        return deviations.Experiment(case, self.features, self.starts)

    # ---- The engine and the model ----

    def write(self, name, cases):
        path = self.folder / f"{name}-{self.seed}.jsonl"
        with open(path, "w", encoding="utf-8") as stream:
            for line in (generate_paging.header(self.seed, self.probe), *cases):
                stream.write(json.dumps(line, separators=(",", ":")) + "\n")
        return path

    def observe(self, name, cases):
        """The cases by id, as the engine has written them; those that it could not run are problems."""
        output = self.folder / f"{name}-observed-{self.seed}.jsonl"
        done = run_program(self.engine, self.write(name, cases), output)
        with open(output, encoding="utf-8") as stream:
            next(stream)
            found = {case["id"]: case for case in map(json.loads, stream)}
        for case in cases:
            if case["id"] not in found:
                reason = next((line for line in done.stderr.splitlines() if f": {case['id']}: " in line), "no reason")
                self.problems.append((case["id"], reason, case))
        return found

    def replay(self, name, cases):
        """Reasons of the cases on which the model disagrees, by id."""
        if not cases:
            return {}
        done = run_program(self.vmxsim, "replay", "--json", self.write(name, cases))
        [report] = json.loads(done.stdout)["files"]
        if sum(kind["cases"] for kind in report["kinds"].values()) != len(cases):
            raise Failure(f"vmxsim replay: {report.get('error', 'cases are missing')}")
        return {case["id"]: case["reason"] for case in report["cases"]}

    # ---- Deviations ----

    def find_variants(self, cases):
        """(deviation, variants) of the cases that an entry may be about; a case for two entries is left out."""
        chosen = {}
        for case in list(cases.values()):
            experiment = self.experiment(case)
            found = [(entry, variants) for entry in deviations.BY_VARIANT if entry.applies_to(self.source)
                     for variants in [entry.variants(experiment)] if variants]
            if len(found) > 1:
                del cases[case["id"]]
                self.totals["left_out"] += 1
            elif found:
                chosen[case["id"]] = found[0]
        return chosen

    def observe_variants(self, chosen):
        cases = []
        for identity, (_, variants) in chosen.items():
            for name in ("manual", "engine"):
                cases.append({**getattr(variants, name), "id": f"{identity}/{name}"})
        return self.observe("variants", cases) if cases else {}

    def apply_variants(self, cases):
        chosen = self.find_variants(cases)
        observed = self.observe_variants(chosen)
        for identity, (entry, variants) in chosen.items():
            answers = [observed.get(f"{identity}/{name}", {}).get("expect") for name in ("manual", "engine")]
            if identity in cases and None not in answers:  # what could not be run is reported already
                self.apply_variant(cases[identity], entry, variants.restore_manual(answers[0]),
                                   variants.restore_engine(answers[1]))

    def apply_variant(self, case, entry, manual, predicted):
        words = self.experiment(case).words
        if not deviations.same(case["expect"], predicted, words):
            self.problems.append((case["id"], f"{entry.identity} predicts {json.dumps(predicted)}", case))
        elif not deviations.same(manual, predicted, words):
            case.update(deviates=entry.identity, sdm=self.without_split_store(case, manual) or manual)

    def without_split_store(self, case, expect):
        """What the manual says instead of this; None: the same, or a problem that is noted."""
        try:
            return deviations.manual_split_store(self.experiment(case), self.source, expect)
        except deviations.Mispredicted as error:
            self.problems.append((case["id"], str(error), case))
            return None

    def apply_split_store(self, cases):
        for case in cases.values():
            manual = None if "deviates" in case else self.without_split_store(case, case["expect"])
            if manual:
                case.update(deviates=deviations.SPLIT_STORE, sdm=manual)

    # ---- The batch ----

    def judge(self, cases):
        """What the model says to all cases; where two pages may fault, to the part on the second one."""
        reasons = self.replay("final", list(cases.values()))
        parts = {}
        for identity in reasons:
            part = deviations.second_part(self.experiment(cases[identity]))
            if part:
                parts[identity] = part
        still = self.replay("second", list(parts.values()))
        self.totals["second_page"] += len(parts) - len(still)
        for identity, reason in reasons.items():
            if identity not in parts or identity in still:
                self.problems.append((identity, "; ".join(reason), cases[identity]))

    def run(self):
        generated = list(generate_paging.cases(self.seed, self.count, self.probe))
        cases = self.observe("generated", generated)
        self.apply_variants(cases)
        self.apply_split_store(cases)
        self.judge(cases)
        bad = {identity.split("/")[0] for identity, _, _ in self.problems}
        self.totals["cases"] += len(generated)
        self.totals["agree"] += sum("deviates" not in case for identity, case in cases.items() if identity not in bad)
        for identity, case in cases.items():
            if "deviates" in case and identity not in bad:
                self.totals[case["deviates"]] += 1
        return self.totals, self.problems


def run_batch(options, probe, seed, count):
    with tempfile.TemporaryDirectory(prefix="kvm-paging-") as name:
        folder = Path(name)
        shutil.copy(HERE / "kvm_paging" / "deviations.json", folder)
        batch = Batch(options, probe, seed, count, folder)
        totals, problems = batch.run()
        if options.record:
            shutil.copy(folder / f"final-{seed}.jsonl", Path(options.record) / f"kvm-paging-{seed}.jsonl")
            shutil.copy(folder / "deviations.json", options.record)
        return totals, problems


# ---- All batches ----


def run_all(options, probe):
    counts = [min(BATCH, options.count - done) for done in range(0, options.count, BATCH)]
    totals, problems = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(run_batch, options, probe, options.seed + i, count) for i, count in enumerate(counts)]
        for i, future in enumerate(futures, 1):
            more, found = future.result()
            totals.update(more)
            problems += found
            if sys.stderr.isatty():
                print(f"\rkvm-paging: {totals['cases']} of {options.count} cases", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return totals, problems


def unmatched(totals, probe):
    """Entries about this engine that nothing has matched."""
    if totals["cases"] < ENOUGH:
        return []
    names = [entry.identity for entry in deviations.BY_VARIANT if entry.applies_to(probe["source"])]
    if "shadow" in probe["source"]["model"]:
        names.append(deviations.SPLIT_STORE)
    return [name for name in names if not totals[name]]


def report(options, probe, totals, problems):
    differ = len({identity.split("/")[0] for identity, _, _ in problems})
    entries = json.loads((HERE / "kvm_paging" / "deviations.json").read_text(encoding="utf-8"))
    result = {
        "source": probe["source"], "seed": options.seed, "cases": totals["cases"], "agree": totals["agree"],
        "second_page": totals["second_page"], "deviate": {name: totals[name] for name in entries},
        "left_out": totals["left_out"], "differ": differ, "unmatched": unmatched(totals, probe),
        "modes": probe["modes"],
        "modes_skipped": [mode for mode in generate_paging.MODES if mode not in probe["modes"]],
    }
    if options.json:
        result["problems"] = [{"id": identity, "text": text} for identity, text, _ in problems]
        print(json.dumps(result, indent=1))
        return result
    print(f"kvm-paging: {probe['source']['model']}, Linux {probe['source']['version']}; seed {options.seed}")
    print(f"kvm-paging: paging modes {', '.join(result['modes'])}; skipped, since this KVM does not run them: "
          f"{', '.join(result['modes_skipped']) or 'none'}")
    print(f"kvm-paging: {result['agree']} of {result['cases']} cases agree ({result['second_page']} of them by the "
          f"second page), {sum(result['deviate'].values())} deviate as predicted, {result['left_out']} left out, "
          f"{differ} differ")
    for name, count in result["deviate"].items():
        print(f"  {name}: {count}")
    for name in result["unmatched"]:
        print(f"  {name}: matches nothing")
    return result


def show(problems):
    for identity, text, _ in problems[:SHOWN]:
        print(f"  {identity}: {text}")
    if len(problems) > SHOWN:
        print(f"  and {len(problems) - SHOWN} more")


def keep(problems, folder):
    with open(Path(folder) / "differ.jsonl", "w", encoding="utf-8") as stream:
        for _, _, case in problems:
            stream.write(json.dumps(case) + "\n")


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def parse():
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split()),
                                     epilog="exit status: 0 all cases agree or deviate as predicted; 1 some differ; "
                                            "2 something does not work; 77 this machine cannot run the engine")
    parser.add_argument("--build", default="build/dev", metavar="DIR", help="where bin/kvm_paging and bin/vmxsim are")
    parser.add_argument("--seed", type=int, default=1, help="of the first batch; each further one has the next")
    parser.add_argument("--count", type=positive, default=30000, help="cases")
    parser.add_argument("--jobs", type=positive, default=1, help="batches at a time")
    parser.add_argument("--record", metavar="DIR", help="keep the recordings there")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    options = parser.parse_args()
    options.engine = Path(options.build) / "bin" / "kvm_paging"
    options.vmxsim = Path(options.build) / "bin" / "vmxsim"
    return options


def main():
    options = parse()
    try:
        done = subprocess.run([options.engine, "--probe"], capture_output=True, text=True, check=False)
        if done.returncode == SKIPPED:
            print(json.dumps({"skipped": done.stdout.strip()}) if options.json else done.stdout.strip())
            return SKIPPED
        if done.returncode != 0:
            raise Failure(f"{options.engine}: {done.stderr.strip()}")
        probe = json.loads(done.stdout)
        if not probe["modes"]:
            print("kvm-paging: skipped: this KVM runs no paging mode of the experiments")
            return SKIPPED
        totals, problems = run_all(options, probe)
    except (OSError, Failure) as error:
        print(f"kvm_paging.py: {error}", file=sys.stderr)
        return 2
    result = report(options, probe, totals, problems)
    if not options.json:
        show(problems)
    if options.record:
        keep(problems, options.record)
    return 1 if problems or result["unmatched"] else 0


if __name__ == "__main__":
    sys.exit(main())
