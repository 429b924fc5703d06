#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A sample of all small changes to the sources: which of them does no test notice?

Each change is compiled with the build's own command; what does not compile, and what compiles to the same object as before, does not
count. The tests run until one fails. What is left has survived: it changes nothing that anybody could see, or a test is missing.
"""
import argparse
import collections
import hashlib
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import planting

TOKEN = re.compile(r"""
    (?P<skip>//[^\n]*|/\*.*?\*/|^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\s+)
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*|[0-9]+[uUlL]*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<operator><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)
""", re.VERBOSE | re.DOTALL | re.MULTILINE)

OPERATORS = {
    "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="],
    "&&": ["||"], "||": ["&&"], "+": ["-"], "-": ["+"], "&": ["|"], "|": ["&"], "<<": [">>"], ">>": ["<<"],
    "+=": ["-=", "="], "-=": ["+=", "="], "|=": ["=", "&="], "&=": ["=", "|="], "++": ["--"], "--": ["++"],
    "*": ["+"], "%": ["/"], "/": ["*"], "!": [""], "~": [""],
}
HEADS = {"if", "while", "for", "switch"}
NOT_STATEMENTS = {"return", "goto", "const", "static", "struct", "enum", "union", "case", "default", "else", "do", "typedef", "extern"}
CONSTANT = re.compile(r"^[A-Z][A-Z0-9]*_[A-Z0-9_]+$")

Mutant = collections.namedtuple("Mutant", "path line kind before after text")


def tokens(text):
    for match in TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield match.lastgroup, match.group(), match.start(), match.end()


def siblings(constant, constants):
    """Constants of the same file that begin alike: what a slip of the hand would put there."""
    prefix = constant.rsplit("_", 1)[0]
    near = sorted(one for one in constants if one != constant and one.rsplit("_", 1)[0] == prefix)
    return near or sorted(one for one in constants if one != constant and one.split("_")[:2] == constant.split("_")[:2])


def number_changes(text):
    digits, suffix = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)([uUlL]*)", text).groups()
    value = int(digits, 0) if digits[:2] in ("0x", "0X") else int(digits)
    form = hex if digits[:2] in ("0x", "0X") else str
    return [form(one) + suffix for one in (value + 1, value - 1) if one >= 0]


def token_changes(found):
    """(start, end, replacement, kind) of every change of one token."""
    constants = {value for kind, value, _, _ in found if kind == "name" and CONSTANT.match(value)}
    fields = {found[i + 1][1] for i in range(len(found) - 1) if found[i][1] in ("->", ".") and found[i + 1][0] == "name"}
    for i, (kind, value, start, end) in enumerate(found):
        before = found[i - 1][1] if i else ""
        if kind == "number":
            yield from ((start, end, one, "number") for one in number_changes(value))
        elif value in ("true", "false"):
            yield start, end, "false" if value == "true" else "true", "boolean"
        elif kind == "name" and value in constants and value != "VMXC_TRY" and before != ".":
            yield from ((start, end, one, "constant") for one in siblings(value, constants)[:3])
        elif kind == "name" and before in ("->", ".") and len(fields) > 1:
            others = sorted(fields - {value})
            yield start, end, others[len(value) * 7 % len(others)], "field"
        elif kind == "operator":
            yield from ((start, end, one, "operator") for one in OPERATORS.get(value, []))


def closing(found, at):
    """The index of the parenthesis that closes the one at this index."""
    depth = 0
    for i in range(at, len(found)):
        depth += (found[i][1] == "(") - (found[i][1] == ")")
        if depth == 0:
            return i
    return len(found) - 1


def condition_changes(found):
    for i, (_, value, _, _) in enumerate(found[:-1]):
        if value == "if" and found[i + 1][1] == "(":
            end = closing(found, i + 1)
            yield from ((found[i + 1][3], found[end][2], one, "condition") for one in ("true", "false"))


def statements(found):
    """First and last token of each statement that is no block: up to its semicolon, behind conditions and "else"."""
    first, i = 0, 0
    while i < len(found):
        value = found[i][1]
        if value in HEADS and i == first:
            first = i = closing(found, i + 1) + 1
        elif value in ("{", "}", ":") or (value == "else" and i == first):
            first = i = i + 1
        elif value == "(":
            i = closing(found, i) + 1
        elif value == ";":
            yield first, i
            first = i = i + 1
        else:
            i += 1


def statement_changes(found):
    for first, last in statements(found):
        start, end, value = found[first][2], found[last][2], found[first][1]
        if value == "return" and last > first + 1:
            yield from ((found[first + 1][2], end, one, "return") for one in ("VMXC_OK", "true", "false"))
        elif value in ("continue", "break"):
            yield start, end, "", "statement"
        # A type and a name: a declaration.
        elif value not in NOT_STATEMENTS and last > first + 1 and not (found[first][0] == found[first + 1][0] == "name"):
            yield start, end, "", "statement"


def all_mutants(path):
    text = planting.read_text(os.path.join(planting.ROOT, path))
    found = list(tokens(text))
    for start, end, replacement, kind in [*token_changes(found), *condition_changes(found), *statement_changes(found)]:
        if text[start:end] != replacement:
            yield Mutant(path, text.count("\n", 0, start) + 1, kind, text[start:end], replacement,
                         text[:start] + replacement + text[end:])


class Hunt:
    """Runs the finders against one mutant after the other, those first that found the last ones in the same file."""

    def __init__(self, build, finders):
        self.build, self.finders = build, finders
        self.found_in = collections.defaultdict(collections.Counter)
        self.originals, self.lock = {}, threading.Lock()

    def digest(self, path, text, folder):
        with open(self.build.compile(path, text, folder), "rb") as stream:
            return hashlib.sha256(stream.read()).digest()

    def original(self, path, folder):
        with self.lock:
            known = self.originals.get(path)
        if known is None:
            known = self.digest(path, planting.read_text(os.path.join(planting.ROOT, path)), folder)
            with self.lock:
                self.originals[path] = known
        return known

    def order(self, path):
        stem = os.path.splitext(os.path.basename(path))[0]
        with self.lock:
            found = dict(self.found_in[path])
        return sorted(self.finders.values(), key=lambda one: (-found.get(one.name, 0), one.seconds + (0 if stem in one.name else 0.2)))

    def judge(self, mutant):
        """What becomes of it: "invalid", "same" object, "survived", or the name of the test that found it."""
        with tempfile.TemporaryDirectory(prefix="vmxsim-mutant-") as folder:
            try:
                original = self.original(mutant.path, folder)
                self.build.plant({mutant.path: mutant.text}, folder)
            except planting.Unfit:
                return "invalid", 0
            with open(os.path.join(folder, os.path.basename(mutant.path) + ".o"), "rb") as stream:
                if hashlib.sha256(stream.read()).digest() == original:
                    return "same", 0
            start = time.monotonic()
            for finder in self.order(mutant.path):
                outcome, seconds = finder.run(folder)
                if outcome != planting.PASSED:
                    with self.lock:
                        self.found_in[mutant.path][finder.name] += 1
                    return finder.name, seconds
            return "survived", time.monotonic() - start


def describe(mutant, verdict, seconds):
    return {"file": mutant.path, "line": mutant.line, "kind": mutant.kind, "before": mutant.before, "after": mutant.after.strip(),
            "verdict": verdict, "seconds": round(seconds, 3)}


def choose(paths, count, seed):
    """That many of each file, or all of them."""
    rng, chosen = random.Random(seed), []
    for path in paths:
        mutants = list(all_mutants(path))
        chosen += mutants if count == 0 or len(mutants) <= count else rng.sample(mutants, count)
    rng.shuffle(chosen)
    return chosen


def survivors_of(path):
    """What the lines of an earlier run (--json) say has survived."""
    with open(path, encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    return {(one["file"], one["line"], one["kind"], one["before"], one["after"]) for one in lines if one.get("verdict") == "survived"}


def again(mutants, wanted):
    return [one for one in mutants if (one.path, one.line, one.kind, one.before, one.after.strip()) in wanted]


def summary(results):
    total = collections.Counter(one["verdict"] if one["verdict"] in ("invalid", "same", "survived") else "killed" for one in results)
    return {name: total[name] for name in ("killed", "survived", "same", "invalid")}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="C files of lib/ or sim/, relative to the project")
    parser.add_argument("--build", default=os.path.join(planting.ROOT, "build", "mutants"), help="build directory of the preset mutants")
    parser.add_argument("--count", type=int, default=20, help="mutants per file; 0 for all (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at the same time (default 2)")
    parser.add_argument("--without", action="append", default=[], metavar="TEST", help="do not run this test; may be repeated")
    parser.add_argument("--again", metavar="FILE", help="only what survived in the run with this output (--json)")
    parser.add_argument("--list", action="store_true", help="only say how many changes each file has")
    parser.add_argument("--json", action="store_true", help="one line for each mutant, as JSON")
    return parser.parse_args()


def main():
    arguments = parse()
    if arguments.list:
        for path in arguments.files:
            print(f"{sum(1 for _ in all_mutants(path)):6} {path}")
        return 0
    build = planting.Build(arguments.build)
    finders = {name: finder for name, finder in build.finders().items() if name not in arguments.without}
    planting.measure(finders, arguments.jobs)
    count = 0 if arguments.again else arguments.count
    hunt, mutants, results = Hunt(build, finders), choose(arguments.files, count, arguments.seed), []
    if arguments.again:
        mutants = again(mutants, survivors_of(arguments.again))
    print(f"seed {arguments.seed}: {len(mutants)} mutants of {len(arguments.files)} files", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for mutant, (verdict, seconds) in zip(mutants, pool.map(hunt.judge, mutants)):
            results.append(describe(mutant, verdict, seconds))
            if arguments.json:
                print(json.dumps(results[-1]), flush=True)
            elif verdict == "survived":
                print(f"{mutant.path}:{mutant.line}: survived: {mutant.before!r} -> {mutant.after.strip()!r}", flush=True)
            if len(results) % 50 == 0:
                print(f"{len(results)} of {len(mutants)}: {summary(results)}", file=sys.stderr, flush=True)
    print(json.dumps(summary(results)) if arguments.json else f"{summary(results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
