# SPDX-License-Identifier: Apache-2.0
"""The payload on the machines that can run it here.

payload_test.py TEST PAYLOAD_DIRECTORY

  codec       batches and lines, without a machine
  machine     the tool for machines that are started by hand
  machines    machines that end in every way there is, played by a shell
  recordings  every recorded case of tests/vectors, run again in Bochs, gives the recorded answer
  profiles    the captured profile is the recorded one
  failures    machines that end, hang or start again cost one answer and no other; what cannot run is refused
  rounds      guests that go on after memory has changed; instructions that are only bytes
  example     the example hypervisor logs in Bochs what it logs on the model
  no-vmx      without VMX the payload says so in one line: multiboot file and raw image under QEMU
"""

import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import batch
import engines

VECTORS = HERE.parent / "vectors"
SKIPPED = 77  # CTest's SKIP_RETURN_CODE

# The recorder's read-modify-writes are ADD with this register: the value stored is what was there, plus this.
RECORDER_ADDEND = "0x1122334455667788"


def read_vectors(path):
    with open(path, encoding="utf-8") as file:
        header, *cases = (json.loads(line) for line in file)
    return header, cases


def recordings():
    """(path, header, cases) of each file that was recorded with Bochs."""
    found = [(path, *read_vectors(path)) for path in sorted(VECTORS.glob("*.jsonl"))]
    return [entry for entry in found if entry[1]["source"]["engine"] == "bochs"]


def as_recorded(case):
    """The case with the registers that its recorder used."""
    if any(access["type"] == "rmw" for access in case.get("accesses", [])):
        return {**case, "registers": {"rax": RECORDER_ADDEND}}
    return case


# ---- Comparing ----

def differs(expected, answer):
    """Whether an answer is not exactly what was observed. `open` does not count: it is the same engine."""
    if isinstance(expected, list):
        return len(expected) != len(answer) or any(map(differs, expected, answer))
    if "any_of" in expected:
        expected = expected["any_of"][0]  # what was observed stands first
    return any(answer.get(key) != value for key, value in expected.items() if key != "open")


def run_recording(payload, path, header, cases):
    engine = engines.BochsEngine(model=header["source"]["model"], payload=payload)
    answers = engine.run(header, [as_recorded(case) for case in cases] if header["version"] == 1 else cases)
    wrong = [(case, answer) for case, answer in zip(cases, answers) if differs(case["expect"], answer)]
    for case, answer in wrong[:10]:
        print(f"{path.name}: {case['id']}\n  recorded {json.dumps(case['expect'])}\n  answered {json.dumps(answer)}")
    print(f"{path.name}: {len(cases) - len(wrong)} of {len(cases)} as recorded ({engine.model})")
    return len(cases), len(wrong)


def test_recordings(payload):
    counts = [run_recording(payload, *entry) for entry in recordings()]
    total, wrong = (sum(column) for column in zip(*counts))
    expect(total > 1000, "there are recordings")
    expect(wrong == 0, f"{wrong} of {total} cases differ from their recording")


# ---- Profiles ----

def all_zero(registers):
    return all(batch.number(register) == 0 for register in registers)


def test_profiles(payload):
    headers = {header["source"]["model"]: header for _, header, _ in recordings()}
    expect(len(headers) >= 3, "recordings of three models")
    for model, header in headers.items():
        captured = engines.BochsEngine(model=model, payload=payload).capture_profile()
        recorded = header["cpu"]
        for key in ("maxphyaddr", "linear_width", "msr", "vmcs_fields"):
            expect(captured[key] == recorded[key], f"{model}: {key} as recorded")
        for leaf in captured["cpuid"].keys() | recorded["cpuid"].keys():
            pair = [cpu["cpuid"].get(leaf, ["0x0"] * 4) for cpu in (captured, recorded)]
            expect(pair[0] == pair[1], f"{model}: CPUID {leaf} as recorded")
        print(f"{model}: {len(captured['msr'])} MSRs, {len(captured['cpuid'])} leaves, "
              f"{len(captured['vmcs_fields'])} fields")


# ---- What goes wrong ----

def entry_case(name, fields, memory=None, **keys):
    return {"id": name, "kind": "entry", "launch_state": "clear", "instruction": "vmlaunch",
            "vmcs": ["long64", fields], "memory": ["base", memory or {}], **keys}


