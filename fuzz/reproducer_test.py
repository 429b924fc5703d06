#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What harnesses print of a failure, put to the test with planted defects.

reproducer_test.py SOURCE_DIRECTORY

Builds the libraries, some harnesses and the Python module in a folder of its own. Then each defect of planted.json is put into a copy
of one file, linked before the library: the harness fails within its corpus and some random inputs, --minimize makes that input
smaller, and the C and the Python program that the harness prints show the mismatch with the defect, and none without.
"""
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

OPTIONS = {"CMAKE_BUILD_TYPE": "Release", "VMXSIM_BUILD_PYTHON": "ON", "VMXSIM_BUILD_TESTS": "OFF",
           "VMXSIM_BUILD_EXAMPLES": "OFF", "VMXSIM_BUILD_CLI": "OFF", "CMAKE_POSITION_INDEPENDENT_CODE": "ON"}
LIBRARIES = ["-ljansson", "-lxxhash", "-lcheck", "-lsubunit", "-lm", "-lrt", "-pthread"]
MARKS = re.compile(r"---- reproducer\.c ----\n(.*)---- reproducer\.py ----\n(.*)---- end of reproducers ----", re.DOTALL)
FAILING = re.compile(r"^    input: (.*)$", re.MULTILINE)
MAX_BYTES, INPUTS, SKIPPED = 400, 20000, 77


def run(command, expected=0, **options):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, **options)
    if expected is not None and done.returncode != expected:
        sys.exit(f"{' '.join(command)}: status {done.returncode}, not {expected}\n{done.stdout}{done.stderr}")
    return done


def has_cffi(python):
    return run([python, "-c", "import cffi; assert int(cffi.__version__.split('.')[0]) >= 2"], None).returncode == 0


def find_python(source, folder):
    """An interpreter with cffi: this one, or an environment of its own."""
    if has_cffi(sys.executable):
        return sys.executable
    environment = os.path.join(folder, "environment")
    cache = os.environ.get("VMXSIM_WHEEL_CACHE", os.path.join(source, "build", "python", "wheels"))
    python = os.path.join(environment, "bin", "python")
    run([sys.executable, "-m", "venv", environment])
    done = run([python, "-m", "pip", "install", "--quiet", "--find-links", cache, "cffi>=2"], None)
    if done.returncode != 0 and os.environ.get("VMXSIM_ALLOW_SKIP") == "1":
        print("skipped: there is no cffi for Python")
        sys.exit(SKIPPED)
    if done.returncode != 0:
        sys.exit(f"there is no cffi for Python:\n{done.stderr}")
    return python


class Tree:
    """A build with everything, and what is linked from it."""

    def __init__(self, source, folder, harnesses):
        self.source, self.folder, self.build = source, folder, os.path.join(folder, "build")
        self.python = find_python(source, folder)
        settings = [f"-D{name}={value}" for name, value in OPTIONS.items()]
        run(["cmake", "-S", source, "-B", self.build, f"-DPython_EXECUTABLE={self.python}",
             "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *settings])
        targets = [f"fuzz_{name}" for name in harnesses]
        run(["cmake", "--build", self.build, "--parallel", "3", "--target", "vmxsim_python", *targets])
        with open(os.path.join(self.build, "compile_commands.json"), encoding="utf-8") as stream:
            self.commands = json.load(stream)
        with open(os.path.join(source, "CMakeLists.txt"), encoding="utf-8") as stream:
            self.version = re.search(r"VERSION (\d+\.\d+\.\d+)", stream.read()).group(1)
        self.archives = [self.find(f"{name}.a") for name in ("libfuzz_support", "libvmxsim", "libvmxcore")]

    def find(self, name):
        return next(iter(glob.glob(os.path.join(self.build, "**", name), recursive=True)))

    def objects(self, target):
        return glob.glob(os.path.join(self.build, "**", f"{target}.dir", "**", "*.o"), recursive=True)

    def compile(self, defect):
        """An object with the defect. It takes the place of the library's own."""
        source = os.path.join(self.source, defect["file"])
        with open(source, encoding="utf-8") as stream:
            text = stream.read()
        if text.count(defect["find"]) != 1:
            sys.exit(f"{defect['file']}: the place for \"{defect['what']}\" is not there exactly once")
        changed, compiled = os.path.join(self.folder, "planted.c"), os.path.join(self.folder, "planted.o")
        with open(changed, "w", encoding="utf-8") as stream:
            stream.write(text.replace(defect["find"], defect["replace"]))
        command = next(one["command"] for one in self.commands if os.path.samefile(one["file"], source)).split()
        command[command.index("-o") + 1], command[command.index("-c") + 1] = compiled, changed
        run(command, cwd=self.build)
        return compiled

    def link(self, name, objects, *flags):
        program = os.path.join(self.folder, name)
        run(["cc", *flags, "-o", program, *objects, *self.archives, *LIBRARIES])
        return program

    def package(self, name, objects):
        """The Python package with a module of these objects; the folder for PYTHONPATH."""
        folder = os.path.join(self.folder, name)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(os.path.join(self.source, "bindings", "python", "vmxsim"), os.path.join(folder, "vmxsim"))
        for generated in ("enums.py", "fields.py"):
            shutil.copy(self.find(generated), os.path.join(folder, "vmxsim"))
        about = os.path.join(folder, "vmxsim.dist-info")
        os.mkdir(about)
        with open(os.path.join(about, "METADATA"), "w", encoding="utf-8") as stream:
            stream.write(f"Metadata-Version: 2.1\nName: vmxsim\nVersion: {self.version}\n")
        self.link(f"{name}/vmxsim/_vmxsim.abi3.so", [*objects, *self.objects("vmxsim_python")], "-shared")
        return folder


