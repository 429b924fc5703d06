# SPDX-License-Identifier: Apache-2.0
"""Runs fuzz harnesses in parallel on libFuzzer or AFL++, merges and minimises what they find, and sums up.

    scripts/fuzz.sh vmcs --minutes 10                        libFuzzer's fork mode, under AddressSanitizer and UBSan
    scripts/fuzz.sh vmcs --engine afl --jobs 4 --sync DIR    afl-fuzz, one main and three secondary instances
    scripts/fuzz.sh all --minutes 10                         one harness after the other
    scripts/fuzz.sh --bench                                  executions per second and core, of each harness

Inputs to start with: fuzz/corpus/, seeds from tests/vectors/, and what an earlier run has left in the sync directory. DIR/<harness>/
holds corpus/ or the directories of afl-fuzz, crashes/, and minimised/: the smallest set that reaches the same edges. --update puts
that set into fuzz/corpus/. The exit status is 1 if there are crashes.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HARNESSES = sorted(path.stem.removeprefix("fuzz_") for path in (ROOT / "fuzz").glob("fuzz_*.c"))
TEXTS = {"command", "dump", "replay"}
SINGLE = {"words"}  # no operations
PRESETS = {"libfuzzer": "fuzz", "afl": "fuzz-afl", "bench": "fuzz-fast"}
COMMANDS = {"libfuzzer": ("cmake", "ninja", "clang"), "afl": ("cmake", "ninja", "afl-clang-fast", "afl-fuzz", "afl-cmin"),
            "bench": ("cmake", "ninja", "clang")}
MAX_LENGTH = {name: 1 << 16 if name in TEXTS else 1 << 10 for name in HARNESSES}
PROGRESS_SECONDS = 30
AFL_ENVIRONMENT = {"AFL_NO_UI": "1", "AFL_QUIET": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
                   "AFL_NO_AFFINITY": "1", "AFL_ALLOW_TMP": "1"}
GOALS = {1: 100_000, 32: 20_000}  # executions per second of inputs with so many operations
BENCH_INPUTS = 40
BENCH_SECONDS = 1.0


class CampaignError(Exception):
    pass


def say(text):
    print(f"fuzz: {text}", file=sys.stderr, flush=True)


# ---- Preparing ----

def build(engine):
    missing = [command for command in COMMANDS[engine] if shutil.which(command) is None]
    if missing:
        raise CampaignError(f"{', '.join(missing)} not found; scripts/install-deps.sh installs what is missing")
    preset = PRESETS[engine]
    say(f"building build/{preset}")
    for command in (["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset]):
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **AFL_ENVIRONMENT}, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise CampaignError(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")
    return ROOT / "build" / preset / "bin"


def make_seeds(folder):
    done = subprocess.run([sys.executable, ROOT / "fuzz/seeds.py", folder], text=True, capture_output=True)
    if done.returncode != 0:
        raise CampaignError(done.stderr.strip())


def start_inputs(harness, seeds, folder):
    """One directory with the inputs that are there already, for engines that want one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in (ROOT / "fuzz/corpus" / harness, seeds / harness):
        for path in sorted(source.iterdir()) if source.is_dir() else ():
            if 0 < path.stat().st_size <= MAX_LENGTH[harness]:
                shutil.copy(path, folder / path.name)
    if not any(folder.iterdir()):
        (folder / "start").write_bytes(b"0")
    return folder


def dictionary(binaries, harness):
    return binaries / ("text.dict" if harness in TEXTS else "numbers.dict")


def count_files(folder, prefix=""):
    return sum(1 for path in folder.iterdir() if path.name.startswith(prefix)) if folder.is_dir() else 0


def wait(processes, log, seconds, progress):
    """Until all have ended; says how it goes now and then."""
    said = start = time.monotonic()
    while any(process.poll() is None for process in processes):
        time.sleep(0.2)
        now = time.monotonic()
        if now - said > PROGRESS_SECONDS:
            said = now
            say(f"{now - start:.0f} of {seconds:.0f} s: {progress()}")
        if now - start > seconds + 120:
            for process in processes:
                process.terminate()
            raise CampaignError(f"an engine does not end; what it said is in {log}")


