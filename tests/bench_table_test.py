# SPDX-License-Identifier: Apache-2.0
"""scripts/bench_table.py and scripts/bench_curves.py on made-up results.

bench_table_test.py SOURCE_DIRECTORY
"""

import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(sys.argv.pop(1)) / "scripts"
BEGIN, END = "<!-- begin: written by scripts/bench.sh -->\n", "<!-- end -->\n"
DOCUMENT = "before\n" + BEGIN + "an old table\n" + END + "after\n"


def result(name, **changed):
    """100 ns, no target."""
    plain = {"name": name, "unit": "call", "median": 100.0, "least": 90.0, "most": 123.4, "floor_name": None, "floor": None, "ratio": None,
             "target_kind": None, "target": None, "target_plus": 0.0, "met": None, "frames": None, "curve": None, "argument": 0}
    return plain | changed


def ratio(name, met):
    return result(name, floor_name="floor", floor=40.0, ratio=2.5, target_kind="ratio", target=2.0, target_plus=1000.0, met=met)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.document = self.folder / "performance.md"
        self.document.write_text(DOCUMENT)

    def run_script(self, name, *arguments):
        return subprocess.run([sys.executable, SCRIPTS / name, *map(str, arguments)], capture_output=True, text=True, check=False)

    def results(self, *rows):
        path = self.folder / "bench_made_up.json"
        path.write_text(json.dumps({"program": "bench_made_up", "runs": 3, "results": rows}))
        return path

    def table(self, *arguments):
        return self.run_script("bench_table.py", "--document", self.document, *arguments)


class Tables(Case):
    def test_a_missed_ratio_fails_and_is_named(self):
        run = self.table(self.results(ratio("good", True), ratio("bad", False)))
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr, "missed: bench_made_up: bad\n")
        self.assertIn("| good | call | 100 | 90.0 - 123 | 40.0 | 2.50 | 2 x + 1000 ns | met |  |\n", run.stdout)
        self.assertIn("| bad | call | 100 | 90.0 - 123 | 40.0 | 2.50 | 2 x + 1000 ns | **missed** |  |\n", run.stdout)

    def test_a_missed_time_is_only_marked(self):
        run = self.table(self.results(result("slow", target_kind="nanoseconds", target=5.0, met=False)))
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("| slow | call | 100 | 90.0 - 123 |  |  | 5 ns | **missed** |  |\n", run.stdout)

    def test_a_target_that_does_not_apply_is_not_missed(self):
        run = self.table(self.results(ratio("elsewhere", None)))
        self.assertEqual(run.returncode, 0)
        self.assertIn("| does not apply here |", run.stdout)

    def test_only_what_is_between_the_marks_is_replaced(self):
        run = self.table(self.results(result("one", frames=7)))
        text = self.document.read_text()
        self.assertTrue(text.startswith("before\n" + BEGIN) and text.endswith(END + "after\n"))
        self.assertIn("### bench_made_up\n", text)
        self.assertIn("| one | call | 100 | 90.0 - 123 |  |  |  |  | 7 |\n", text)
        self.assertNotIn("an old table", text)
        self.assertIn(run.stdout, text)

    def test_json_leaves_the_document_alone_and_fails_alike(self):
        path = self.results(ratio("bad", False))
        run = self.table("--json", path)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(json.loads(run.stdout), [json.loads(path.read_text())])
        self.assertEqual(self.document.read_text(), DOCUMENT)

    def test_bad_input_is_one_error_and_loses_nothing(self):
        broken = self.folder / "broken.json"
        broken.write_text("{")
        for arguments in ([broken], [self.folder / "none.json"]):
            run = self.table(*arguments)
            self.assertEqual((run.returncode, run.stdout, run.stderr.count("\n")), (2, "", 1))
        self.assertEqual(self.document.read_text(), DOCUMENT)
        self.document.write_text("no marks\n")
        self.assertEqual(self.table(self.results(result("one"))).returncode, 2)
        self.assertEqual(self.document.read_text(), "no marks\n")


class Curves(Case):
    def curves(self, *arguments):
        rows = [result(f"{curve}, {x}", curve=curve, argument=x, least=time)
                for curve, points in {"areas: insert": {1: 10.0, 100: 21.26}, "areas: find": {100: 3.0}, "pages: map": {4096: 1.0, 8192: 2.0}}.items()
                for x, time in points.items()]
        return self.run_script("bench_curves.py", *arguments, self.results(*rows))

    def test_json_has_the_points(self):
        run = self.curves("--json")
        self.assertEqual(json.loads(run.stdout), {"areas": {"insert": {"1": 10.0, "100": 21.26}, "find": {"100": 3.0}},
                                                  "pages": {"map": {"4096": 1.0, "8192": 2.0}}})

    @unittest.skipUnless(shutil.which("gnuplot"), "gnuplot is not installed")
    def test_data_and_plots_are_written_and_the_same_each_time(self):
        folders = self.folder / "one", self.folder / "two"
        for folder in folders:
            run = self.curves("--folder", folder)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual((folders[0] / "areas.tsv").read_text(), "x\tinsert\tfind\n1\t10\t\n100\t21.3\t3\n")
        self.assertEqual(sorted(p.name for p in folders[0].iterdir()), ["areas.svg", "areas.tsv", "pages.svg", "pages.tsv"])
        for path in folders[0].iterdir():
            self.assertEqual(path.read_bytes(), (folders[1] / path.name).read_bytes())


if __name__ == "__main__":
    unittest.main()
