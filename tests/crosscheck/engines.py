# SPDX-License-Identifier: Apache-2.0
"""The machines that experiments run on, one class each.

    engine = BochsEngine(model="corei7_icelake_u")
    cpu = engine.capture_profile()
    answers = engine.run(header, cases)

run() gives one answer per case, in the shape of `expect` (docs/vectors.md), or {"result": ...} with one of

    engine_crash   the engine ended in the middle of the case
    engine_hang    nothing came back in time
    engine_reset   the machine started again
    not_runnable   the case cannot be run by this payload; `reason` says why

After the first three the rest of the cases go on in a new machine.
"""

import concurrent.futures
import os
import re
import selectors
import shutil
import subprocess
import tempfile

import batch

SECTOR = 512
BOOT_SECTORS = 4
REGIONS_OFFSET = 0x180
PAYLOAD_ADDRESS = 0x200000
BATCH_ADDRESS = 0x60000000
CYLINDER = 16 * 63 * SECTOR

CASES_PER_BOOT = 2500
HANG_SECONDS = 15
START_SECONDS = 120  # a boot, on a machine that does much else
# The payload says this before a VM entry to wait-for-SIPI. An entry that fails says so at once; one that succeeds is never
# heard of again.
WAITS = b" waits "
WAIT_SECONDS = 5
BOOTS = 3  # of a machine that does not come to the payload
STARTED = "payload: started"
ENDED = "payload: end"

DEFAULT_PAYLOAD = os.environ.get("VMXSIM_PAYLOAD_DIR", "")
SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class EngineUnavailable(Exception):
    """This machine cannot run the engine; the text is the one line to print."""


def find_payload(directory=None):
    """The directory with boot.bin, payload.bin and payload.elf."""
    candidates = [directory or DEFAULT_PAYLOAD]
    candidates += [os.path.join(SOURCE_DIR, "build", preset, "tests/crosscheck/payload")
                   for preset in ("dev", "release", "debug", "payload")]
    for candidate in candidates:
        if candidate and all(os.path.exists(os.path.join(candidate, name))
                             for name in ("boot.bin", "payload.bin", "payload.elf")):
            return candidate
    raise EngineUnavailable("the payload is not built (cmake -DVMXSIM_BUILD_CROSSCHECK=ON)")


def padded(data, multiple):
    return data + bytes(-len(data) % multiple)


def make_image(directory, data):
    """The raw image: boot code, payload, batch; a whole number of cylinders."""
    with open(os.path.join(directory, "boot.bin"), "rb") as file:
        boot = bytearray(file.read())
    with open(os.path.join(directory, "payload.bin"), "rb") as file:
        payload = padded(file.read(), SECTOR)
    data = padded(data, SECTOR)
    regions = [BOOT_SECTORS, len(payload) // SECTOR, PAYLOAD_ADDRESS,
               BOOT_SECTORS + len(payload) // SECTOR, len(data) // SECTOR, BATCH_ADDRESS]
    boot[REGIONS_OFFSET:REGIONS_OFFSET + 24] = b"".join(value.to_bytes(4, "little") for value in regions)
    return padded(bytes(boot) + payload + data, CYLINDER)


def version_of(command, pattern):
    """What a program says of its version; None: it does not start."""
    try:
        process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                                 check=False)
    except OSError:
        return None
    match = re.search(pattern, process.stdout + process.stderr)
    return match.group(1) if match else None