# ---- libFuzzer ----

def executed(log):
    """In fork mode: by the jobs that have ended; those that the end of the campaign stops are not counted."""
    found = re.findall(r"^#(\d+): cov:", log.read_text(errors="replace"), re.MULTILINE)
    return int(found[-1]) if found else 0


def edges_of(program, corpus):
    done = subprocess.run([program, "-runs=0", corpus], text=True, capture_output=True, cwd=corpus.parent)
    found = re.search(r"INITED cov: (\d+)", done.stderr)
    if found is None:
        raise CampaignError(f"counting edges: {done.stderr[-500:]}")
    return int(found[1])


def minimise_libfuzzer(program, target, sources, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = subprocess.run([program, "-set_cover_merge=1", "-use_counters=0", f"-max_len={MAX_LENGTH[target]}", folder, *sources],
                          text=True, capture_output=True, cwd=folder.parent)
    if done.returncode != 0:
        raise CampaignError(f"merging: {done.stderr[-1000:]}")


def run_libfuzzer(binaries, harness, seeds, folder, arguments):
    program = binaries / f"fuzz_{harness}"
    corpus, crashes = folder / "corpus", folder / "crashes"
    for path in (corpus, crashes):
        path.mkdir(parents=True, exist_ok=True)
    inputs = start_inputs(harness, seeds, folder / "start")
    seconds = max(1, round(arguments.minutes * 60))
    log = folder / "libfuzzer.log"
    before = count_files(crashes)
    started = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            [program, f"-fork={arguments.jobs}", "-ignore_crashes=1", "-ignore_timeouts=1", "-ignore_ooms=1",
             f"-max_total_time={seconds}", f"-max_len={MAX_LENGTH[harness]}", f"-dict={dictionary(binaries, harness)}",
             f"-artifact_prefix={crashes}/", corpus, inputs],
            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder)
        wait([process], log, seconds, lambda: f"{executed(log)} executions")
    executions = executed(log)
    if executions == 0 and count_files(crashes) == before:
        raise CampaignError(f"libFuzzer did not run: {log.read_text(errors='replace')[-500:]}")
    elapsed = time.monotonic() - started
    minimise_libfuzzer(program, harness, [corpus, inputs], folder / "minimised")
    return {"executions": executions, "per_second": round(executions / elapsed), "edges": edges_of(program, folder / "minimised"),
            "crashes": count_files(crashes) - before, "crashes_in": str(crashes)}


# ---- AFL++ ----

def stats(instance):
    try:
        lines = (instance / "fuzzer_stats").read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}


def sum_of(sync, key, kind=int):
    return sum(kind(stats(instance).get(key, 0)) for instance in sync.iterdir() if instance.is_dir())


def afl_command(binaries, harness, inputs, sync, seconds, number):
    role = ["-M", "main"] if number == 0 else ["-S", f"secondary{number}"]
    return ["afl-fuzz", "-V", str(seconds), "-i", inputs, "-o", sync, "-x", dictionary(binaries, harness),
            "-G", str(MAX_LENGTH[harness]), *role, "--", binaries / f"fuzz_{harness}"]


def minimise_afl(program, inputs, sync, folder, environment):
    pool = folder.parent / "pool"
    for path in (pool, folder):
        shutil.rmtree(path, ignore_errors=True)
    pool.mkdir()
    for source in (inputs, *(instance / "queue" for instance in sync.iterdir() if instance.is_dir())):
        for path in sorted(source.iterdir()):
            if path.is_file():
                shutil.copy(path, pool / f"{source.parent.name}-{path.name}")
    done = subprocess.run(["afl-cmin", "-i", pool, "-o", folder, "--", program], env=environment, text=True, capture_output=True)
    if done.returncode != 0:
        raise CampaignError(f"afl-cmin: {(done.stdout + done.stderr)[-1000:]}")
    shutil.rmtree(pool)


