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
import generate
import header as headers
import minimize
import model_engine
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

    def test_mistakes_are_one_line(self):
        for arguments in (["--generate", "1", "--kinds", "nonsense"], ["--generate", "1", "--count", "x"],
                          ["--replay", "/nowhere"], ["--engine", "recording", "--generate", "1"]):
            done = self.run_rig(*arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)


if __name__ == "__main__":
    BUILD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
