# SPDX-License-Identifier: Apache-2.0
"""fuzz/seeds.py: what is no file of vectors is refused with one line; the seeds in the folder that is named say what the recordings say.

The bytes are read here as vmxsim/fuzz.h reads them, by code of its own."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "fuzz/seeds.py"
REFUSED = {
    "empty": "",
    "text": "no JSON\n",
    "list": "[]\n",
    "other": '{"format": "other"}\n',
    "no VMCS": '{"format": "vmx-vectors", "source": {"model": "x"}}\n{"kind": "entry", "instruction": "vmlaunch"}\n',
    "number": '{"format": "vmx-vectors", "source": {"model": "x"}}\n7\n',
}


def fail(text):
    sys.exit(f"FAILED: {text}")


def refuse(folder):
    for name, text in REFUSED.items():
        path = folder / name
        path.write_text(text)
        done = subprocess.run([sys.executable, SCRIPT, folder / "out", path], capture_output=True, text=True)
        if done.returncode != 1 or len(done.stderr.splitlines()) != 1 or not done.stderr.startswith("seeds: "):
            fail(f"{name}: status {done.returncode}, {done.stderr}")


def encodings():
    rows = (ROOT / "include/vmxcore/defs/vmcs_fields.def").read_text().splitlines()
    return [int(row.split("(")[1].split(",")[0], 16) for row in rows if row.startswith("VMXC_VMCS_FIELD(0x")]


def fields_of(data):
    """The fields that an input of fuzz_vmcs sets, behind 12 bytes: ordinal, and a literal of 1 to 8 bytes."""
    names, fields, at = encodings(), {}, 12
    while at < len(data):
        size = 1 + data[at + 1] // 5
        if data[at + 1] % 5 != 0:
            fail("a value is no literal")
        fields[names[data[at]]] = int.from_bytes(data[at + 2:at + 2 + size], "little")
        at += 2 + size
    return fields


def compare_vmcs(seeds):
    compared = 0
    for path in sorted((ROOT / "tests/vectors").glob("entry-*.jsonl")):
        header, *cases = [json.loads(line) for line in path.read_text().splitlines()]
        for number, case in enumerate(cases, 1):
            base, changes = case["vmcs"]
            wanted = {int(code, 16): int(value, 16) for code, value in {**header["vmcs"][base], **changes}.items()}
            seed = (seeds / "vmcs" / f"{path.stem}-{number:04}").read_bytes()
            if fields_of(seed) != {code: value for code, value in wanted.items() if value}:
                fail(f"{path.name}, {case['id']}: the seed has another VMCS")
            compared += 1
    return compared


def compare_documents(seeds):
    known = {json.dumps(json.loads(line)) for path in (ROOT / "tests/vectors").glob("*.jsonl")
             for line in path.read_text().splitlines()[1:]}
    for path in (seeds / "replay").iterdir():
        for line in path.read_text().splitlines()[1:]:
            if json.dumps(json.loads(line)) not in known:
                fail(f"{path.name}: a case that was not recorded")


def main():
    seeds = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        refuse(Path(folder))
    compare_documents(seeds)
    print(f"{compare_vmcs(seeds)} VMCSs are as they were recorded")


if __name__ == "__main__":
    main()
