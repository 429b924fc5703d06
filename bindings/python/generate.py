#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Derives the binding from the public headers: the C source of the compiled module, and the enumerations of the package.

    public headers --C preprocessor--> declarations --cffi--> _vmxsim.c
    *.def tables, enums, macros        -----------------> enums.py, fields.py

Nothing is copied by hand: what the headers declare is what Python can call, and a declaration that cffi does not understand
stops the build.
"""
from __future__ import annotations

import argparse
import ast
import pathlib
import re
import shlex
import subprocess
import sys

import cffi

import enum_source

# A header that needs a library of its own, which exists on x86-64 only and executes VMX instructions; entry points that a harness
# defines.
LEFT_OUT = {"vmxcore/insn_native.h", "vmxsim/fuzz_engine.h"}
OWN_PREFIXES = ("VMXC_", "VMXSIM_")
LINE_MARKER = re.compile(r'^# \d+ "([^"]*)"')
MASK_64 = (1 << 64) - 1


def public_headers(include: pathlib.Path) -> list[str]:
    names = [str(path.relative_to(include)) for part in ("vmxcore", "vmxsim") for path in include.glob(f"{part}/**/*.h")]
    return sorted(name for name in names if name not in LEFT_OUT)


class Preprocessor:
    """The compiler's own preprocessor, over a text that includes the public headers."""

    def __init__(self, compiler: list[str], include: pathlib.Path, own: pathlib.Path) -> None:
        self.include, self.own = include.resolve(), own.resolve()
        self.command = [*compiler, "-E", "-std=c11", "-D__attribute__(x)=", "-D_Static_assert(a,b)=",
                        f"-I{self.include}", f"-I{self.own}", "-x", "c", "-"]
        headers = public_headers(self.include) + [path.name for path in sorted(self.own.glob("*.h"))]
        self.includes = "".join(f'#include "{name}"\n' for name in headers)

    def run(self, text: str, *options: str) -> str:
        command = [*self.command[:-1], *options, "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"generate.py: {shlex.join(command)} failed:\n{done.stderr}")
        return done.stdout

    def is_ours(self, name: str) -> bool:
        path = pathlib.Path(name)
        return path.is_absolute() and (self.include in path.parents or self.own in path.parents)

    def declarations(self) -> str:
        """The text of our headers, system headers and the lines of other files taken out."""
        lines, ours = [], False
        for line in self.run(self.includes).splitlines():
            marker = LINE_MARKER.match(line)
            if marker:
                ours = self.is_ours(marker[1])
            elif ours and line.strip() not in ("", ";"):
                lines.append(line)
        return "\n".join(lines) + "\n"

    def macros(self) -> dict[str, str]:
        """Our macros without parameters, expanded."""
        defined = re.findall(r"^#define ((?:VMXC|VMXSIM)_\w+) \S", self.run(self.includes, "-dM"), re.MULTILINE)
        text = self.includes + "".join(f'@@"{name}" {name} @@\n' for name in sorted(defined))
        found = re.findall(r'@@"(\w+)"(.*?)@@', self.run(text, "-P"), re.DOTALL)
        return {name: " ".join(expansion.split()) for name, expansion in found}

    def table(self, name: str, macro: str, parameters: str, columns: str, others: str = "") -> list[list[str]]:
        """The rows of an X-macro table. `columns` are its parameters as wanted, text in #quotes; `others`: its other macros."""
        text = "".join(f"#define {other}(...)\n" for other in others.split())
        text += f'#define {macro}({parameters}) @@ROW {columns}\n#include "{name}"\n'
        rows = re.findall(r"@@ROW (.*)", self.run(text, "-P").replace("@@ROW", "\n@@ROW"))
        return [list(ast.literal_eval(f"[{row.strip()}]")) for row in rows]


# ---- Values of macros ----

def value_of(node: ast.expr, names: dict[str, int]) -> int:
    """A constant expression of unsigned 64-bit integers; anything else is a ValueError."""
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~value_of(operand, names) & MASK_64
        case ast.BinOp(left=left, op=op, right=right):
            a, b = value_of(left, names), value_of(right, names)
            operations = {ast.LShift: a << b if b < 64 else 0, ast.RShift: a >> b if b < 64 else 0, ast.BitOr: a | b,
                          ast.BitAnd: a & b, ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b, ast.Div: a // b if b else 0}
            if type(op) in operations:
                return operations[type(op)] & MASK_64
    raise ValueError(ast.dump(node))


def macro_values(macros: dict[str, str], names: dict[str, int]) -> dict[str, int]:
    """Those macros that are integers. Suffixes and casts go: every value fits 64 bits."""
    values = {}
    for name, text in macros.items():
        bare = re.sub(r"\(\s*(?:vmxc_map_flags|uint\d+_t)\s*\)", "", text)
        bare = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", bare)
        try:
            values[name] = value_of(ast.parse(bare.strip(), mode="eval").body, names)
        except (ValueError, SyntaxError):
            continue  # a type, an attribute, code
    return values


# ---- The compiled module ----

# Functions that C calls and Python defines.
CALLBACKS = """
extern "Python" {
    void vmxpy_on_invalidate(void *context, uint64_t eptp);
    void vmxpy_on_trace(void *context, const struct vmxc_trace_event *event);
    void vmxpy_on_frame(void *context, uint64_t hpa, const char *label);
    void vmxpy_on_page(void *context, uint64_t hpa, const uint8_t *bytes);
    void vmxpy_on_case(void *context, const struct vmxsim_case_result *result);
    void vmxpy_on_access(void *context, size_t index, const struct vmxsim_access *access,
                         const struct vmxsim_outcome *outcome, const struct vmxsim_trail *trail);
    void vmxpy_on_entry(void *context, const struct vmxsim_entry_input *input, const struct vmxsim_entry_report *report);
    enum vmxc_status vmxpy_on_area(void *context, const struct vmxc_area *area);
    enum vmxc_status vmxpy_on_run(void *context, const struct vmxc_mapping_run *run);
    enum vmxc_status vmxpy_on_mapping(void *context, const struct vmxc_ept_mapping *mapping);
    void vmxpy_on_release(void *context, vmxc_gpa_t gpa, vmxc_hpa_t hpa, uint64_t size);
}
void free(void *pointer);
"""


def write_module(path: pathlib.Path, preprocessor: Preprocessor, declarations: str, values: dict[str, int]) -> None:
    """The compiler, not this script, says what the constants are: a wrong one here does not compile."""
    ffi = cffi.FFI()
    ffi.cdef(declarations)
    ffi.cdef("".join(f"#define {name} ...\n" for name in values) + CALLBACKS)
    ffi.set_source("vmxsim._vmxsim", "#include <stdlib.h>\n" + preprocessor.includes)
    ffi.emit_c_code(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", required=True, help="the C compiler, for its preprocessor")
    parser.add_argument("--include", required=True, type=pathlib.Path, help="the folder of the public headers")
    parser.add_argument("--own", required=True, type=pathlib.Path, help="the folder of the binding's own C headers")
    parser.add_argument("--dump-keys", required=True, type=pathlib.Path, help="the table of what a kernel's dump calls fields")
    parser.add_argument("--module", required=True, type=pathlib.Path, help="C source to write")
    parser.add_argument("--enums", required=True, type=pathlib.Path, help="Python source to write")
    parser.add_argument("--fields", required=True, type=pathlib.Path, help="Python source to write: VMCS fields as attributes")
    arguments = parser.parse_args()

    preprocessor = Preprocessor(shlex.split(arguments.compiler), arguments.include, arguments.own)
    declarations = preprocessor.declarations()
    enums = enum_source.c_enums(declarations)
    values = macro_values(preprocessor.macros(), {name: value for members in enums.values() for name, value in members.items()})
    write_module(arguments.module, preprocessor, declarations, values)
    arguments.enums.write_text(enum_source.python_source(preprocessor, enums, values))
    arguments.fields.write_text(enum_source.fields_source(preprocessor, arguments.dump_keys.resolve()))


if __name__ == "__main__":
    main()
