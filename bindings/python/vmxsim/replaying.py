# SPDX-License-Identifier: Apache-2.0
"""Recorded experiments, run on the model and compared (docs/vectors.md)."""
from __future__ import annotations

import dataclasses
import os
import typing

from vmxsim._vmxsim import ffi, lib
from vmxsim.enums import Access, CaseKind, CaseVerdict
from vmxsim.errors import check
from vmxsim.outcome import Outcome, from_outcome, html_table

__all__ = ["Case", "ReplayResult", "replay", "trace_case"]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One case of a recording, as it was decided."""

    id: str
    line: int
    kind: CaseKind
    verdict: CaseVerdict
    note: str
    deviates: str
    """The deviation whose `sdm` verdict was compared; ``""``: none."""
    reason: str
    """Differs: expected against observed; unsupported: the feature."""


@dataclasses.dataclass(frozen=True)
class ReplayResult:
    """What became of the cases of one file."""

    path: str
    cases: tuple[Case, ...]

    def count(self, verdict: CaseVerdict) -> int:
        """Number of cases with this verdict."""
        return sum(case.verdict == verdict for case in self.cases)

    @property
    def agrees(self) -> bool:
        """True if no case differs."""
        return not self.count(CaseVerdict.DIFFERS)

    def _repr_html_(self) -> str:
        return html_table(("case", "line", "kind", "verdict", "reason"),
                          ((c.id, c.line, c.kind.name, c.verdict.name, c.reason) for c in self.cases))


def _text(text: typing.Any) -> str:
    return "" if text == ffi.NULL else typing.cast(str, ffi.string(text).decode())


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_case(context: typing.Any, raw: typing.Any) -> None:
    ffi.from_handle(context).append(Case(_text(raw.id), raw.line, CaseKind(raw.kind), CaseVerdict(raw.verdict), _text(raw.note),
                                         _text(raw.deviates), _text(raw.reason)))


@ffi.def_extern()  # type: ignore[untyped-decorator, unused-ignore]
def vmxpy_on_access(context: typing.Any, index: int, access: typing.Any, outcome: typing.Any, trail: typing.Any) -> None:
    copies = [ffi.new(kind, source[0]) for kind, source in (("struct vmxsim_access *", access),
                                                             ("struct vmxsim_outcome *", outcome),
                                                             ("struct vmxsim_trail *", trail))]
    ffi.from_handle(context).append((Access(access.type), access.linear, from_outcome(*copies)))


def replay(path: str | os.PathLike[str]) -> ReplayResult:
    """Runs every case of a recording on the model. `IoError`, `BadFormat`: the message names file, line and key."""
    cases: list[Case] = []
    handle, error = ffi.new_handle(cases), ffi.new("struct vmxsim_error *")
    summary = ffi.new("struct vmxsim_replay_summary *")
    check(lib.vmxsim_replay_file(os.fsencode(path), lib.vmxpy_on_case, handle, summary, error), os.fspath(path), error)
    return ReplayResult(os.fspath(path), tuple(cases))


def trace_case(path: str | os.PathLike[str], case: str) -> list[tuple[Access, int, Outcome]]:
    """The accesses of one case, in order: type, linear address, outcome with its trail."""
    steps: list[tuple[Access, int, Outcome]] = []
    handle, error = ffi.new_handle(steps), ffi.new("struct vmxsim_error *")
    check(lib.vmxsim_replay_trace(os.fsencode(path), case.encode(), lib.vmxpy_on_access, handle, error), case, error)
    return steps
