# SPDX-License-Identifier: Apache-2.0
"""Plants a change in libvmxcore or libvmxsim, and runs the tests against the changed library.

The tests of the build directory (preset mutants) are linked with shared libraries. A mutant is one more copy of these libraries
in a folder of its own, found through LD_LIBRARY_PATH: one file is compiled, one library is linked, and no test is built again.
Sources and build directory are never written to, so that any number of mutants can be tried at the same time.
"""
import filecmp
import glob
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIBRARIES = {"lib": "vmxcore", "sim": "vmxsim"}
NEEDS = {"vmxcore": [], "vmxsim": ["-ljansson", "-lxxhash"]}
FINDING_LABELS = {"unit", "vectors", "golden", "example", "fuzz"}
NOT_FINDERS = {"native_instructions", "asm_vmx"}  # neither looks at the libraries that are changed here
MEMORY, OUTPUT = 4 << 30, 1 << 26
PASSED, FAILED, TIMEOUT = "passed", "failed", "timeout"


class Unfit(Exception):
    """A change that cannot be planted: its text is not there exactly once, or the result does not compile."""


def read_text(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def joined(text):
    """In JSON, text of several lines is an array of lines."""
    return text if isinstance(text, str) else "\n".join(text)


def changes_of(defect):
    """The texts of the files that this defect changes: {path: text}."""
    changes = {}
    for edit in defect["edits"]:
        path, find = edit["file"], joined(edit["find"])
        text = changes.get(path) or read_text(os.path.join(ROOT, path))
        if text.count(find) != 1:
            raise Unfit(f"{path}: the place to plant \"{defect['what']}\" is there {text.count(find)} times, not once")
        changes[path] = text.replace(find, joined(edit["replace"]))
    return changes


def compile_commands(build):
    """The words of the command that compiles each file of the build, by the path of the file."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as stream:
        return {os.path.relpath(one["file"], ROOT): one["command"].split() for one in json.load(stream)}


def compile_changed(words, path, text, folder, build):
    """An object file of this text, compiled as the build compiles the file at this path."""
    changed = os.path.join(folder, os.path.basename(path))
    with open(changed, "w", encoding="utf-8") as stream:
        stream.write(text)
    return compile_file(words, changed, folder, build)


def compile_file(words, source, folder, build):
    compiled = os.path.join(folder, os.path.basename(source) + ".o")
    words = [word for word in words if word != "-Werror"]
    words[words.index("-o") + 1], words[words.index("-c") + 1] = compiled, source
    done = subprocess.run([words[0], "-w", *words[1:]], cwd=build, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unfit(f"{source} does not compile:\n{done.stderr}")
    return compiled


class Finder:
    """A test of the build, as CTest runs it."""

    def __init__(self, test, inputs=None):
        properties = {one["name"]: one["value"] for one in test["properties"]}
        self.name, self.command = test["name"], list(test["command"])
        self.labels = set(properties.get("LABELS", []))
        self.folder = properties["WORKING_DIRECTORY"]
        self.environment = dict(one.split("=", 1) for one in properties.get("ENVIRONMENT", []))
        self.failure = properties.get("FAIL_REGULAR_EXPRESSION", [])
        self.limit = 600.0
        if inputs is not None and "--random" in self.command:
            self.command[self.command.index("--random") + 1] = str(inputs)

    def run(self, libraries):
        """PASSED, FAILED or TIMEOUT, with the seconds that it took. No libraries: as built."""
        # One process per suite: what a crash hides does not matter here. The longest suite runs shortened, as for coverage.
        environment = {**os.environ, **self.environment, "CK_FORK": "no", "VMXSIM_STEPS_DIVISOR": "10"}
        if libraries is not None:
            environment["LD_LIBRARY_PATH"] = libraries
        start = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(self.command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            ended = self.watch(process, output, start)
            seconds = time.monotonic() - start
            output.seek(0)
            if not ended:
                return TIMEOUT, seconds
            return (FAILED if process.returncode != 0 or self.says_so(output.read()) else PASSED), seconds

    def watch(self, process, output, start):
        """Whether it ended by itself: a mutant may loop, allocate or print without end."""
        while (time.monotonic() - start < self.limit and resident_bytes(process.pid) < MEMORY
               and os.fstat(output.fileno()).st_size < OUTPUT):
            try:
                process.wait(timeout=0.5)
                return True
            except subprocess.TimeoutExpired:
                pass
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False

    def says_so(self, output):
        """Some tests fail by what they print."""
        return any(re.search(pattern.encode(), output) for pattern in self.failure)


def resident_bytes(pid):
    try:
        return int(read_text(f"/proc/{pid}/statm").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


class Build:
    """A build directory of the preset mutants."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.commands = compile_commands(self.folder)
        self.objects, self.names = {}, {}
        for place, library in LIBRARIES.items():
            self.objects[library] = sorted(glob.glob(os.path.join(self.folder, place, "CMakeFiles", f"{library}.dir", "**", "*.o"),
                                                     recursive=True))
            self.names[library] = os.readlink(os.path.join(self.folder, place, f"lib{library}.so"))

    def finders(self, inputs=None):
        """The tests that look for defects, by name."""
        listed = subprocess.run(["ctest", "--test-dir", self.folder, "--show-only=json-v1"], check=True, capture_output=True)
        tests = [Finder(test, inputs) for test in json.loads(listed.stdout)["tests"]]
        return {test.name: test for test in tests if test.labels & FINDING_LABELS and test.name not in NOT_FINDERS}

    def compile(self, path, text, folder):
        if path not in self.commands:
            raise Unfit(f"{path}: the build does not compile it")
        return compile_changed(self.commands[path], path, text, folder, self.folder)

    def link(self, library, replaced, folder):
        """The library with some of its objects replaced: {path of the source: object}."""
        place = next(place for place, name in LIBRARIES.items() if name == library)
        own = {os.path.join(self.folder, place, "CMakeFiles", f"{library}.dir", os.path.relpath(path, place) + ".o"): compiled
               for path, compiled in replaced.items()}
        objects = [own.get(one, one) for one in self.objects[library]]
        name = self.names[library]
        compiler = next(iter(self.commands.values()))[0]
        done = subprocess.run([compiler, "-shared", f"-Wl,-soname,{name}", "-o", os.path.join(folder, name), *objects,
                               *NEEDS[library]], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unfit(f"lib{library} does not link:\n{done.stderr}")

    def plant(self, changes, folder):
        """Libraries with these changes, {path: text}, in the folder. A changed header compiles everything."""
        if not all(path.endswith(".c") for path in changes):
            self.plant_tree(self.copy_tree(changes, folder), folder)
            return
        replaced = {}
        for path, text in changes.items():
            replaced.setdefault(LIBRARIES[path.split("/")[0]], {})[path] = self.compile(path, text, folder)
        for library, objects in replaced.items():
            self.link(library, objects, folder)

    def copy_tree(self, changes, folder):
        tree = os.path.join(folder, "tree")
        for place in ("include", *LIBRARIES):
            shutil.copytree(os.path.join(ROOT, place), os.path.join(tree, place))
        for path, text in changes.items():
            with open(os.path.join(tree, path), "w", encoding="utf-8") as stream:
                stream.write(text)
        return tree

    def plant_patch(self, patch, folder):
        """Libraries built from a copy of the tree with a patch applied."""
        tree = self.copy_tree({}, folder)
        done = subprocess.run(["patch", "--batch", "--forward", "-p1", "-d", tree, "-i", os.path.abspath(patch)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unfit(f"{patch} does not apply:\n{done.stdout}{done.stderr}")
        self.plant_tree(tree, folder)

    def plant_tree(self, tree, folder):
        """Compiles what differs from the sources, and everything if a header does."""
        paths = [path for path in self.commands if path.split("/")[0] in LIBRARIES and "/cli/" not in path and "/native/" not in path]
        everything, replaced = headers_differ(tree), {}
        for path in paths:
            if not everything and read_text(os.path.join(tree, path)) == read_text(os.path.join(ROOT, path)):
                continue
            words = [word.replace(ROOT, tree) if word.startswith(f"-I{ROOT}/") and self.folder not in word else word
                     for word in self.commands[path]]
            library = LIBRARIES[path.split("/")[0]]
            objects = os.path.join(folder, library)
            os.makedirs(objects, exist_ok=True)
            replaced.setdefault(library, {})[path] = compile_file(words, os.path.join(tree, path), objects, self.folder)
        for library, objects in replaced.items():
            self.link(library, objects, folder)


def headers_differ(tree):
    for folder, _, files in os.walk(tree):
        for name in files:
            path = os.path.join(folder, name)
            original = os.path.join(ROOT, os.path.relpath(path, tree))
            if not name.endswith(".c") and not (os.path.exists(original) and filecmp.cmp(path, original, shallow=False)):
                return True
    return False


def measure(finders, jobs):
    """Runs all finders without a change: each must pass, and how long it takes decides its limit and its turn."""
    with ThreadPoolExecutor(jobs) as pool:
        results = dict(zip(finders, pool.map(lambda finder: finder.run(None), finders.values())))
    for name, (outcome, seconds) in results.items():
        if outcome != PASSED:
            raise Unfit(f"{name} fails without any defect")
        finders[name].limit, finders[name].seconds = 20 + 20 * seconds, seconds
    return results
