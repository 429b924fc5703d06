#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command with less and less address space: it answers as ever, or says in one line that there is no memory.

usage: command_memory_test.py COMMAND
"""
import resource
import signal
import subprocess
import sys
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parent
COMMAND = None
KBYTE = 1024

# What the command is asked, with the exit status where there is memory enough, and whether it reads JSON: without memory
# jansson 2.14 calls a text invalid, leaves out characters, or dies of it (CAVEATS.md).
RUNS = [
    (["replay", "vectors/access-tigerlake.jsonl"], 0, True),
    (["replay", "--record", "/dev/stdout", "vectors/instructions-icelake.jsonl"], 0, True),
    (["walk", "--vector", "vectors/access-icelake.jsonl", "--case", "access-0001-complete"], 0, True),
    (["check", "data/check/three-mistakes.json"], 1, True),
    (["diff", "data/check/valid.json", "data/check/three-mistakes.json"], 1, True),
    (["check", "--profile", "icelake", "data/check/linux-6.log"], 1, False),
    (["check", "--profile", "skylake", "data/check/linux-4.log"], 1, False),
    (["diff", "data/check/linux-6.log", "data/check/linux-4.log"], 1, False),
    (["rules"], 0, False),
    (["rules", "GUEST"], 0, False),
    (["profiles"], 0, False),
    (["profiles", "icelake"], 0, False),
    (["decode", "qualification", "0x181"], 0, False),
]


def run(arguments, limit=None):
    def restrict():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return subprocess.run([COMMAND, *arguments], cwd=TESTS, capture_output=True, timeout=120, check=False,
                          preexec_fn=restrict)


def starts(limit):
    """Whether the dynamic linker gets as far as the command."""
    return run(["--help"], limit).returncode == 0


def least_to_start():
    limit = 1024 * KBYTE
    while not starts(limit):
        limit += 64 * KBYTE
    return limit


class Memory(unittest.TestCase):
    def judge(self, arguments, limit, answer, reads_json):
        result = run(arguments, limit)
        if reads_json and result.returncode == -signal.SIGSEGV:
            return False
        told = result.stderr.decode(errors="replace")
        place = f"{arguments} in {limit // KBYTE} KBytes: status {result.returncode}, {told!r}"
        self.assertGreaterEqual(result.returncode, 0, f"{place}: signal")
        if result.returncode == answer.returncode and not told:
            if not reads_json:
                self.assertEqual(result.stdout, answer.stdout, place)
            return True
        self.assertEqual(result.returncode, 2, place)
        self.assertRegex(told, r"\Avmxsim[^\n]*\n\Z", place)
        return False

    def test_less_and_less_memory(self):
        first = least_to_start()
        refused = answered = 0
        for arguments, status, reads_json in RUNS:
            with self.subTest(arguments=arguments):
                answer = run(arguments)
                self.assertEqual(answer.returncode, status, answer.stderr)
                for limit in range(first, first + 6144 * KBYTE, 128 * KBYTE):
                    if self.judge(arguments, limit, answer, reads_json):
                        answered += 1
                    else:
                        refused += 1
        print(f"{answered} answers, {refused} refusals, from {first // KBYTE} KBytes on")
        self.assertGreater(refused, len(RUNS))


if __name__ == "__main__":
    COMMAND = sys.argv.pop(1)
    unittest.main(verbosity=2)
