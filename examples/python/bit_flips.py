# SPDX-License-Identifier: Apache-2.0
"""What one flipped bit in an EPT entry does to a read: for each bit and each level of the walk."""
import collections

from vmxsim import EptMisconfiguration, EptPerm, EptViolation, Machine, Translation

GPA = 0x1234_5000


def verdict(before: Translation, outcome) -> str:
    match outcome:
        case EptMisconfiguration():
            return outcome.rule.id
        case EptViolation():
            return "EPT violation"
        case Translation(hpa=hpa) if hpa != before.hpa:
            return "another page"
        case _:
            return "none" if outcome == before else "other attributes"


def flips() -> dict[tuple[str, int], list[int]]:
    """(effect, level) -> the bits that have it."""
    found = collections.defaultdict(list)
    with Machine(ram="64M", profile="icelake") as machine, machine.address_space() as space:
        space.map_alloc(GPA, 4096, EptPerm.RWX)
        before = space.translate(GPA)
        for level in (4, 3, 2, 1):
            entry = space.entries[GPA, level]
            address = space.entries.address(GPA, level)
            for bit in range(64):
                machine.memory.write64(address, entry ^ 1 << bit)
                found[verdict(before, space.translate(GPA)), level].append(bit)
            machine.memory.write64(address, entry)
    return found


def ranges(bits: list[int]) -> str:
    """[3, 4, 5, 9] -> "3-5 9"."""
    firsts = [bit for bit in bits if bit - 1 not in bits]
    lasts = [bit for bit in bits if bit + 1 not in bits]
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in zip(firsts, lasts))


def main() -> None:
    found = flips()
    names = sorted({name for name, _ in found})
    print(f"{'effect of one flipped bit':24}" + "".join(f"{f'level {level}':>26}" for level in (4, 3, 2, 1)))
    for name in names:
        print(f"{name:24}" + "".join(f"{ranges(found.get((name, level), [])):>26}" for level in (4, 3, 2, 1)))


if __name__ == "__main__":
    main()
