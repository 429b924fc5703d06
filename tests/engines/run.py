# SPDX-License-Identifier: Apache-2.0
"""Fuzzing engines, as users run them; most steps build the worked example examples/fuzz_ept_mapper against the installed package.

libfuzzer  clang's libFuzzer finds the example's mistake; with the mistake mended it finds nothing
afl        afl-clang-fast and afl-fuzz find it too, with the example's mutators as a shared library, linked from libvmxsim's archive
engine     LIB_FUZZING_ENGINE: a harness of this project with libFuzzer's archive, and with AFL++'s driver
campaign   scripts/fuzz.sh on one harness, with both engines, and its errors
document   docs/fuzzing.md shows the example as it is
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "structure"))
from common import need_tool  # noqa: E402

SECONDS = 60  # within which an engine finds the mistake; it takes well under one
MISTAKE = "WRITE_BACK | RIGHTS;"
MENDED = "WRITE_BACK | (*large & RIGHTS);"
AFL = {"AFL_NO_UI": "1", "AFL_QUIET": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
       "AFL_NO_AFFINITY": "1", "AFL_BENCH_UNTIL_CRASH": "1"}


def fail(text):
    sys.exit(f"FAILED: {text}")


def run(*command, **options):
    command = [str(part) for part in command]
    print("+", " ".join(command), flush=True)
    return subprocess.run(command, stdin=subprocess.DEVNULL, text=True, **options)


def must(*command, **options):
    done = run(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        fail(f"status {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout


def example(arguments, compiler, name, mended=False):
    """Builds a copy of the worked example; returns its folder."""
    folder = arguments.work / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(arguments.source / "examples/fuzz_ept_mapper", folder)
    if mended:
        text = (folder / "mapper.c").read_text()
        if text.count(MISTAKE) != 1:
            fail(f"mapper.c does not have '{MISTAKE}' once")
        (folder / "mapper.c").write_text(text.replace(MISTAKE, MENDED))
    environment = {**os.environ, **AFL}
    must(arguments.cmake, "-S", folder, "-B", folder / "build", "-G", arguments.generator, f"-DCMAKE_C_COMPILER={compiler}",
         f"-DCMAKE_PREFIX_PATH={arguments.prefix}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", env=environment)
    must(arguments.cmake, "--build", folder / "build", env=environment)
    return folder


def libfuzzer(arguments):
    clang = need_tool("clang")
    folder = example(arguments, clang, "libfuzzer")
    started = time.monotonic()
    done = run(folder / "build/fuzz_ept_mapper", f"-max_total_time={SECONDS}", "-seed=1", cwd=folder, capture_output=True)
    taken = time.monotonic() - started
    if done.returncode == 0 or not list(folder.glob("crash-*")):
        fail(f"nothing found: {done.stderr[-2000:]}")
    if "the page is not as the mapper was asked" not in done.stderr:
        fail(f"found something else: {done.stderr[-2000:]}")
    print(f"found in {taken:.1f} s")
    mended = example(arguments, clang, "libfuzzer-mended", mended=True)
    done = run(mended / "build/fuzz_ept_mapper", "-runs=5000", "-seed=1", cwd=mended, capture_output=True)
    if done.returncode != 0:
        fail(f"the mended mapper: {done.stderr[-2000:]}")


def mutator_library(arguments, folder):
    """As docs/fuzzing.md says: a compiler that does not instrument, and pkg-config."""
    pkgconfig = next(arguments.prefix.rglob("vmxsim.pc")).parent
    flags = must(need_tool("pkg-config", "pkgconf"), "--cflags", "--libs", "vmxsim",
                 env={**os.environ, "PKG_CONFIG_PATH": str(pkgconfig)}).split()
    library = folder / "mutator.so"
    must(arguments.cc, "-shared", "-fPIC", "-O2", folder / "mutator.c", "-o", library, *flags)
    return library


def afl(arguments):
    compiler = need_tool("afl-clang-fast")
    need_tool("afl-fuzz")
    folder = example(arguments, compiler, "afl")
    (folder / "in").mkdir()
    (folder / "in/start").write_bytes(b"0")
    environment = {**os.environ, **AFL, "AFL_CUSTOM_MUTATOR_LIBRARY": str(mutator_library(arguments, folder))}
    must("afl-fuzz", "-V", SECONDS, "-i", folder / "in", "-o", folder / "out", "--", folder / "build/fuzz_ept_mapper",
         env=environment)
    crashes = list((folder / "out/default/crashes").glob("id:*"))
    if not crashes:
        fail("nothing found")
    print("found:", ", ".join(sorted(path.name for path in crashes)))
    if not any("mutator.so" in path.name for path in (folder / "out/default/queue").iterdir()) and not any(
            "mutator.so" in path.name for path in crashes):
        fail("the shared library has found nothing")


def harness_with(arguments, name, engine, compilers, flags):
    """A harness of this project, built as a fuzzing service builds: by environment variables alone."""
    folder = arguments.work / name
    environment = {**os.environ, **AFL, "LIB_FUZZING_ENGINE": engine, "CC": compilers[0], "CXX": compilers[1], "CFLAGS": flags,
                   "CXXFLAGS": flags}
    must(arguments.cmake, "-S", arguments.source, "-B", folder, "-G", arguments.generator, "-DCMAKE_BUILD_TYPE=Release",
         "-DVMXSIM_BUILD_TESTS=OFF", "-DVMXSIM_BUILD_CLI=OFF", "-DVMXSIM_BUILD_EXAMPLES=OFF", env=environment)
    must(arguments.cmake, "--build", folder, "--target", "fuzz_words", env=environment)
    return folder / "bin/fuzz_words"


def engine(arguments):
    clang, clangxx = need_tool("clang"), need_tool("clang++")
    machine = os.uname().machine
    archive = must(clang, f"-print-file-name=libclang_rt.fuzzer-{machine}.a").strip()
    if not Path(archive).is_file():
        resources = must(clang, "-print-resource-dir").strip()
        archive = next(map(str, Path(resources).rglob(f"libclang_rt.fuzzer*{machine}.a")), "")
    if not archive:
        fail("libFuzzer's archive is not there")
    program = harness_with(arguments, "engine-libfuzzer", archive, (clang, clangxx), "-fsanitize=fuzzer-no-link")
    printed = must(program, "-runs=2000", "-seed=1", arguments.source / "fuzz/corpus/words")
    if "INFO: found LLVMFuzzerCustomMutator" not in printed:
        fail(f"libFuzzer does not see the mutators: {printed[-1000:]}")
    driver = next(Path("/usr").glob("lib*/afl/libAFLDriver.a"), None)
    compilers = (need_tool("afl-clang-fast"), need_tool("afl-clang-fast++"))
    if driver is None:
        driver = Path(os.environ.get("AFL_PATH", "")) / "libAFLDriver.a"
    program = harness_with(arguments, "engine-afl", str(driver), compilers, "")
    shutil.rmtree(arguments.work / "engine-out", ignore_errors=True)
    must("afl-fuzz", "-V", "3", "-i", arguments.source / "fuzz/corpus/words", "-o", arguments.work / "engine-out", "--", program,
         env={**os.environ, **AFL})


def campaign(arguments):
    script = arguments.source / "scripts/fuzz.sh"
    for bad in ([], ["nothing"], ["words", "--jobs", "0"], ["words", "--minutes", "long"], ["words", "--engine", "other"]):
        done = run(script, *bad, capture_output=True)
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        if done.returncode != 2 or len(lines) != 1:
            fail(f"{bad}: status {done.returncode}, {done.stderr}")
    for name, tool in (("libfuzzer", "clang"), ("afl", "afl-fuzz")):
        need_tool(tool)
        done = run(script, "words", "--engine", name, "--jobs", "2", "--minutes", "0.1", "--json", "--sync", arguments.work / name,
                   capture_output=True)
        if done.returncode != 0:
            fail(f"{name}: status {done.returncode}: {done.stdout}{done.stderr[-2000:]}")
        result, = json.loads(done.stdout)
        print(result)
        if result["executions"] < 1 or result["edges"] < 100 or result["minimised"] < 10 or result["crashes"]:
            fail(f"{name}: {result}")


def document(arguments):
    text = (arguments.source / "docs/fuzzing.md").read_text()
    for name in ("fuzz_ept_mapper.c", "mutator.c", "CMakeLists.txt"):
        lines = (arguments.source / "examples/fuzz_ept_mapper" / name).read_text().splitlines()
        while lines and (lines[0].startswith(("/* SPDX", "# SPDX")) or not lines[0]):
            lines.pop(0)
        if "\n".join("    " + line if line else "" for line in lines) not in text:
            fail(f"docs/fuzzing.md does not show {name} as it is")


STEPS = {step.__name__: step for step in (libfuzzer, afl, engine, campaign, document)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmake", default="cmake")
    parser.add_argument("--generator", default="Ninja")
    parser.add_argument("--cc", default="cc")
    for name in ("source", "work", "prefix"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("step", choices=STEPS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    STEPS[arguments.step](arguments)
    print("ok")


if __name__ == "__main__":
    main()
