#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rig without a machine: comparing, minimizing, predicting, generating.

rig_test.py BUILD_DIRECTORY
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import answers
import deviations
import fetches
import generate
import header as headers
import minimize
import model_engine
import rule_counts
import vectors
import verdicts

BUILD = "build/dev"


def complete(**more):
    return {"result": "complete", **more}


class Answers(unittest.TestCase):
    def test_a_bit_that_nobody_leaves_open_differs(self):
        found = answers.differences(complete(memory={"0x8": "0x21"}), complete(memory={"0x8": "0x1"}), {})
        self.assertEqual(found, ["memory 0x8: 0x21 and 0x1"])

    def test_an_open_bit_does_not(self):
        open_bit = {"memory": {"0x8": "0x20"}}
        self.assertEqual(answers.differences(complete(memory={"0x8": "0x21"}, open=open_bit), complete(memory={}), {8: 1}), [])

    def test_a_word_that_is_not_listed_kept_its_value(self):
        self.assertTrue(answers.differences(complete(memory={}), complete(memory={"0x8": "0x3"}), {8: 1}))
        self.assertEqual(answers.differences(complete(memory={}), complete(memory={"0x8": "0x1"}), {8: 1}), [])

    def test_one_alternative_is_enough_and_none_is_not(self):
        either = {"any_of": [{"result": "vmfail", "error": 7}, {"result": "vmfail", "error": 8}]}
        self.assertEqual(answers.differences(either, {"result": "vmfail", "error": 8}, {}), [])
        self.assertTrue(answers.differences(either, {"result": "vmfail", "error": 5}, {}))

    def test_a_crash_agrees_with_nothing(self):
        self.assertTrue(answers.differences([{"status": "ok"}], {"result": "engine_crash"}, {}))
        self.assertTrue(answers.differences(complete(), {"result": "engine_crash"}, {}))


class Minimizing(unittest.TestCase):
    def test_what_matters_is_left_and_nothing_else(self):
        case = {"id": "x", "vmcs": ["a", {hex(2 * i): "0x1" for i in range(9)}],
                "kind": "instructions", "memory": ["base", {hex(8 * i): "0x1" for i in range(20)}],
                "steps": [{"n": i} for i in range(4)]}

        def needs(one):
            return "0x48" in one["memory"][1] and "0x4" in one["vmcs"][1] and {"n": 3} in one["steps"]

        small = minimize.minimize(case, lambda candidates: [needs(one) for one in candidates])
        self.assertEqual((minimize.size(small), small["id"]), ({"words": 1, "fields": 1, "steps": 1}, "x"))


    def test_code_stays_with_what_it_does(self):
        case = {"id": "x", "kind": "access", "vmcs": ["a", {"0x681e": "0x1", "0x6802": "0x2"}],
                "memory": ["base", {"0x2009300": "0x1", "0x8": "0x1"}],
                "accesses": [{"type": kind} for kind in ("fetch", "read", "poke", "invept", "fetch", "read")]}
        self.assertEqual(minimize.parts(case), [("memory", "0x8"), ("vmcs", "0x6802"), ("accesses", 2), ("accesses", 3)])


class Deviations(unittest.TestCase):
    def test_every_one_is_described(self):
        with open(os.path.join(headers.VECTORS, "deviations.json"), encoding="utf-8") as stream:
            described = json.load(stream)
        self.assertEqual(deviations.TABLES["bochs"].ids(), {name for name in described if described[name]["engine"] == "bochs"})


class Judged:
    """A verdict on a VM entry that violates these rules."""

    def __init__(self, violated, answer, kind=verdicts.AGREES, ids=()):
        self.case, self.answer, self.kind, self.ids = {"id": "x", "kind": "entry"}, answer, kind, list(ids)
        self.prediction = self
        self.violated = [{"rule": rule, "qualification": "0x0"} for rule in violated]


FAILED = {"result": "entry_failure", "exit_reason": 33, "qualification": "0x0"}


