# SPDX-License-Identifier: Apache-2.0
"""The engine kvm-paging and what is around it, piece by piece.

usage: kvm_paging_test.py rig VMXSIM       the generator and the deviations; needs no KVM
       kvm_paging_test.py engine ENGINE    the engine with cases written by hand; exit status 77 where it cannot run
"""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import generate_paging as generate
import paging_deviations as deviations
from generate_paging import A, D, G, P, PS, RW, US, hexadecimal

PROGRAM = None
SKIPPED = 77
COMPLETE = {"result": "complete"}

# A processor with everything that the generator knows.
RICH = {
    "source": {"engine": "kvm-paging", "version": "0", "model": "AuthenticAMD 0, shadow paging, PVM"},
    "cpu": {"maxphyaddr": 46, "linear_width": 57, "cpuid": {
        "0x0.0": ["0x1c", "0x756e6547", "0x6c65746e", "0x49656e69"],
        "0x1.0": ["0x806c1", "0x10800", "0x77faf3ff", "0xbfebfbff"],
        "0x7.0": ["0x1", "0xf3bf67ef", "0xe1c17fee", "0xfc1c0530"],
        "0x80000001.0": ["0x0", "0x0", "0x121", "0x2c100800"],
        "0x80000008.0": ["0x392e", "0x0", "0x0", "0x0"]}},
    "modes": list(generate.MODES),
}

ROOT, LEVEL_3, LEVEL_2, LEVEL_1, DATA, NEXT = (0x100000 + 0x1000 * i for i in range(6))
LINEAR = 0x123456789000  # indexes 0x24, 0xd1, 0xb3, 0x189
ENTRIES = (ROOT + 8 * 0x24, LEVEL_3 + 8 * 0xD1, LEVEL_2 + 8 * 0xB3, LEVEL_1 + 8 * 0x189)
ALL = P | RW | US


def case(identity="case", words=None, accesses=None, template="long-user", cr0=0x80010031, fields=None, expect=None):
    """Two pages from LINEAR on, four levels, everything allowed; `words` changes the memory."""
    memory = dict(zip(ENTRIES, (LEVEL_3 | ALL, LEVEL_2 | ALL, LEVEL_1 | ALL, DATA | ALL)))
    memory[ENTRIES[3] + 8] = NEXT | ALL
    memory.update(words or {})
    registers = {0x6800: cr0, 0x6802: ROOT, 0x6804: 0x2220, 0x2806: 0xD00, 0x6820: 0x2, **(fields or {})}
    made = {"id": identity, "kind": "access",
            "vmcs": [template, {hexadecimal(k): hexadecimal(v) for k, v in registers.items()}],
            "memory": ["zero", {hexadecimal(k): hexadecimal(v) for k, v in memory.items() if v}],
            "accesses": accesses or [access("read", LINEAR, 8)]}
    return {**made, "expect": expect} if expect else made


def access(kind, linear, size, value=None):
    made = {"type": kind, "linear": hexadecimal(linear), "size": size}
    return made if value is None else {**made, "value": hexadecimal(value)}


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class RigGenerator(Folder):
    def test_a_seed_says_everything(self):
        self.assertEqual(list(generate.cases(7, 50, RICH)), list(generate.cases(7, 50, RICH)))
        first, other = (next(generate.cases(seed, 1, RICH))["accesses"] for seed in (7, 8))
        self.assertNotEqual(first, other)

    def replay(self, cases):
        path = self.folder / "cases.jsonl"
        write(path, [generate.header(7, RICH), *({**made, "expect": COMPLETE} for made in cases)])
        done = subprocess.run([PROGRAM, "replay", "--json", path], capture_output=True, text=True, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout)["files"][0]

    def test_every_mode_enters_the_guest_and_both_completes_and_faults(self):
        for mode in generate.MODES:
            with self.subTest(mode=mode):
                report = self.replay(list(generate.cases(7, 300, {**RICH, "modes": [mode]})))
                counts = report["kinds"]["access"]
                self.assertEqual(counts["unsupported"], 0)
                self.assertGreater(counts["agree"], 50)
                self.assertGreater(counts["differ"], 50)
                for found in report["cases"]:
                    self.assertIn("guest_exception", found["reason"][0])