def random_inputs(folder):
    """The same in every run: bytes, of which many are 0, so that choices are often the first ones."""
    inputs = os.path.join(folder, "random")
    if not os.path.isdir(inputs):
        os.mkdir(inputs)
        generator = random.Random(1)
        for number in range(INPUTS):
            density = generator.random()
            content = bytes(generator.randrange(256) if generator.random() < density else 0
                            for _ in range(generator.randrange(4, 48)))
            with open(os.path.join(inputs, f"{number:05}"), "wb") as stream:
                stream.write(content)
    return inputs


def find_failure(tree, harness, program):
    """The smallest input that --minimize leaves, and what the harness prints of it."""
    failing = FAILING.search(run([program, os.path.join(tree.source, "fuzz", "corpus", harness),
                                  random_inputs(tree.folder)], None).stderr)
    if failing is None:
        sys.exit(f"fuzz_{harness}: no input fails")
    copy = os.path.join(tree.folder, "input")
    shutil.copy(failing.group(1), copy)
    output = run([program, "--minimize", copy], None).stderr
    before, after = os.path.getsize(copy), os.path.getsize(copy + ".min")
    if after > min(before, MAX_BYTES):
        sys.exit(f"fuzz_{harness}: {before} bytes are minimized to {after}")
    return before, after, output


def show(tree, planted, programs, name):
    """Both programs with the defect and without it: the mismatch, and none."""
    c_text, python_text = programs
    c_file, python_file = os.path.join(tree.folder, "reproducer.c"), os.path.join(tree.folder, "reproducer.py")
    for path, text in ((c_file, c_text), (python_file, python_text)):
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    shown = []
    for objects, expected in (([planted], 1), ([], 0)):
        program = tree.link("reproducer", [c_file, *objects], "-std=c11", f"-I{tree.source}/include", "-Wall")
        environment = {**os.environ, "PYTHONPATH": tree.package("package", objects)}
        c_output = run([program], expected).stdout
        python = run([tree.python, python_file], expected, env=environment)
        if c_output != python.stdout:
            sys.exit(f"{name}: C says\n{c_output}and Python\n{python.stdout}{python.stderr}")
        shown.append(c_output)
    if not shown[0] or shown[1]:
        sys.exit(f"{name}: with the defect \"{shown[0]}\", without it \"{shown[1]}\"")
    return shown[0].strip().splitlines()[0]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source = os.path.abspath(sys.argv[1])
    with open(os.path.join(source, "fuzz", "planted.json"), encoding="utf-8") as stream:
        defects = json.load(stream)
    with tempfile.TemporaryDirectory(prefix="vmxsim-reproducer-") as folder:
        tree = Tree(source, folder, sorted({defect["harness"] for defect in defects.values()}))
        for name, defect in defects.items():
            planted = tree.compile(defect)
            target = f"fuzz_{defect['harness']}"
            program = tree.link(target, [planted, *tree.objects(target)])
            before, after, output = find_failure(tree, defect["harness"], program)
            programs = MARKS.search(output)
            if programs is None:
                sys.exit(f"{name}: no programs in\n{output}")
            line = show(tree, planted, programs.groups(), name)
            print(f"{name} ({defect['what']}): {before} bytes, minimized to {after}; {line}")


if __name__ == "__main__":
    main()