class RuleCounts(unittest.TestCase):
    def test_a_rule_alone_with_others_and_against(self):
        counts = rule_counts.RuleCounts([
            Judged(["SEG.CS.P"], FAILED), Judged(["SEG.CS.P", "SEG.CS.S"], FAILED), Judged([], {"result": "entered"}),
            Judged(["SEG.CS.P"], {"result": "entered"}, verdicts.DEVIATES, ["bochs.x"])])
        found = counts.as_json("bochs", "2.7", "tigerlake", 1)
        self.assertEqual(found["entries"], 4)
        self.assertEqual(found["rules"]["SEG.CS.P"], {"hit": 2, "alone": 1, "together": 1, "contradicted": 1,
                                                      "deviations": {"bochs.x": 1}})
        self.assertEqual(found["rules"]["SEG.CS.S"]["together"], 1)

    def test_what_fails_in_another_stage_is_not_confirmed(self):
        """Controls are checked before guest state: the failure says nothing of the guest state."""
        refused = {"result": "vmfail", "kind": "valid", "error": 7}
        found = rule_counts.RuleCounts([Judged(["CTL.NMI.VNMI", "SEG.CS.P"], refused)]).rules
        self.assertEqual((found["CTL.NMI.VNMI"].together, found["SEG.CS.P"].together), (1, 0))

    def test_an_entry_that_is_lawful_all_the_same_confirms_nothing(self):
        found = rule_counts.RuleCounts([Judged(["MSRLD.COUNT"], {"result": "entered"})]).rules["MSRLD.COUNT"]
        self.assertEqual((found.hit, found.alone, found.contradicted), (1, 0, 0))

    def test_what_differs_or_was_not_run_counts_for_nothing(self):
        counts = rule_counts.RuleCounts([Judged(["SEG.CS.P"], FAILED, verdicts.DIFFERS),
                                         Judged(["SEG.CS.P"], FAILED, verdicts.NOT_RUN)])
        self.assertEqual((counts.hits(), counts.entries), (set(), 0))

    def test_reasons_are_about_rules_that_are_there_and_given_once(self):
        with open(rule_counts.UNREACHABLE, encoding="utf-8") as stream:
            groups = json.load(stream)
        for model in rule_counts.MODELS:
            listed = [rule for group in groups if model in group.get("models", rule_counts.MODELS) for rule in group["rules"]]
            self.assertEqual(len(listed), len(set(listed)), model)
            self.assertLessEqual(set(listed), set(rule_counts.all_rules()), model)
        for group in groups:
            self.assertLessEqual(set(group.get("models", [])), set(rule_counts.MODELS))

    def test_a_list_that_is_not_true_is_a_fault(self):
        rules, listed = rule_counts.all_rules(), rule_counts.unreachable("bochs", "tigerlake")
        reachable = [rule for rule in rules if rule not in listed and rule not in rule_counts.IN_SEQUENCES]
        enough = [Judged([rule], FAILED) for rule in reachable] + [Judged([], {"result": "entered"})] * len(listed)
        enough += [Judged([], {"result": "entered"})] * 2
        self.assertEqual(rule_counts.RuleCounts(enough).faults("bochs", "tigerlake"), [])
        without = [Judged([], {"result": "entered"}), *enough[1:]]
        self.assertEqual(rule_counts.RuleCounts(without).faults("bochs", "tigerlake"),
                         [f"{reachable[0]}: not broken alone in any case"])
        impossible = Judged(["SEG.FRED"], FAILED)
        self.assertEqual(rule_counts.RuleCounts([*enough, impossible]).faults("bochs", "tigerlake"),
                         ["SEG.FRED: listed as unreachable, and broken alone in x"])

    def test_a_short_run_and_an_unknown_model_are_not_blamed(self):
        self.assertEqual(rule_counts.RuleCounts([Judged([], {"result": "entered"})]).faults("bochs", "tigerlake"), [])
        self.assertEqual(rule_counts.RuleCounts([]).faults("kvm", "host"), [])