class RigDeviations(unittest.TestCase):
    def experiment(self, made):
        return deviations.Experiment(made, generate.Features(RICH), generate.ram_starts(46))

    def test_open_bits_do_not_count_and_others_do(self):
        first = {**COMPLETE, "memory": {"0x8": "0x20"}}
        second = {**COMPLETE, "memory": {}, "open": {"memory": {"0x8": "0x20"}}}
        self.assertTrue(deviations.same(first, second, {}))
        self.assertFalse(deviations.same({**first, "memory": {"0x8": "0x60"}}, second, {}))
        self.assertFalse(deviations.same(first, {**second, "result": "exit"}, {}))

    def test_bit_8_counts_at_level_4_only(self):
        entry = deviations.GlobalInTable()
        self.assertIsNone(entry.variants(self.experiment(case(words={ENTRIES[1]: LEVEL_2 | ALL | G}))))
        variants = entry.variants(self.experiment(case(words={ENTRIES[0]: LEVEL_3 | ALL | G})))
        self.assertEqual(variants.manual["memory"][1][hexadecimal(ENTRIES[0])], hexadecimal(LEVEL_3 | ALL))
        self.assertEqual(variants.engine["memory"][1][hexadecimal(ENTRIES[0])], hexadecimal(LEVEL_3 | ALL | PS))
        after = {**COMPLETE, "memory": {hexadecimal(ENTRIES[0]): hexadecimal(LEVEL_3 | ALL | A)}}
        restored = variants.restore_manual(after)["memory"]
        self.assertEqual(restored[hexadecimal(ENTRIES[0])], hexadecimal(LEVEL_3 | ALL | G | A))

    def test_the_user_slot_of_pvm_is_moved_and_moved_back(self):
        linear = 0xFFFF800000000000 | LINEAR & 0x7FFFFFFFFF
        made = case(words={ENTRIES[0]: 0, ROOT + 8 * 256: LEVEL_3 | ALL}, accesses=[access("read", linear, 8)])
        entry = deviations.HypervisorSlot()
        self.assertIsNone(entry.variants(self.experiment(case())))
        self.assertIsNone(entry.variants(self.experiment({**made, "vmcs": ["long", made["vmcs"][1]]})))
        variants = entry.variants(self.experiment(made))
        moved = int(variants.manual["accesses"][0]["linear"], 16)
        self.assertEqual(moved >> 39 & 511, 257)
        answer = {"result": "guest_exception", "vector": 14, "cr2": hexadecimal(moved),
                  "memory": {hexadecimal(ROOT + 8 * 257): "0x27"}}
        back = variants.restore_manual(answer)
        self.assertEqual(back["cr2"], hexadecimal(linear))
        self.assertEqual(back["memory"], {hexadecimal(ROOT + 8 * 256): "0x27"})

    def test_the_split_access_that_faulted_is_of_the_kind_that_the_error_code_says(self):
        crossing = [access("read", LINEAR + 0xFFE, 4), access("write", LINEAR + 0xFFE, 4, 1)]
        experiment = self.experiment(case(accesses=crossing))
        for code, index in (("0x4", 0), ("0x7", 1)):
            self.assertEqual(deviations.split_access(experiment, {**self.SPLIT, "error_code": code}), index)
        self.assertIsNone(deviations.split_access(experiment, {**self.SPLIT, "cr2": hexadecimal(LINEAR)}))

    SPLIT = {"result": "guest_exception", "vector": 14, "error_code": "0x2", "cr2": hexadecimal(LINEAR + 0x1000)}

    def split(self, memory, template="long", page=DATA, **changes):
        """What the manual says to a store of 4 bytes, 2 of them on `page`, the others on a page that is not there."""
        store = access("write", LINEAR + 0xFFE, 4, 0x44332211)
        made = case(words={ENTRIES[3]: page | ALL, ENTRIES[3] + 8: 0}, accesses=[store], template=template)
        expect = {**self.SPLIT, "memory": memory, **changes}
        return deviations.manual_split_store(self.experiment(made), RICH["source"], expect)

    def test_the_first_part_of_a_split_store_is_predicted_to_the_byte(self):
        self.assertEqual(self.split({hexadecimal(DATA + 0xFF8): "0x2211000000000000"})["memory"], {})
        with self.assertRaises(deviations.Mispredicted):
            self.split({hexadecimal(DATA + 0xFF8): "0x2212000000000000"})
        with self.assertRaises(deviations.Mispredicted):
            self.split({})

    def test_at_cpl_3_a_store_to_a_paging_structure_has_two_answers_and_no_third(self):
        where = hexadecimal(LEVEL_2 + 0xFF8)
        self.assertEqual(self.split({where: "0x2211000000000000"}, "long-user", LEVEL_2)["memory"], {})
        self.assertIsNone(self.split({}, "long-user", LEVEL_2))
        with self.assertRaises(deviations.Mispredicted):
            self.split({where: "0x11000000000000"}, "long-user", LEVEL_2)
        self.assertIsNone(self.split({hexadecimal(DATA + 0xFF8): "0x2211000000000000"}, "long-user"))

    def test_a_fault_on_the_first_page_leaves_nothing_behind(self):
        self.assertIsNone(self.split({}, cr2=hexadecimal(LINEAR + 0xFFE)))

    def test_the_part_on_the_second_page_is_a_case_of_its_own(self):
        made = case(accesses=[access("rmw", LINEAR + 0xFFF, 4, 0x44332211)], expect={**self.SPLIT, "memory": {}})
        part = deviations.second_part(self.experiment(made))
        self.assertEqual(part["accesses"], [access("rmw", LINEAR + 0x1000, 3, 0x443322)])
        self.assertIsNone(deviations.second_part(self.experiment({**made, "expect": {**self.SPLIT, "cr2": "0x0"}})))


