# SPDX-License-Identifier: Apache-2.0
"""Every example runs and prints what it did when it was last looked at; so does the README's."""
from __future__ import annotations

import re
import subprocess
import sys

import pytest
from tree import ROOT

EXAMPLES = ROOT / "examples" / "python"
GOLDEN = ROOT / "bindings" / "python" / "tests" / "golden"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def output(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_example_prints_what_it_should(name: str) -> None:
    assert output(str(EXAMPLES / f"{name}.py")) == (GOLDEN / f"{name}.txt").read_text()


def test_each_golden_text_has_its_example() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == SCRIPTS and len(SCRIPTS) >= 6


def test_the_readme_example_pasted(tmp_path: object) -> None:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```\n+prints\n+```text\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 1
    program, printed = blocks[0]
    assert output("-c", program) == printed


@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "experiments.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before a commit"
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3",
                            resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    tables = [output["data"]["text/html"] for cell in notebook.cells for output in cell.get("outputs", [])
              if "text/html" in output.get("data", {})]
    assert len(tables) == 3 and all("<table>" in table for table in tables)
    assert any("RFLAGS.RSVD" in table for table in tables)