PIN_BASED = 0x56  # with the VMX-preemption timer
# A guest that enters HLT or shutdown with a debug exception pending, and what Bochs was seen to do.
PENDING_DEBUG = [
    ({"0x4826": "0x1"}, "engine_reset"),
    ({"0x4826": "0x2"}, "engine_reset"),
    ({"0x4826": "0x1", "0x482e": "0x0"}, "entered"),
    ({"0x4826": "0x1", "0x482e": "0x60"}, "entered"),
    ({"0x4826": "0x2", "0x482e": "0x60"}, "entered"),
    ({"0x4826": "0x1", "0x482e": "0x359f4"}, "entered"),       # 219,636
    ({"0x4826": "0x1", "0x482e": "0x35a58"}, "engine_reset"),  # 219,736
    ({"0x4826": "0x1", "0x482e": "0x60", "0x4000": hex(PIN_BASED & ~0x40)}, "engine_reset"),
    ({"0x4826": "0x1", "0x4824": "0x8"}, "entered"),
    ({"0x4826": "0x1", "0x4824": "0x8", "0x4000": hex(PIN_BASED & ~0x40)}, "entered"),
    ({"0x4826": "0x1", "0x4824": "0x8", "0x4000": hex(PIN_BASED | 0x28)}, "engine_reset"),
    ({"0x4826": "0x1", "0x4000": hex(PIN_BASED | 0x28), "0x4002": "0x96406172"}, "entered"),
    ({"0x4826": "0x1", "0x4824": "0x8", "0x4000": hex(PIN_BASED | 0x28), "0x4002": "0x96406172"}, "engine_reset"),
]


def ignoring(case, types):
    """The case with steps that do nothing in place of these."""
    accesses = list(case.get("accesses", []))
    for index, step in enumerate(accesses):
        if step["type"] in types:
            # An instruction that fails; of the guest, nothing but its fetch.
            accesses[index] = {**step, "scope": "0x9"} if "scope" in step else accesses[index - 1]
    return {**case, "accesses": accesses}


def most_stale(answer):
    return answers.alternatives(answer)[-1]


class WithModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = model_engine.ModelEngine(os.path.join(BUILD, "bin", "vmxsim"))
        cls.header = headers.make(cls.model, cls.model.capture_profile(), 7)
        cls.program = os.path.join(BUILD, "tests", "crosscheck", "entry_states")

    def cases(self, kind, count=150):
        return generate.generate(self.header, 7, kind, count, self.program)

    def test_a_seed_gives_the_same_experiments(self):
        for kind in generate.KINDS:
            self.assertEqual(self.cases(kind, 20), self.cases(kind, 20), kind)

    def test_the_model_agrees_with_itself(self):
        for kind in generate.KINDS:
            cases = self.cases(kind)
            given = self.model.run(self.header, cases)
            counted = verdicts.count(verdicts.judge(self.model, self.header, "model", cases, given))[cases[0]["kind"]]
            self.assertEqual(counted[verdicts.DIFFERS], 0, kind)
            self.assertGreater(counted[verdicts.AGREES], 140, kind)

    def test_what_the_recorder_saw_is_predicted(self):
        """Each case of the recordings, deviations included, as far as its processor's header is used."""
        for name in ("access-icelake", "access-tigerlake", "entry-icelake", "entry-skylake", "intercept-icelake"):
            header, cases = vectors.read(os.path.join(headers.VECTORS, name + ".jsonl"))
            given = [case["expect"]["any_of"][0] if "any_of" in case["expect"] else case["expect"] for case in cases]
            plain = [{key: value for key, value in case.items() if key not in ("expect", "sdm", "deviates", "note")}
                     for case in cases]
            judged = verdicts.judge(self.model, header, "bochs", plain, given)
            wrong = [(one.case["id"], one.reasons) for one in judged if one.kind == verdicts.DIFFERS]
            self.assertEqual(wrong, [], name)
            for one, case in zip(judged, cases):
                if one.kind == verdicts.DEVIATES:
                    self.assertIn(case.get("deviates"), one.ids, case["id"])

    def test_a_pending_debug_exception_resets_bochs_only_if_an_nmi_ends_the_wait(self):
        pending = {"0x4000": hex(PIN_BASED), "0x482e": "0x40000", "0x6822": "0x1001"}
        cases = [{"id": f"wait-{index}", "kind": "entry", "launch_state": "clear", "instruction": "vmlaunch",
                  "memory": ["base", {}], "vmcs": ["long64", {**pending, **fields}]}
                 for index, (fields, _) in enumerate(PENDING_DEBUG)]
        given = [{"result": result} for _, result in PENDING_DEBUG]
        judged = verdicts.judge(self.model, self.header, "bochs", cases, given)
        self.assertEqual([one.case["vmcs"] for one in judged if one.kind == verdicts.DIFFERS], [])
        self.assertEqual([one.kind == verdicts.DEVIATES for one in judged],
                         [result == "engine_reset" for _, result in PENDING_DEBUG])

    def test_a_null_stack_segment_passes_in_64_bit_mode_alone(self):
        """What Bochs was seen to do with a bit of the base of SS too many: compatibility mode checks it."""
        compatibility = {"0x680a": "0x100000000", "0x804": "0x0", "0x4816": "0xc09b"}
        cases = [{"id": f"ss-{index}", "kind": "entry", "launch_state": "clear", "instruction": "vmlaunch",
                  "memory": ["base", {}], "vmcs": ["long64", fields]}
                 for index, fields in enumerate([compatibility, {**compatibility, "0x4816": "0xa09b"}])]
        given = [FAILED, {"result": "entered"}]
        fields = [vectors.fields(self.header, case) for case in cases]
        self.assertEqual([one[0x4012] >> 9 & 1 for one in fields], [1, 1])
        judged = verdicts.judge(self.model, self.header, "bochs", cases, given)
        self.assertEqual([one.kind for one in judged], [verdicts.AGREES, verdicts.DEVIATES])

    def misled_fetch(self, address):
        """A fetch of VMCALL through an EPT entry that leads to this page."""
        return {"id": "misled", "kind": "access", "vmcs": ["unpaged32", {"0x681e": "0x7ffff100"}],
                "memory": ["base", {"0x3020ff8": hex(address | 0x437)}],
                "accesses": [{"type": "fetch", "linear": "0x7ffff100", "size": 3}]}

    def test_an_instruction_is_moved_to_where_its_fetch_leads(self):
        case = self.misled_fetch(0x3DFFF000)
        self.assertIsNotNone(fetches.stray(self.header, self.model.record(self.header, [case])[0]))
        moved = fetches.settle(self.model, self.header, [case])[0]
        self.assertEqual(moved["memory"][1]["0x3dfff100"], "0xc1010f")
        self.assertIsNone(fetches.stray(self.header, self.model.record(self.header, [moved])[0]))

    def test_the_first_bytes_of_a_fetch_that_fails_later_count(self):
        """An engine decodes them first: FF FF is no instruction, whatever the second page has."""
        case = self.misled_fetch(0x13FFFF000)
        case = {**case, "vmcs": ["unpaged32", {"0x681e": "0x7ffffffe"}],
                "memory": ["base", {**case["memory"][1], "0x3021000": "0x0"}],
                "accesses": [{"type": "fetch", "linear": "0x7ffffffe", "size": 3}]}
        record = self.model.record(self.header, [case])[0]
        self.assertEqual(record["expect"]["exit_reason"], 48)
        self.assertIn("no memory", fetches.stray(self.header, record))

    def test_an_instruction_that_cannot_be_moved_says_why(self):
        for address, why in ((0x13FFFF000, "no memory"), (0x3FFFF000 | 0x40000000, "payload")):
            case = self.misled_fetch(address)
            self.assertEqual(fetches.settle(self.model, self.header, [case]), [case])
            self.assertIn(why, fetches.stray(self.header, self.model.record(self.header, [case])[0]))

    def test_every_rule_that_is_offered_is_broken_alone(self):
        for seed in (7, 8):
            cases = generate.generate(self.header, seed, "entry", 260, self.program)
            cases += generate.generate(self.header, seed, "instructions", 2, self.program)
            judged = verdicts.judge(self.model, self.header, "model", cases, self.model.run(self.header, cases))
            listed = rule_counts.unreachable("bochs", "corei7_icelake_u")
            self.assertEqual(rule_counts.RuleCounts(judged).hits(),
                             {rule for rule in rule_counts.all_rules() if rule not in listed}, seed)

    def judged_stale(self, ignored):
        """Verdicts on an engine that uses what is cached as long as it may, and does not do `ignored` steps."""
        cases = self.cases("stale", 400)
        given = [most_stale(answer) for answer in self.model.run(self.header, [ignoring(case, ignored) for case in cases])]
        return verdicts.judge(self.model, self.header, "model", cases, given)

    def test_caches_may_answer_as_long_as_nothing_invalidates_them(self):
        judged = self.judged_stale(())
        self.assertEqual([one.case["id"] for one in judged if one.kind == verdicts.DIFFERS], [])
        self.assertGreater(verdicts.allowed(judged)["not the first"], 100)

    def test_an_engine_that_ignores_an_invalidation_is_found(self):
        for ignored in ("invept", "invvpid", "invlpg", "mov_to_cr3"):
            found = [one.case for one in self.judged_stale((ignored,)) if one.kind == verdicts.DIFFERS]
            self.assertGreater(len(found), 0, ignored)
            self.assertTrue(all(ignored in [step["type"] for step in case["accesses"]] for case in found), ignored)

    def test_an_engine_that_caches_what_is_not_present_is_found(self):
        """Rights that come are seen at once where there was no translation, and may be seen late where there was one."""
        base = self.cases("stale", 1)[0]
        case = {**base, "vmcs": ["unpaged32", {"0x681e": "0x2009300"}],
                "memory": ["base", {"0x2009300": "0xc1010f038a", "0x3020ff8": "0x3ffff431"}],
                "accesses": [{"type": "fetch", "linear": "0x2009300", "size": 2},
                             {"type": "read", "linear": "0x7ffff000", "size": 1},
                             {"type": "poke", "address": "0x3020ff8", "value": "0x3ffff433"},
                             {"type": "fetch", "linear": "0x2009040", "size": 2},
                             {"type": "write", "linear": "0x7ffff000", "size": 1, "value": "0x1"}]}
        late = self.model.run(self.header, [case])[0]
        self.assertEqual([one["result"] for one in late["any_of"]], ["complete", "exit"])
        case["accesses"] = [{**case["accesses"][0], "linear": "0x20090c0", "size": 1}, *case["accesses"][2:]]
        case["memory"][1]["0x3020ff8"] = "0x3ffff430"
        case["vmcs"][1]["0x681e"] = "0x20090c0"
        self.assertEqual(self.model.run(self.header, [case])[0]["result"], "complete")

    def test_a_wrong_answer_is_a_difference(self):
        cases = self.cases("intercept", 20)
        given = [{"result": "exit", "exit_reason": 2, "qualification": "0x0"}] * 20
        counted = verdicts.count(verdicts.judge(self.model, self.header, "bochs", cases, given))["intercept"]
        self.assertEqual(counted[verdicts.DIFFERS], 20)


