# SPDX-License-Identifier: Apache-2.0
"""Campaigns: resumed, repeated, with workers that die."""
from __future__ import annotations

import concurrent.futures.process
import json
import pathlib
import threading
import time
import typing

import experiments
import pytest

from vmxsim import campaign, errors


def lines(path: pathlib.Path) -> list[dict[str, typing.Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_experiment_must_have_a_name(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.InvalidInput, match="by name"):
        campaign(lambda config, seed: {}, range(3), path=tmp_path / "out")


def test_a_file_that_is_none_stays(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out"
    path.write_text('{"key": 1}\nnot json\n')
    with pytest.raises(errors.BadFormat, match=":2"):
        campaign(experiments.square, range(3), path=path)
    assert path.read_text() == '{"key": 1}\nnot json\n'


def test_records_come_in_order_and_are_run_once(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.jsonl"
    configs = [{"factor": 2}, {"factor": 3}]
    first = campaign(experiments.square, [5, 1, 5], configs, path=path, workers=2, progress=True)
    assert [record["value"] for record in first.records] == [50, 2, 50, 75, 3, 75] and first.ran == 4
    assert len(lines(path)) == 4 and "4/4" in capsys.readouterr().err
    again = campaign(experiments.square, [5, 1], configs, path=path)
    assert again.ran == 0 and [record["value"] for record in again.records] == [50, 2, 75, 3]
    more = campaign(experiments.square, [7], configs, path=path, workers=1)
    assert more.ran == 2 and len(lines(path)) == 6


def test_half_a_line_is_run_again(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.jsonl"
    campaign(experiments.square, range(4), path=path, workers=1)
    whole = path.read_text()
    path.write_text(whole[:-10])
    assert campaign(experiments.square, range(4), path=path, workers=1).ran == 1
    assert sorted(path.read_text().splitlines()) == sorted(whole.splitlines())


def test_a_failing_experiment_keeps_what_is_done(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.jsonl"
    campaign(experiments.square, range(3), path=path, workers=1)
    with pytest.raises(ZeroDivisionError):
        campaign(experiments.fails, range(3), path=path, workers=1)
    assert len(lines(path)) == 3


def test_a_process_that_dies_is_replaced(tmp_path: pathlib.Path) -> None:
    config = {"mark": str(tmp_path / "mark")}
    result = campaign(experiments.dies_once, range(8), [config], path=tmp_path / "out.jsonl", workers=2)
    assert [record["value"] for record in result.records] == list(range(8))
    assert len(lines(tmp_path / "out.jsonl")) == 8
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        campaign(experiments.always_dies, range(2), path=tmp_path / "other.jsonl", workers=1)


def test_the_same_seed_gives_the_same_record(tmp_path: pathlib.Path) -> None:
    configs = [{"profile": "icelake"}, {"profile": "skylake"}]
    results = [campaign(experiments.broken_rules, range(5), configs, path=tmp_path / name, workers=1) for name in "ab"]
    assert results[0].records == results[1].records and all(len(record["rules"]) == 2 for record in results[0].records)


@pytest.mark.filterwarnings("ignore")
def test_dask_with_a_worker_killed_half_way(tmp_path: pathlib.Path) -> None:
    distributed = pytest.importorskip("distributed")
    log, path = tmp_path / "log", tmp_path / "out.jsonl"
    log.mkdir()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        def kill_one() -> None:
            while len(list(log.iterdir())) < 10:
                time.sleep(0.01)
            worker = next(iter(cluster.workers.values()))
            worker.process.process._process.kill()

        killer = threading.Thread(target=kill_one)
        killer.start()
        result = campaign(experiments.square, range(40), [{"log": str(log), "seconds": 0.05}], path=path,
                          scheduler=cluster.scheduler_address)
        killer.join()
    assert [record["value"] for record in result.records] == [seed * seed for seed in range(40)]
    assert sorted(line["seed"] for line in lines(path)) == list(range(40))  # nothing lost, nothing twice
    assert len(list(log.iterdir())) >= 40
