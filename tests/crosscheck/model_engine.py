# SPDX-License-Identifier: Apache-2.0
"""The model as an engine: `vmxsim replay`, recording and comparing."""
import json
import os
import subprocess
import tempfile

import vectors


class ModelError(RuntimeError):
    """The vmxsim command refused a file: the rig made a mistake."""


class ModelEngine:
    """Answers experiments with the model; `command` is the vmxsim program."""

    name = "model"

    def __init__(self, command, profile="icelake"):
        self.command = command
        self.model = profile
        self.version = self._run("--version").split()[-1]

    def _run(self, *arguments, accept=(0,)):
        done = subprocess.run([self.command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode not in accept:
            raise ModelError(done.stderr.strip() or f"vmxsim ended with status {done.returncode}")
        return done.stdout

    def capture_profile(self):
        """The `cpu` object of a header."""
        return json.loads(self._run("profiles", "--json", self.model))

    def record(self, header, cases):
        """The cases again, with `expect` (and `trace`) from the model."""
        with tempfile.TemporaryDirectory(prefix="vmxsim-rig-") as folder:
            source, target = os.path.join(folder, "cases.jsonl"), os.path.join(folder, "answers.jsonl")
            vectors.write(source, {**header, "version": 2}, cases)
            self._run("replay", "--record", target, source)
            return vectors.read(target)[1]

    def run(self, header, cases, progress=None):
        """One answer per case, in the shape of `expect`."""
        answers = [case["expect"] for case in self.record(header, cases)]
        if progress:
            progress(len(answers))
        return answers

    def compare(self, header, cases):
        """Replays recorded cases: id -> reasons, for each one with which the model does not agree."""
        with tempfile.TemporaryDirectory(prefix="vmxsim-rig-") as folder:
            path = os.path.join(folder, "recording.jsonl")
            vectors.write(path, {**header, "version": 2}, cases)
            report = json.loads(self._run("replay", "--json", path, accept=(0, 1)))
        listed = report["files"][0]
        if "error" in listed:
            raise ModelError(listed["error"])
        return {case["id"]: case["reason"] for case in listed["cases"]}