NO_TIMER = {"0x4000": "0x16", "0x482e": "0x0"}
ENTERED = {"result": "entered"}
FAILURES = [
    (entry_case("before", {}), ENTERED),
    (entry_case("a loop", NO_TIMER, {"0x20090c0": "0xfeeb"}), ENTERED),
    (entry_case("halted", {**NO_TIMER, "0x4826": "0x1"}), ENTERED),
    (entry_case("shut down", {**NO_TIMER, "0x4826": "0x2"}), ENTERED),
    (entry_case("waits for a start-up IPI", {**NO_TIMER, "0x4826": "0x3"}), ENTERED),
    (entry_case("halted with NMIs blocked", {**NO_TIMER, "0x4826": "0x1", "0x4824": "0x8"}), ENTERED),
    (entry_case("a loop with NMIs blocked", {**NO_TIMER, "0x4824": "0x8"}, {"0x20090c0": "0xfeeb"}),
     {"result": "engine_hang"}),
    (entry_case("exits to memory that is none", {"0x6c16": "0xf0000000"}), {"result": "engine_reset"}),
    (entry_case("exits without paging structures", {"0x6c02": "0x3200000"}), {"result": "engine_reset"}),
    (entry_case("exits elsewhere", {"0x6c16": "0xffff800000500000"}), ENTERED),
    (entry_case("with other paging structures", {"0x6c02": "0x700000"}), ENTERED),
    (entry_case("launched", {}, launch_state="launched"), {"result": "vmfail", "kind": "valid", "error": 4}),
    ({**entry_case("resumed", {}, launch_state="launched"), "instruction": "vmresume"}, ENTERED),
    (entry_case("the payload's memory", {}, {"0x200000": "0x1"}),
     batch.not_runnable("memory at 0x200000 belongs to the payload")),
    (entry_case("no memory", {}, {"0x90000000": "0x1"}), batch.not_runnable("there is no memory at 0x90000000")),
    ({"id": "no fetch", "kind": "access", "vmcs": ["long64", {}], "memory": ["base", {}],
      "accesses": [{"type": "read", "linear": "0x400000", "size": 1}]},
     batch.not_runnable("a round of accesses does not begin with the fetch of an instruction")),
    ({"id": "another fetch", "kind": "access", "vmcs": ["long64", {}], "memory": ["base", {}],
      "accesses": [{"type": "fetch", "linear": "0x400000", "size": 1}]},
     batch.not_runnable("the first access is not the fetch of the guest's first instruction")),
    ({"id": "nothing to fill", "kind": "instructions", "memory": ["base", {}], "steps": [
        {"op": "fill", "vmcs": ["long64", {}]}, {"op": "vmxon", "address": "0x3200000"},
        {"op": "fill", "vmcs": ["long64", {}]}]}, [{"status": "ok"}] * 3),
    ({"id": "a sequence that loops", "kind": "instructions", "memory": ["base", {"0x20090c0": "0xfeeb"}], "steps": [
        {"op": "vmxon", "address": "0x3200000"}, {"op": "vmclear", "address": "0x3201000"},
        {"op": "vmptrld", "address": "0x3201000"}, {"op": "fill", "vmcs": ["long64", NO_TIMER]}, {"op": "vmlaunch"}]},
     batch.not_runnable(batch.NEVER_BACK)),
    ({"id": "a sequence that exits elsewhere", "kind": "instructions", "memory": ["base", {}], "steps": [
        {"op": "vmxon", "address": "0x3200000"}, {"op": "vmclear", "address": "0x3201000"},
        {"op": "vmptrld", "address": "0x3201000"}, {"op": "fill", "vmcs": ["long64", {"0x6c16": "0x4ba78aeb"}]},
        {"op": "vmlaunch"}]},
     [{"status": "ok"}] * 4 + [{"status": "ok", "exit_reason": 18}]),
    ({"id": "loops", "kind": "access", "vmcs": ["long64", NO_TIMER], "memory": ["base", {"0x20090c0": "0xfeeb"}],
      "accesses": [{"type": "fetch", "linear": "0x4000c0", "size": 2}]}, batch.not_runnable(batch.NEVER_BACK)),
    (entry_case("after", {}), ENTERED),
]


