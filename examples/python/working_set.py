# SPDX-License-Identifier: Apache-2.0
"""Lazy paging: how many pages a guest has touched after n accesses, for three patterns of access."""
import random

from vmxsim import EptPerm, EptViolation, Machine

PAGES, ACCESSES, STEPS = 4096, 20_000, 10


def sequential(random_: random.Random, step: int) -> int:
    return step % PAGES


def uniform(random_: random.Random, step: int) -> int:
    return random_.randrange(PAGES)


def local(random_: random.Random, step: int) -> int:
    """Nine of ten accesses go to a tenth of the pages."""
    return random_.randrange(PAGES // 10) if random_.random() < 0.9 else random_.randrange(PAGES)


def curve(pattern, seed: int = 1) -> list[int]:
    """Pages that are backed after each tenth of the accesses."""
    random_, found, pages = random.Random(seed), [], 0
    with Machine(ram="64M") as machine, machine.address_space() as space:
        space.map_alloc(0, PAGES * 4096, EptPerm.RW, lazy=True)
        for step in range(ACCESSES):
            outcome = space.translate(pattern(random_, step) << 12, EptPerm.W)
            if isinstance(outcome, EptViolation):
                space.handle_fault(outcome)
                pages += 1
            if (step + 1) % (ACCESSES // STEPS) == 0:
                found.append(pages)
    return found


def main() -> None:
    print("accesses  " + "".join(f"{(i + 1) * ACCESSES // STEPS:7}" for i in range(STEPS)))
    for pattern in (sequential, uniform, local):
        print(f"{pattern.__name__:10}" + "".join(f"{pages:7}" for pages in curve(pattern)))


if __name__ == "__main__":
    main()