class Command(unittest.TestCase):
    def run_rig(self, *arguments):
        return subprocess.run([sys.executable, os.path.join(HERE, "run.py"), "--build", BUILD, *arguments],
                              capture_output=True, text=True, check=False)

    def test_record_compare_and_replay(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.jsonl")
            done = self.run_rig("--generate", "3", "--count", "30", "--record", path, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.run_rig("--compare", path, path).returncode, 0)
            replayed = subprocess.run([os.path.join(BUILD, "bin", "vmxsim"), "replay", path], capture_output=True, check=False)
            self.assertEqual(replayed.returncode, 0, replayed.stderr)

    def test_rules_are_counted(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rules.json")
            done = self.run_rig("--generate", "3", "--count", "entry=20", "--rule-counts", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            # Three of the first twenty cases are about deviations: they break no rule, or several.
            self.assertIn("rules of VM entry hit alone: 17 of 237", done.stdout)
            with open(path, encoding="utf-8") as stream:
                counts = json.load(stream)
            self.assertEqual((counts["entries"], counts["seed"], len(counts["rules"])), (20, 3, 20))

    def test_mistakes_are_one_line(self):
        for arguments in (["--generate", "1", "--kinds", "nonsense"], ["--generate", "1", "--count", "x"],
                          ["--replay", "/nowhere"], ["--engine", "recording", "--generate", "1"]):
            done = self.run_rig(*arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)


if __name__ == "__main__":
    BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