def test_failures(payload):
    header, _ = read_vectors(VECTORS / "entry-icelake.jsonl")
    engine = engines.BochsEngine(payload=payload, hang_seconds=6)
    answers = engine.run(header, [case for case, _ in FAILURES])
    for (case, wanted), answer in zip(FAILURES, answers):
        expect(answer == wanted, f"{case['id']}: {answer}, not {wanted}")
    print(f"{len(FAILURES)} cases")


# ---- Without a machine ----

def test_codec(payload):
    del payload
    for _, header, cases in recordings():
        layout = batch.Layout(header)
        data = batch.encode(layout, list(enumerate(cases)))
        expect(data[:8] == b"vmxbatch", "a batch begins with its magic")
        expect(not any(batch.refuse(layout, case) for case in cases), "no recorded case is refused")
    header, cases = read_vectors(VECTORS / "access-icelake.jsonl")
    layout = batch.Layout(header)
    case = next(case for case in cases if case["accesses"][-1]["type"] == "read")
    line = "5 exit r=80000021 q=4"
    expect(batch.decode(layout, case, line) ==
           {"result": "entry_failure", "exit_reason": 33, "qualification": "0x4"}, "a VM-entry failure")
    expect(batch.decode(layout, case, "5 invalid") == {"result": "vmfail", "kind": "invalid"}, "VMfailInvalid")
    expect(batch.decode(layout, case, "5 valid e=7")["error"] == 7, "VMfailValid")
    expect(batch.decode(layout, case, "5 nofield=2032 exit r=12")["result"] == "not_runnable", "no such field")
    expect(batch.decode(layout, case, "5 exit r=31 gp=1000 m=600000:100") ==
           {"result": "exit", "exit_reason": 49, "guest_physical": "0x1000", "memory": {"0x3000000": "0x3001507"}},
           "a misconfiguration, with a flag set")
    expect(batch.decode(layout, case, "5 exit vi=80000b0e ve=2 cr2=1234")["cr2"] == "0x1234", "a guest's exception")
    try:
        batch.Layout({**header, "vmcs": {"x": {"0x6c16": "nothing"}}})
        expect(False, "a value that is no number is refused")
    except ValueError:
        pass
    print("batches and lines")


# ---- Rounds, and instructions that are only bytes ----

READ = [{"type": "fetch", "linear": "0x400030", "size": 3}, {"type": "read", "linear": "0xfffffff000", "size": 8}]
INVEPT_ALL = {"type": "invept", "scope": "0x2", "descriptor": ["0x0", "0x0"]}
REMAP = {"type": "poke", "address": "0x3020ff8", "value": "0x40000437"}


def rounds_case(*accesses, **fields):
    return {"id": "rounds", "kind": "access", "vmcs": ["long64", {"0x681e": "0x400030", **fields}],
            "memory": ["base", {"0x3ffff000": "0x1111", "0x40000000": "0x2222"}],
            "accesses": [entry for group in accesses for entry in (group if isinstance(group, list) else [group])]}


def code_case(code, **fields):
    word = int.from_bytes(bytes.fromhex(code + "0f01c1").ljust(8, b"\0"), "little")
    return {"id": code, "kind": "intercept", "vmcs": ["long64", {"0x681e": "0x400000", **fields}],
            "memory": ["base", {"0x2009000": hex(word)}], "instruction": {"op": "code"}}