class Engine(Folder):
    def run_cases(self, cases, header=None, status=0):
        """The observations by id, and what went to standard error."""
        given, written = self.folder / "in.jsonl", self.folder / "out.jsonl"
        write(given, [header or generate.header(1, self.probe()), *cases])
        done = subprocess.run([PROGRAM, given, written], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        lines = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
        return {line["id"]: line["expect"] for line in lines[1:]}, done.stderr

    @staticmethod
    def probe():
        probe = json.loads(subprocess.run([PROGRAM, "--probe"], capture_output=True, text=True, check=True).stdout)
        return probe

    def setUp(self):
        super().setUp()
        if "4-level" not in self.probe()["modes"]:
            self.skipTest("this KVM does not run 4-level paging")

    def test_a_table_that_changed_is_walked_again(self):
        gone = {ENTRIES[3]: DATA | RW | US}
        observed, _ = self.run_cases([case("there"), case("gone", gone), case("back")])
        self.assertEqual([observed[name]["result"] for name in ("there", "gone", "back")],
                         ["complete", "guest_exception", "complete"])
        self.assertEqual(observed["gone"]["error_code"], "0x4")
        self.assertEqual(observed["gone"]["cr2"], hexadecimal(LINEAR))

    def test_flags_and_nothing_else_change(self):
        observed, _ = self.run_cases([case("read"), case("write", accesses=[access("write", LINEAR, 1, 0)])])
        tables = dict(zip(ENTRIES, (LEVEL_3, LEVEL_2, LEVEL_1, DATA)))
        expected = {hexadecimal(key): hexadecimal(value | ALL | A) for key, value in tables.items()}
        self.assertEqual(observed["read"], {**COMPLETE, "values": ["0x0"], "memory": expected})
        expected[hexadecimal(ENTRIES[3])] = hexadecimal(DATA | ALL | A | D)
        self.assertEqual(observed["write"]["memory"], expected)

    def test_values_of_every_size_at_both_levels(self):
        data = 0xFEDCBA98765432100123456789ABCDEF
        words = {DATA: data & (1 << 64) - 1, DATA + 8: data >> 64}
        for template in ("long", "long-user"):
            for size in (1, 2, 4, 8, 16):
                mask = (1 << 8 * size) - 1
                accesses = [access("read", LINEAR, size), access("write", LINEAR + 0xFFF, size, data & mask),
                            access("read", LINEAR + 0xFFF, size)]
                with self.subTest(template=template, size=size):
                    observed, _ = self.run_cases([case(template=template, words=words, accesses=accesses)])
                    value = hexadecimal(data & mask)
                    self.assertEqual(observed["case"]["values"], [value, None, value])

    def test_an_exchange_stores_its_value(self):
        observed, _ = self.run_cases([case(accesses=[access("rmw", LINEAR, 8, 0x1122334455667788)])])
        self.assertEqual(observed["case"]["memory"][hexadecimal(DATA)], "0x1122334455667788")

    def test_write_protection_and_rights_at_cpl_0(self):
        words, store = {ENTRIES[3]: DATA | P}, [access("write", LINEAR, 2, 1)]
        observed, _ = self.run_cases([case("off", words, store, "long", 0x80000031), case("on", words, store, "long")])
        self.assertEqual(observed["off"]["result"], "complete")
        self.assertEqual((observed["on"]["vector"], observed["on"]["error_code"]), (14, "0x3"))

    def test_a_fetch_is_of_one_instruction_that_stops(self):
        stop = {DATA: 0xCC2E2E}
        observed, _ = self.run_cases([case(words=stop, accesses=[access("fetch", LINEAR, 3)])])
        self.assertEqual(observed["case"]["result"], "complete")
        for words, size in (({DATA: 0x0B0F}, 2), (stop, 2)):
            observed, errors = self.run_cases([case(words=words, accesses=[access("fetch", LINEAR, size)])], status=1)
            self.assertEqual(observed, {})
            self.assertIn("case: not run: vector", errors)

    def test_what_a_plain_guest_cannot_do_is_named_and_counted(self):
        ept = {0x4002: 0x84006172, 0x401E: 0x2}
        cases = [case("ept", fields=ept), case("unpaged", cr0=0x31),
                 case("sizes", accesses=[access("read", LINEAR, 3)]),
                 case("mmio", {ENTRIES[3]: 0xE0000000 | ALL}), case("good")]
        observed, errors = self.run_cases(cases, status=1)
        self.assertEqual(list(observed), ["good"])
        for name in ("ept", "unpaged", "sizes", "mmio"):
            self.assertIn(f"kvm_paging: {name}: not run: ", errors)

    def test_a_case_that_goes_wrong_does_not_disturb_the_next(self):
        header = generate.header(1, self.probe())
        cases = [case("bad", {ENTRIES[3]: 0xE0000000 | ALL}), case("good")]
        observed, _ = self.run_cases(cases, header, status=1)
        self.assertEqual(observed["good"]["result"], "complete")

    def test_the_header_says_what_ran(self):
        header = generate.header(5, self.probe())
        assumed = copy.deepcopy(header)
        assumed["cpu"]["maxphyaddr"] = 36
        self.run_cases([case()], assumed)
        written = json.loads((self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
        self.assertEqual(written["cpu"], header["cpu"])
        self.assertEqual(written["source"], {**self.probe()["source"], "seed": 5})

    def test_a_machine_without_kvm_is_skipped_in_one_line(self):
        for device in ("missing", "/dev/null"):
            done = subprocess.run([PROGRAM, "--device", device, "--probe"], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (SKIPPED, ""))
            self.assertRegex(done.stdout, rf"^kvm-paging: skipped: {device}.*\n$")

    def test_bad_input_is_one_clear_error(self):
        header = generate.header(1, self.probe())
        no_ram = {**header, "ram": []}
        taken = {**header, "ram": [["0x0", "0x100000000"]]}
        for lines, text in (([], "no header"), ([no_ram], "ram"), ([taken], "ram"), ([{**header, "cpu": 1}], "cpu")):
            write(self.folder / "in.jsonl", lines)
            self.refuse(["in.jsonl", "out.jsonl"], text)
        (self.folder / "in.jsonl").write_text(json.dumps(header) + "\n{", encoding="utf-8")
        self.refuse(["in.jsonl", "out.jsonl"], "in.jsonl:2: ")
        self.refuse(["missing.jsonl", "out.jsonl"], "missing.jsonl")
        self.refuse(["in.jsonl"], "--help")

    def test_bad_input_loses_nothing_that_was_there(self):
        (self.folder / "in.jsonl").write_text("{", encoding="utf-8")
        (self.folder / "out.jsonl").write_text("precious", encoding="utf-8")
        self.refuse(["in.jsonl", "out.jsonl"], "in.jsonl:1: ")
        self.assertEqual((self.folder / "out.jsonl").read_text(encoding="utf-8"), "precious")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["in.jsonl", "out.jsonl"])

    def test_the_output_may_take_the_place_of_the_input(self):
        write(self.folder / "both.jsonl", [generate.header(1, self.probe()), case()])
        subprocess.run([PROGRAM, "both.jsonl", "both.jsonl"], cwd=self.folder, stdout=subprocess.DEVNULL, check=True)
        lines = (self.folder / "both.jsonl").read_text(encoding="utf-8").splitlines()
        self.assertEqual(json.loads(lines[1])["expect"]["result"], "complete")

    def refuse(self, arguments, text):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, cwd=self.folder, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(text, done.stderr)


def main():
    global PROGRAM
    part, PROGRAM = sys.argv[1], str(Path(sys.argv[2]).resolve())
    if part == "engine":
        done = subprocess.run([PROGRAM, "--probe"], capture_output=True, text=True, check=False)
        if done.returncode == SKIPPED:
            print(done.stdout.strip())
            return SKIPPED
    suites = {"rig": (RigGenerator, RigDeviations), "engine": (Engine,)}[part]
    loader = unittest.defaultTestLoader
    suite = unittest.TestSuite(loader.loadTestsFromTestCase(each) for each in suites)
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