def run_afl(binaries, harness, seeds, folder, arguments):
    sync = folder / "sync"
    sync.mkdir(parents=True, exist_ok=True)
    inputs = start_inputs(harness, seeds, folder / "start")
    environment = {**os.environ, **AFL_ENVIRONMENT, "AFL_CUSTOM_MUTATOR_LIBRARY": str(binaries / f"afl_mutate_{harness}.so"),
                   "AFL_AUTORESUME": "1"}
    seconds = max(1, round(arguments.minutes * 60))
    before = sum(count_files(instance / "crashes", "id:") for instance in sync.iterdir())
    executed_before = sum_of(sync, "execs_done")  # a campaign that goes on counts on
    started = time.monotonic()
    log = folder / "afl.log"
    with log.open("w") as out:
        processes = [subprocess.Popen(afl_command(binaries, harness, inputs, sync, seconds, number), env=environment, stdout=out,
                                      stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) for number in range(arguments.jobs)]
        wait(processes, log, seconds, 
             lambda: f"{sum_of(sync, 'execs_done') - executed_before} executions")
    if any(process.returncode != 0 for process in processes):
        raise CampaignError(f"afl-fuzz ended with an error: {log.read_text(errors='replace')[-500:]}")
    elapsed = time.monotonic() - started
    executions = sum_of(sync, "execs_done") - executed_before
    minimise_afl(binaries / f"fuzz_{harness}", inputs, sync, folder / "minimised", environment)
    edges = max(int(stats(instance).get("edges_found", 0)) for instance in sync.iterdir())
    crashes = sum(count_files(instance / "crashes", "id:") for instance in sync.iterdir())
    return {"executions": executions, "per_second": round(executions / elapsed), "edges": edges, "crashes": crashes - before,
            "crashes_in": f"{sync}/*/crashes"}


# ---- Speed ----