def test_rounds(payload):
    header, _ = read_vectors(VECTORS / "access-icelake.jsonl")
    remapped = rounds_case(READ, REMAP, INVEPT_ALL, READ)
    unmapped = rounds_case(READ, {**REMAP, "value": "0x0"}, INVEPT_ALL, READ)
    stopped = rounds_case(READ, REMAP, INVEPT_ALL, READ)
    stopped["memory"][1]["0x3020ff8"] = "0x0"
    answers = engines.BochsEngine(payload=payload).run(header, [
        remapped, unmapped, stopped, rounds_case(READ, {**REMAP, "address": "0x200000"}, READ),
        code_case("0fa2"), code_case("90"), code_case("0f01c1"), code_case("0f20c0", **{"0x4002": "0x96006172"})])
    expect(answers[0]["values"] == [None, "0x1111", None, None, None, "0x2222"], f"both rounds: {answers[0]}")
    expect(answers[0]["memory"]["0x3020ff8"] == "0x40000537", "the new entry has its accessed flag")
    expect((answers[1]["exit_reason"], answers[1]["memory"]["0x3020ff8"]) == (48, "0x0"), "no page in the second round")
    expect((answers[2]["exit_reason"], "0x40000537" in answers[2]["memory"].values()) == (48, False), "the first round fails")
    expect(answers[3]["result"] == "not_runnable", "the payload's memory cannot be changed")
    expect(answers[4] == {"result": "exit", "exit_reason": 10, "qualification": "0x0", "instruction_length": 2,
                          "instruction_info": "0x0"}, f"CPUID: {answers[4]}")
    expect(answers[5] == {"result": "complete"}, "NOP")
    expect((answers[6]["exit_reason"], answers[6]["instruction_length"]) == (18, 3), "VMCALL as the instruction")
    expect(answers[7] == {"result": "complete"}, f"MOV from CR0: {answers[7]}")
    print(f"{len(answers)} cases")


# ---- A machine that a shell plays: what it prints, boot by boot ----

class PlayedEngine(engines.Engine):
    name = "played"

    def __init__(self, payload, *scripts):
        super().__init__(payload=payload, hang_seconds=2)
        self.scripts = list(scripts)

    def start(self, directory, data):
        return engines.Machine(["sh", "-c", self.scripts.pop(0)], directory, self.hang_seconds)


def played(payload, *scripts, count=3):
    header, _ = read_vectors(VECTORS / "entry-icelake.jsonl")
    engine = PlayedEngine(payload, *scripts)
    answers = engine.run(header, [entry_case(str(index), {}) for index in range(count)])
    expect(not engine.scripts, "every machine was started")
    return [answer["result"] for answer in answers]


def test_machines(payload):
    start, end = "echo payload: started; ", "; echo payload: end"
    whole = start + "echo 0 invalid; echo 1 invalid; echo 2 invalid" + end
    rest = start + "echo 2 invalid" + end
    cases = [
        ("all is well", [whole], ["vmfail"] * 3),
        ("a crash", [start + "echo 0 invalid; printf '1 exit'", rest], ["vmfail", "engine_crash", "vmfail"]),
        ("a hang", [start + "echo 0 invalid; exec sleep 60", rest], ["vmfail", "engine_hang", "vmfail"]),
        ("a reset", [start + "echo 0 invalid; " + start + "echo 1 invalid", rest], ["vmfail", "engine_reset", "vmfail"]),
        ("a wait", [start + "echo 0 invalid; printf '1 waits '; exec sleep 60", rest], ["vmfail", "entered", "vmfail"]),
        ("a batch that was cut off", [start + "echo 0 invalid" + end, start + "echo 2 invalid" + end],
         ["vmfail", "engine_crash", "vmfail"]),
    ]
    for name, scripts, wanted in cases:
        expect(played(payload, *scripts) == wanted, name)
    expect(played(payload, "echo nothing", whole) == ["vmfail"] * 3, "a machine that starts at the second attempt")
    for scripts in ([start + "echo payload: no VMX: for a reason"], ["echo nothing"] * engines.BOOTS):
        try:
            played(payload, *scripts)
            expect(False, f"not available: {scripts}")
        except engines.EngineUnavailable as why:
            print(why)
    print(f"{len(cases)} ways to end")


# ---- The example hypervisor ----

