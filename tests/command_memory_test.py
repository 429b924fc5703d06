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

# What the command is asked, with the exit status where there is memory enough.
RUNS = [
    (["replay", "vectors/access-tigerlake.jsonl"], 0),
    (["replay", "--record", "/dev/stdout", "vectors/instructions-icelake.jsonl"], 0),
    (["walk", "--vector", "vectors/access-icelake.jsonl", "--case", "access-0001-complete"], 0),
    (["check", "data/check/three-mistakes.json"], 1),
    (["check", "--json", "--profile", "icelake", "data/check/linux-6.log"], 1),
    (["diff", "data/check/valid.json", "data/check/three-mistakes.json"], 1),
    (["rules", "--json"], 0),
    (["profiles", "--json", "icelake"], 0),
    (["decode", "qualification", "0x181"], 0),
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
    def judge(self, arguments, limit, answer):
        result = run(arguments, limit)
        told = result.stderr.decode(errors="replace")
        place = f"{arguments} in {limit // KBYTE} KBytes: status {result.returncode}, {told!r}"
        self.assertGreaterEqual(result.returncode, 0, f"{place}: signal")
        if result.returncode == answer.returncode and not told:
            self.assertEqual(result.stdout, answer.stdout, place)
            return True
        self.assertEqual(result.returncode, 2, place)
        self.assertRegex(told, r"\Avmxsim[^\n]*\n\Z", place)
        return False

    def test_less_and_less_memory(self):
        first = least_to_start()
        refused = answered = 0
        for arguments, status in RUNS:
            with self.subTest(arguments=arguments):
                answer = run(arguments)
                self.assertEqual(answer.returncode, status, answer.stderr)
                for limit in range(first, first + 6144 * KBYTE, 128 * KBYTE):
                    if self.judge(arguments, limit, answer):
                        answered += 1
                    else:
                        refused += 1
        print(f"{answered} answers, {refused} refusals, from {first // KBYTE} KBytes on")
        self.assertGreater(refused, len(RUNS))


if __name__ == "__main__":
    COMMAND = sys.argv.pop(1)
    unittest.main(verbosity=2)