def processor_time(command, folder):
    """Runs the command; what it printed, and the seconds of processor time it took: those do not depend on what else runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, text=True, capture_output=True, cwd=folder, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise CampaignError(f"{command[0].name}: {done.stderr[-500:]}")
    return done.stderr, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rate(program, files, folder):
    """Executions per second, over at least BENCH_SECONDS."""
    runs = 8
    while True:
        _, seconds = processor_time([program, f"-runs={runs}", *files], folder)
        if seconds >= BENCH_SECONDS:
            return round(runs * len(files) / seconds)
        runs = max(2 * runs, min(20 * runs, round(1.3 * runs * BENCH_SECONDS / max(seconds, 0.01))))


def campaign_rate(program, harness, corpus):
    printed, seconds = processor_time([program, "-max_total_time=4", "-entropic=0", f"-max_len={MAX_LENGTH[harness]}",
                                       "-print_final_stats=1", "-seed=1", corpus], corpus.parent)
    found = re.search(r"stat::number_of_executed_units:\s+(\d+)", printed)
    if found is None:
        raise CampaignError(f"{program.name}: {printed[-500:]}")
    return round(int(found[1]) / seconds)


def bench_one(binaries, harness, folder):
    program = binaries / f"fuzz_{harness}"
    result = {"harness": harness, "operations": {}}
    for operations in () if harness in TEXTS else (1,) if harness in SINGLE else GOALS:
        inputs = folder / harness / str(operations)
        shutil.rmtree(inputs, ignore_errors=True)
        inputs.mkdir(parents=True)
        done = subprocess.run([binaries / "fuzz_bench_inputs", harness, str(operations), str(BENCH_INPUTS), inputs])
        if done.returncode != 0:
            raise CampaignError(f"no inputs for {harness}")
        result["operations"][operations] = rate(program, sorted(inputs.iterdir()), folder)
    if harness in TEXTS:
        result["operations"][1] = rate(program, sorted((ROOT / "fuzz/corpus" / harness).iterdir()), folder)
    scratch = folder / harness / "corpus"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(ROOT / "fuzz/corpus" / harness, scratch)
    result["fuzzing"] = campaign_rate(program, harness, scratch)
    return result


def bench_row(result):
    def cell(operations):
        number = result["operations"].get(operations)
        return "-" if number is None else f"{number:,}" + (" *" if number < GOALS[operations] else "")
    return f"| `fuzz_{result['harness']}` | {cell(1)} | {cell(32)} | {result['fuzzing']:,} |"


def run_bench(targets, arguments):
    binaries = build("bench")
    results = []
    if not arguments.json:
        print(f"Executions per second of processor time; goals {GOALS[1]:,} with one operation, {GOALS[32]:,} with 32 (*: missed)\n\n"
              "| Harness | one operation | 32 operations | fuzzing from the corpus |\n| --- | --- | --- | --- |")
    for harness in targets:
        results.append(bench_one(binaries, harness, arguments.sync / "bench"))
        if not arguments.json:
            print(bench_row(results[-1]), flush=True)
    if arguments.json:
        print(json.dumps({"goals": GOALS, "harnesses": results}))
    return 0


# ---- Campaigns ----

def update_corpus(harness, minimised):
    corpus = ROOT / "fuzz/corpus" / harness
    shutil.rmtree(corpus, ignore_errors=True)
    shutil.copytree(minimised, corpus)


def run_campaigns(targets, arguments):
    binaries = build(arguments.engine)
    seeds = arguments.sync / "seeds"
    make_seeds(seeds)
    run = run_libfuzzer if arguments.engine == "libfuzzer" else run_afl
    results = []
    for harness in targets:
        say(f"{harness}: {arguments.engine}, {arguments.jobs} jobs, {arguments.minutes:g} minutes")
        folder = arguments.sync / harness
        result = {"harness": harness, "engine": arguments.engine, "jobs": arguments.jobs,
                  **run(binaries, harness, seeds, folder, arguments), "minimised": count_files(folder / "minimised")}
        results.append(result)
        if arguments.update and result["crashes"] == 0:
            update_corpus(harness, folder / "minimised")
        if not arguments.json:
            print("{harness:12} {executions:>12,} executions {per_second:>9,}/s {edges:>7,} edges {minimised:>5} inputs "
                  "{crashes:>3} crashes".format(**result), flush=True)
            if result["crashes"]:
                print(f"    {result['crashes_in']}")
    if arguments.json:
        print(json.dumps(results))
    return 1 if any(result["crashes"] for result in results) else 0


def positive(kind):
    def parse(text):
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < 100_000:
            raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
        return number
    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/fuzz.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", choices=[*HARNESSES, "all"], metavar="TARGET",
                        help=f"a harness ({', '.join(HARNESSES)}) or all")
    parser.add_argument("--engine", choices=("libfuzzer", "afl"), default="libfuzzer", help="default: libfuzzer")
    parser.add_argument("--jobs", type=positive(int), default=os.cpu_count() or 1, metavar="N",
                        help="processes at the same time (default: processors)")
    parser.add_argument("--minutes", type=positive(float), default=10, metavar="M", help="of each harness (default: 10)")
    parser.add_argument("--sync", type=Path, default=ROOT / "build/fuzz-campaign", metavar="DIR",
                        help="what campaigns leave, and go on from (default: build/fuzz-campaign)")
    parser.add_argument("--update", action="store_true", help="without crashes: the minimised inputs become fuzz/corpus/TARGET")
    parser.add_argument("--bench", action="store_true", help="measure executions per second instead; TARGET may be missing")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments = parser.parse_args()
    if arguments.target is None and not arguments.bench:
        parser.error("a TARGET is needed, or --bench")
    arguments.sync = arguments.sync.resolve()
    return arguments


def main():
    arguments = parse_arguments()
    targets = HARNESSES if arguments.target in (None, "all") else [arguments.target]
    try:
        arguments.sync.mkdir(parents=True, exist_ok=True)
        return (run_bench if arguments.bench else run_campaigns)(targets, arguments)
    except (CampaignError, OSError) as error:
        print(f"fuzz: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("fuzz: stopped; what was found stays in the sync directory", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