def test_example(payload):
    """What the hypervisor logs on a processor is what it logs on the model; the model plays the guest as well, and says so."""
    golden = (HERE.parent / "golden" / "example-hypervisor.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in golden if not line.startswith(("        guest:", "frames still in use:"))]
    expect(sum("EPT violation" in line for line in wanted) >= 2, "lazy EPT faults")
    for model in ("corei7_icelake_u", "corei7_skylake_x", "tigerlake"):
        lines = engines.BochsEngine(model=model, payload=payload).run_example()
        first, last = lines.index("VMX operation is on"), lines.index("VMX operation is off")
        difference = list(difflib.unified_diff(wanted, lines[first:last + 1], "model", model, lineterm=""))
        expect(not difference, "\n".join(difference))
        print(f"{model}: {len(wanted)} lines, as on the model")


# ---- The image for a machine that is started by hand, and what came out of it ----

def run_tool(*arguments, status=0):
    done = subprocess.run([sys.executable, str(HERE / "machine.py"), "--json", *arguments], capture_output=True,
                          text=True, check=False)
    expect(done.returncode == status, f"machine.py {arguments}: {done.stderr}")
    return done


def test_machine(payload):
    header, cases = read_vectors(VECTORS / "entry-skylake.jsonl")
    with tempfile.TemporaryDirectory(prefix="vmxsim-crosscheck-") as directory:
        vectors, image, log, recording = (os.path.join(directory, name) for name in ("v", "image", "log", "recording"))
        with open(vectors, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in [header, *cases[:3]])
        done = json.loads(run_tool("image", "--payload", payload, "--vectors", vectors, image).stdout)
        expect(done["cases"] == 3 and done["refused"] == 0 and os.path.getsize(image) == done["bytes"], "an image")
        with open(log, "w", encoding="ascii") as file:
            file.write("payload: started\n0 invalid\n2 valid e=7\n")
        done = json.loads(run_tool("answers", "--vectors", vectors, log, recording).stdout)
        expect((done["answered"], done["missing"]) == (2, 1), "a log that ends early")
        new, answers = read_vectors(recording)
        expect(new["source"]["engine"] == "bare-metal", "the recording says where it is from")
        expect([case["expect"]["result"] for case in answers] == ["vmfail"] * 2, "the answers of the log")
        expect([case["id"] for case in answers] == [cases[0]["id"], cases[2]["id"]], "of the right cases")
        bad = run_tool("answers", "--vectors", log, log, recording, status=1)
        expect(bad.stderr.count("\n") == 1, "bad input gets one line")
    print("image and answers")


# ---- No VMX ----

def qemu(payload, arguments):
    command = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "2048", "-display", "none", "-vga", "none",
               "-net", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=1", *arguments]
    del payload
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False)
    return done.stdout.replace("\r", "").split("\n"), done.returncode


def test_no_vmx(payload):
    if not engines.shutil.which("qemu-system-x86_64"):
        raise engines.EngineUnavailable("qemu-system-x86_64 is not installed")
    wanted = "payload: no VMX: the processor does not offer VMX (CPUID.01H:ECX.VMX is 0)"
    with tempfile.TemporaryDirectory(prefix="vmxsim-crosscheck-") as directory:
        image = os.path.join(directory, "image.raw")
        header, cases = read_vectors(VECTORS / "entry-icelake.jsonl")
        with open(image, "wb") as file:
            file.write(engines.make_image(payload, batch.encode(batch.Layout(header), list(enumerate(cases)))))
        for name, arguments in (("multiboot", ["-kernel", os.path.join(payload, "payload.elf")]),
                                ("raw image", ["-drive", f"file={image},format=raw"])):
            lines, status = qemu(payload, ["-cpu", "qemu64", *arguments])
            lines = [line for line in lines if line.startswith("payload:")]
            expect(lines == ["payload: started", wanted], f"{name}: {lines}")
            expect(status == 0x31 << 1 | 1, f"{name}: the payload ends the machine itself ({status})")
            print(f"{name}: {lines[-1]}")


def expect(true, what):
    if not true:
        sys.exit(f"FAILED: {what}")


TESTS = {"codec": test_codec, "machine": test_machine, "machines": test_machines,
         "recordings": test_recordings, "profiles": test_profiles, "failures": test_failures, "rounds": test_rounds,
         "example": test_example,
         "no-vmx": test_no_vmx}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in TESTS:
        sys.exit(__doc__)
    try:
        TESTS[sys.argv[1]](sys.argv[2])
    except engines.EngineUnavailable as why:
        if os.environ.get("VMXSIM_ALLOW_SKIP") == "1":
            print(f"skipped: {why} and VMXSIM_ALLOW_SKIP=1")
            sys.exit(SKIPPED)
        sys.exit(f"FAILED: {why} (scripts/install-deps.sh installs what is needed; VMXSIM_ALLOW_SKIP=1 skips this)")


if __name__ == "__main__":
    main()
