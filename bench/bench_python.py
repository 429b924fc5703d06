# SPDX-License-Identifier: Apache-2.0
"""What a call from Python costs: scalar translations, outcomes, VM entry with its exit, arrays beside the C loop.

    python bench/bench_python.py [--json]

Prints the median, least and most of several runs. Needs the installed package; numpy is used if it is there. It judges nothing.
"""
from __future__ import annotations

import argparse
import array
import json
import statistics
import sys
import time
import typing

import vmxsim
from vmxsim import arrays
from vmxsim.raw import ffi, lib

RUNS = 9
ADDRESSES = 200_000


def nanoseconds(call: typing.Callable[[], object], count: int, per_call: int = 1) -> list[float]:
    """Per element, one value per run."""
    call()
    found = []
    for _ in range(RUNS):
        begin = time.perf_counter_ns()
        for _ in range(count):
            call()
        found.append((time.perf_counter_ns() - begin) / (count * per_call))
    return found


def measure() -> dict[str, list[float]]:
    with vmxsim.Machine(ram="64M", poison=False) as machine, machine.address_space() as space, machine.cpu() as cpu:
        space.map_alloc(0, "16M")
        space.map_linear(1 << 30, 0, "32M")
        found = {"translate to an integer (hpa)": nanoseconds(lambda: space.hpa(0x5008), 20_000),
                 "translate to an outcome": nanoseconds(lambda: space.translate(0x5008), 20_000)}

        cpu.load(vmxsim.Vmcs.valid())
        guest, instruction = cpu.guest, vmxsim.Instruction.CPUID

        def round_trip() -> None:
            cpu.enter()
            cpu.exit(guest.execute(instruction))

        found["enter, CPUID, exit"] = nanoseconds(round_trip, 5_000)

        gpas = array.array("Q", ((i * 0x1008 + 8) % (16 << 20) for i in range(ADDRESSES)))
        found["array translate, per address"] = nanoseconds(lambda: space.translate(gpas), 1, ADDRESSES)
        room, done = arrays.rows(ADDRESSES)[1], ffi.new("size_t *")
        addresses, processor = ffi.from_buffer("uint64_t[]", gpas), space._processor()._raw
        found["the C loop, per address"] = nanoseconds(
            lambda: lib.vmxpy_translate_many(processor, 1, addresses, ADDRESSES, room, done), 1, ADDRESSES)
        found["array of host addresses, per address"] = nanoseconds(lambda: space.hpas(gpas), 1, ADDRESSES)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    results = {name: {"median_ns": round(statistics.median(values), 1), "least_ns": round(min(values), 1),
                      "most_ns": round(max(values), 1)} for name, values in measure().items()}
    share = results["the C loop, per address"]["median_ns"] / results["array translate, per address"]["median_ns"]
    if asked.json:
        json.dump({"times": results, "array_share_of_c_loop": round(share, 3)}, sys.stdout, indent=1)
        print()
        return
    for name, row in results.items():
        print(f"{name:40} {row['median_ns']:10.1f} ns   ({row['least_ns']:.1f} to {row['most_ns']:.1f})")
    print(f"{'array translate, share of the C loop':40} {100 * share:10.1f} %")


if __name__ == "__main__":
    main()