class Machine:
    """One run of an engine's program: its lines, until it ends, restarts or says nothing for too long."""

    def __init__(self, command, directory, hang_seconds):
        self.hang_seconds = hang_seconds
        self.ended = None  # afterwards: "end", "waits", "engine_crash", "engine_hang" or "engine_reset"
        self.started = 0
        self.rest = b""
        self.log = open(os.path.join(directory, "stderr.txt"), "wb")
        self.process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log)

    def lines(self):
        """Whole lines, as they come. A case has been run when its line is whole."""
        for piece in self._pieces():
            *whole, self.rest = (self.rest + piece).split(b"\n")
            for raw in whole:
                line = raw.decode("ascii", "replace").replace("\0", "").rstrip()
                position = line.find(STARTED)
                if position >= 0:
                    self.started += 1
                if self.started > 1:
                    self.ended = "engine_reset"
                    return
                yield line
                if ENDED in line:
                    self.ended = "end"
        if self.ended == "waits":
            yield self.rest.decode("ascii", "replace").strip()
        self.ended = self.ended or "engine_crash"

    def _pieces(self):
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        while self.ended is None:
            waits = self.rest.endswith(WAITS)
            patience = WAIT_SECONDS if waits else self.hang_seconds if self.started else START_SECONDS
            if not selector.select(patience):
                self.ended = "waits" if waits else "engine_hang"
                return
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                return
            yield piece

    def close(self):
        if self.process.poll() is None:
            try:
                self.process.wait(0.5 if self.ended == "end" else 0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


# 2 GBytes, as the recordings have it; what capturing a profile needs of a header.
RAM = [["0x0", "0xa0000"], ["0x100000", "0x7ff00000"]]
CAPTURE_HEADER = {"cpu": {"vmcs_fields": []}, "ram": RAM, "vmxon_pointer": "0x3200000", "vmcs_pointer": "0x3204000",
                  "vmcs": {}, "memory": {"empty": {}}}


class Engine:
    """What all engines share; a subclass says how its machine is started."""

    name = ""
    version = ""
    model = ""

    def __init__(self, payload=None, hang_seconds=HANG_SECONDS, cases_per_boot=CASES_PER_BOOT,
                 jobs=1):
        self.payload = find_payload(payload)
        self.hang_seconds = hang_seconds
        self.cases_per_boot = cases_per_boot
        self.jobs = jobs  # machines at a time

    def start(self, directory, data):
        """Starts a machine with the batch `data`; files go to `directory`."""
        raise NotImplementedError

    # ---- The contract ----

    def capture_profile(self):
        """The header's `cpu` object: capability MSRs, CPUID leaves, VMCS fields that exist."""
        lines, ended, _ = self._boot(batch.Layout(CAPTURE_HEADER), [(0, {"kind": "capture"})])
        if 0 not in lines:
            raise EngineUnavailable(f"{self.name}: the machine's profile could not be captured ({ended})")
        return batch.decode_profile(lines[0])

    def run(self, header, cases, progress=None):
        """One answer per case. `progress(done)` is called now and then."""
        layout = batch.Layout(header)
        reasons = [batch.refuse(layout, case) for case in cases]
        answers = {index: batch.not_runnable(reason) for index, reason in enumerate(reasons) if reason}
        # Changing templates takes longer than many a case.
        waiting = sorted((index for index, reason in enumerate(reasons) if not reason),
                         key=lambda index: cases[index]["memory"][0])
        size = max(1, min(self.cases_per_boot, -(-len(waiting) // self.jobs)))
        parts = [[(index, cases[index]) for index in waiting[start:start + size]]
                 for start in range(0, len(waiting), size)]
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for done in concurrent.futures.as_completed(pool.submit(self._run_part, layout, part) for part in parts):
                answers.update(done.result())
                if progress:
                    progress(len(answers))
        return [answers[index] for index in range(len(cases))]

    def run_example(self):
        """The lines that the example hypervisor prints in the payload."""
        return self._boot(batch.Layout(CAPTURE_HEADER), [(0, {"kind": "example"})])[2]

    # ---- Inside ----

    def _run_part(self, layout, part):
        """{number: answer} of (number, case) pairs: one machine, and another after each that did not survive."""
        answers = {}
        while part:
            lines, ended, _ = self._boot(layout, part)
            for index, case in part:
                if index in lines:
                    answers[index] = batch.decode(layout, case, lines[index])
            part = [(index, case) for index, case in part if index not in answers]
            if part and ended != "waits":  # the first of them is the one that ended the machine
                answers[part.pop(0)[0]] = {"result": ended}
        return answers

    def _boot(self, layout, part):
        """({number: line}, how it ended, other lines) of one machine; one that does not start is given another chance."""
        data = batch.encode(layout, part)
        numbers = {index for index, _ in part}
        for _ in range(BOOTS):
            lines, ended, others = self._boot_once(data, numbers)
            if lines or STARTED in others:
                return lines, ended if ended != "end" else "engine_crash", others
        raise EngineUnavailable(f"{self.name}: the payload did not start ({ended})")

    def _boot_once(self, data, numbers):
        directory = tempfile.mkdtemp(prefix="vmxsim-crosscheck-")
        lines, others = {}, []
        try:
            machine = self.start(directory, data)
            try:
                for line in machine.lines():
                    first = line.split(" ", 1)[0]
                    if first.isdigit() and int(first) in numbers:
                        lines[int(first)] = line
                    else:
                        others.append(line)
            finally:
                machine.close()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        for line in others:
            if line.startswith("payload: no VMX"):
                raise EngineUnavailable(f"{self.name}: {line}")
        return lines, machine.ended, others


BOCHS_CONFIGURATION = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, parallel=0, serial=0, gameport=0, e1000=0, sb16=0
romimage: file={bios}
vgaromimage: file={vgabios}
memory: guest=2048, host=2048
cpu: model={model}, count=1, ips=4000000, reset_on_triple_fault=1, cpuid_limit_winnt=0, ignore_bad_msrs=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path="{image}", mode=flat
boot: disk
clock: sync=none
port_e9_hack: enabled=1
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""


def first_file(*paths):
    return next((path for path in paths if os.path.exists(path)), paths[0])


class BochsEngine(Engine):
    """Bochs with one of its CPU models, without a display."""

    name = "bochs"

    def __init__(self, model="corei7_icelake_u", **options):
        super().__init__(**options)
        self.model = model
        self.program = shutil.which("bochs-bin") or shutil.which("bochs")
        if self.program is None:
            raise EngineUnavailable("bochs: not installed")
        self.version = version_of([self.program, "--help"], r"Emulator (\d[\w.]*)")
        if self.version is None:
            raise EngineUnavailable("bochs: does not start")

    def start(self, directory, data):
        image = os.path.join(directory, "image.raw")
        with open(image, "wb") as file:
            file.write(make_image(self.payload, data))
        with open(os.path.join(directory, "bochsrc"), "w", encoding="ascii") as file:
            file.write(BOCHS_CONFIGURATION.format(
                model=self.model, image=image, log=os.path.join(directory, "log.txt"),
                bios=first_file("/usr/share/bochs/BIOS-bochs-latest", "/usr/local/share/bochs/BIOS-bochs-latest"),
                vgabios=first_file("/usr/share/bochs/VGABIOS-lgpl-latest", "/usr/share/vgabios/vgabios.bin",
                                   "/usr/local/share/bochs/VGABIOS-lgpl-latest")))
        with open(os.path.join(directory, "commands"), "w", encoding="ascii") as file:
            file.write("c\nc\n")  # the debugger stops at the start, and after a reset
        return Machine([self.program, "-q", "-f", "bochsrc", "-rc", "commands"], directory, self.hang_seconds)


def nested_vmx():
    """KVM here runs on VT-x and offers it to guests."""
    try:
        with open("/sys/module/kvm_intel/parameters/nested", encoding="ascii") as file:
            return file.read().strip() in ("Y", "1")
    except OSError:
        return False


class QemuEngine(Engine):
    """QEMU: with KVM and a processor that has VMX, or to the payload's line that there is none."""

    name = "kvm"
    program_name = "qemu-system-x86_64"

    def __init__(self, accelerator="kvm", cpu="host,+vmx", **options):
        super().__init__(**options)
        self.accelerator = accelerator
        self.cpu = cpu
        self.program = shutil.which(self.program_name)
        if self.program is None:
            raise EngineUnavailable(f"kvm: {self.program_name} is not installed")
        if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            raise EngineUnavailable("kvm: /dev/kvm cannot be opened")
        if accelerator == "kvm" and not nested_vmx():
            raise EngineUnavailable("kvm: no VT-x with nested virtualization (module kvm_intel, parameter nested)")
        self.version = version_of([self.program, "--version"], r"version (\d[\w.]*)")
        self.model = cpu

    def start(self, directory, data):
        module = os.path.join(directory, "batch.bin")
        with open(module, "wb") as file:
            file.write(data)
        return Machine([self.program, "-machine", f"pc,accel={self.accelerator}", "-cpu", self.cpu, "-m", "2048",
                        "-display", "none", "-vga", "none", "-net", "none", "-no-reboot", "-monitor", "none",
                        "-serial", "none", "-chardev", "stdio,id=lines,mux=off",
                        "-device", "isa-debugcon,iobase=0xe9,chardev=lines",
                        "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
                        "-kernel", os.path.join(self.payload, "payload.elf"), "-initrd", module],
                       directory, self.hang_seconds)
