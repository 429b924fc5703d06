#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The small cross-check against Bochs, and what it is worth.

planted_test.py BUILD_DIRECTORY

Runs it once: nothing may differ. Then each defect of the bug museum that is marked for it (tests/mutants/museum.json) is put into a
copy of one file of the model, linked before the library: the same experiments must show it, and what is left of one of them after
--minimize must be small.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "mutants"))
import planting  # noqa: E402

RUN = [sys.executable, os.path.join(HERE, "run.py")]
SMALL = ["--generate", "1", "--count", "access=2500,stale=500,entry=1000,intercept=800,code=500,event=400,instructions=600"]
MAX_WORDS, MAX_FIELDS, SKIPPED = 12, 3, 77


def run(arguments, expected):
    done = subprocess.run([*RUN, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == SKIPPED and os.environ.get("VMXSIM_ALLOW_SKIP") == "1":
        print(done.stderr.strip())
        sys.exit(SKIPPED)
    if done.returncode != expected:
        sys.exit(f"run.py {' '.join(arguments)}: status {done.returncode}, not {expected}\n{done.stdout}{done.stderr}")
    return done.stdout


def plant(defect, build, folder):
    """The vmxsim command with this defect, which is one of the model."""
    words = planting.compile_commands(build)
    try:
        objects = [planting.compile_changed(words[path], path, text, folder, build)
                   for path, text in planting.changes_of(defect).items()]
    except planting.Unfit as reason:
        sys.exit(str(reason))
    program = os.path.join(folder, "vmxsim")
    command = glob.glob(os.path.join(build, "sim", "cli", "CMakeFiles", "vmxsim_command.dir", "*.o"))
    libraries = [os.path.join(build, "sim", "libvmxsim.a"), *planting.NEEDS["vmxsim"]]
    subprocess.run([next(iter(words.values()))[0], "-o", program, *command, *objects, *libraries], check=True)
    return program


def find_and_minimize(name, defect, build, recording, folder):
    program = plant(defect, build, folder)
    differences, small = os.path.join(folder, "differences.jsonl"), os.path.join(folder, "small.jsonl")
    found = json.loads(run(["--engine", "recording", "--replay", recording, "--build", build, "--vmxsim", program,
                            "--differences", differences, "--json"], 1))["differences"]
    with open(recording, encoding="utf-8") as stream:
        cpu = json.loads(stream.readline())["source"]["model"]
    left = json.loads(run(["--engine", "bochs", "--model", cpu, "--build", build, "--vmxsim", program, "--json",
                           "--minimize", differences, found[0]["id"], "--record", small], 0))
    print(f"{name} ({defect['what']}): {len(found)} cases differ; {left['id']} has {left['words']} memory words and "
          f"{left['fields']} fields left: {'; '.join(left['reasons'])}")
    return left["words"] <= MAX_WORDS and left["fields"] <= MAX_FIELDS


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = os.path.abspath(sys.argv[1])
    with open(os.path.join(ROOT, "tests", "mutants", "museum.json"), encoding="utf-8") as stream:
        defects = {name: defect for name, defect in json.load(stream).items() if defect.get("crosscheck")}
    with tempfile.TemporaryDirectory(prefix="vmxsim-planted-") as folder:
        recording = os.path.join(folder, "recording.jsonl")
        print(run(["--engine", "bochs", "--build", build, "--jobs", "2", *SMALL, "--record", recording], 0), end="")
        results = [find_and_minimize(name, defect, build, recording, folder) for name, defect in defects.items()]
    if not all(results):
        sys.exit(f"more than {MAX_WORDS} memory words or {MAX_FIELDS} fields are left")


if __name__ == "__main__":
    main()
