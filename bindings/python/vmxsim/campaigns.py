# SPDX-License-Identifier: Apache-2.0
"""Campaigns: one pure experiment over many configurations and seeds, on all cores or on a Dask scheduler.

An experiment is a function ``(config, seed) -> record`` of plain data. Its result depends on nothing else, so that a campaign
that was interrupted goes on where it stopped, and a run that a lost worker repeats gives the same record.

Results are JSON Lines; each line has the key of its run: a hash of the experiment's name, the configuration and the seed.
"""
from __future__ import annotations

import concurrent.futures
import hashlib
import importlib
import json
import multiprocessing
import os
import sys
import time
import typing

from vmxsim.errors import BadFormat, InvalidInput

__all__ = ["CampaignResult", "campaign", "run_key"]

Config = typing.Mapping[str, typing.Any]
Record = typing.Mapping[str, typing.Any]
Experiment = typing.Callable[[Config, int], Record]
Run = typing.Tuple[str, Config, int]
Line = typing.Dict[str, typing.Any]


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def experiment_name(experiment: Experiment) -> str:
    """``module.function``; `InvalidInput` for what a worker could not import, such as a lambda."""
    name = getattr(experiment, "__qualname__", "")
    if not name or "<" in name:
        raise InvalidInput("an experiment is a function of a module: workers import it by name")
    return f"{experiment.__module__}.{name}"


def run_key(experiment: str, config: Config, seed: int) -> str:
    """The content hash that names a run.

    >>> run_key("m.f", {"a": 1, "b": 2}, 3) == run_key("m.f", {"b": 2, "a": 1}, 3)
    True
    """
    return hashlib.sha256(_canonical([experiment, config, seed]).encode()).hexdigest()[:32]


class CampaignResult(typing.NamedTuple):
    """What a campaign came to."""

    path: str
    lines: list[Line]
    """``{"key", "experiment", "config", "seed", "record"}``, in the order of configurations and seeds."""
    ran: int
    """Runs of this call; the others were there already."""

    @property
    def records(self) -> list[Record]:
        """The records alone."""
        return [line["record"] for line in self.lines]


def _read(path: str) -> dict[str, Line]:
    """Lines by key. A last line without its end is what an interruption leaves; it is cut off."""
    if not os.path.exists(path):
        return {}
    with open(path, "rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        file.truncate(whole)
    lines = {}
    for number, text in enumerate(content[:whole].splitlines(), 1):
        try:
            line = json.loads(text)
            lines[line["key"]] = line
        except (ValueError, KeyError, TypeError):
            raise BadFormat(f"{path}:{number}: no line of a campaign") from None
    return lines


class _Progress:
    """A line on the standard error, rewritten at most ten times a second; nothing if that is no terminal."""

    def __init__(self, total: int, show: bool | None) -> None:
        self.total, self.done, self.begin, self.last = total, 0, time.monotonic(), 0.0
        self.show = sys.stderr.isatty() if show is None else show

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if not self.show or (now - self.last < 0.1 and self.done < self.total):
            return
        self.last = now
        left = (now - self.begin) / self.done * (self.total - self.done)
        filled = 30 * self.done // self.total
        end = "\n" if self.done == self.total else ""
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.total}, {left:.0f} s left ", end=end, file=sys.stderr,
              flush=True)


def _execute(experiment: Experiment, run: Run) -> tuple[str, Record]:
    key, config, seed = run
    return key, experiment(config, seed)


def _locally(experiment: Experiment, runs: list[Run], workers: int | None) -> typing.Iterator[tuple[str, Record]]:
    """Over processes of this machine. One that dies takes its pool along: a new pool does what is left."""
    left = {run[0]: run for run in runs}
    deaths = 0
    while left:
        before = len(left)
        try:
            with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                waiting = [pool.submit(_execute, experiment, run) for run in left.values()]
                for future in concurrent.futures.as_completed(waiting):
                    key, record = future.result()
                    del left[key]
                    yield key, record
        except concurrent.futures.process.BrokenProcessPool:
            deaths = deaths + 1 if len(left) == before else 1
            if deaths == 3:
                raise


def _on_dask(experiment: Experiment, runs: list[Run], address: str) -> typing.Iterator[tuple[str, Record]]:
    """On an existing scheduler, which repeats what a lost worker had."""
    distributed: typing.Any = importlib.import_module("distributed")
    with distributed.Client(address) as client:
        waiting = [client.submit(_execute, experiment, run, key=f"vmxsim-{run[0]}", pure=True) for run in runs]
        for _, result in distributed.as_completed(waiting, with_results=True):
            yield result


def campaign(experiment: Experiment, seeds: typing.Iterable[int], configs: typing.Iterable[Config] = ({},), *,
             path: str | os.PathLike[str], workers: int | None = None, scheduler: str | None = None,
             progress: bool | None = None) -> CampaignResult:
    """Runs an experiment for every configuration and seed that `path` has no line of.

    Parameters
    ----------
    experiment
        A function of an importable module, pure: the record depends on configuration and seed alone.
    configs
        Plain data each, as JSON has it.
    path
        JSON Lines; runs are added as they end. Another campaign's lines may be there and stay.
    workers
        Local processes; None: one per processor.
    scheduler
        Address of a Dask scheduler to use instead of local processes. Needs ``pip install vmxsim[dask]``.
    progress
        A progress line on the standard error; None: if that is a terminal.

    Raises
    ------
    BadFormat
        A line of `path` is none of a campaign; nothing is overwritten.

    An exception of the experiment ends the campaign and is raised; finished runs stay in `path`.
    """
    name, file_name = experiment_name(experiment), os.fspath(path)
    wanted = list(seeds)
    order = [(run_key(name, config, seed), config, seed) for config in configs for seed in wanted]
    known = _read(file_name)
    missing = list({run[0]: run for run in order if run[0] not in known}.values())
    by_key, bar = {run[0]: run for run in missing}, _Progress(len(missing), progress)
    if missing:
        source = _on_dask(experiment, missing, scheduler) if scheduler else _locally(experiment, missing, workers)
        with open(file_name, "a", encoding="utf-8") as file:
            for key, record in source:
                if key in known:
                    continue
                _, config, seed = by_key[key]
                line = {"key": key, "experiment": name, "config": config, "seed": seed, "record": record}
                file.write(_canonical(line) + "\n")
                file.flush()
                known[key] = json.loads(_canonical(line))
                bar.step()
    return CampaignResult(file_name, [known[key] for key, _, _ in order], len(missing))
