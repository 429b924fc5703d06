# SPDX-License-Identifier: Apache-2.0
"""
Where the fetches of an experiment lead. A mutated mapping may lead one to other bytes than those of the instruction that the
experiment is about; then what the guest does is about these bytes. settle() puts the instruction where the model says that
the fetch leads; stray() says of what is left why it cannot lie there.
"""
import batch
import header as templates
import vectors

PAGE = 0x1000
# A fetch that is moved changes memory, which may move it again.
MAX_MOVES = 3


def wanted_bytes(header, access):
    """The instruction at this linear address, and the VMCALL behind it."""
    linear = vectors.number(access["linear"])
    if linear & ~(PAGE - 1) not in (templates.CODE_PAGE, 0x400000):
        return bytes.fromhex(templates.VMCALL_BYTES)
    code = vectors.number(header["memory"]["base"].get(hex(templates.CODE_PAGE + linear % PAGE), "0x0"))
    return code.to_bytes(8, "little")


def misled(header, record):
    """[(access, where its bytes were fetched)] of fetches of other bytes."""
    if record["kind"] != "access":
        return []
    trace = record.get("trace", {})
    fetches = [access for access in record.get("accesses", []) if access["type"] == "fetch"]
    found = []
    for access, fetched, places in zip(fetches, trace.get("fetched", []), trace.get("fetched_at", [])):
        wanted = wanted_bytes(header, access)[:access["size"]]
        if vectors.number(fetched) != int.from_bytes(wanted, "little"):
            found.append((access, [vectors.number(place) for place in places]))
    return found


def byte_addresses(places, count):
    """Host-physical addresses of `count` bytes: the first page up to its end, then the second."""
    here = places[0]
    for _ in range(count):
        yield here
        here += 1
        if here % PAGE == 0 and len(places) > 1:
            here = places[1]


def stray(header, record):
    """Why the instruction is not where a fetch leads; None: it is."""
    layout = None
    for access, places in misled(header, record):
        layout = layout or batch.Layout(header)
        addresses = list(byte_addresses(places, len(wanted_bytes(header, access))))
        if not all(layout.in_ram(address) for address in addresses):
            return "a fetch is led to where no memory is"
        if not all(layout.is_usable(address) for address in addresses):
            return "a fetch is led to memory of the payload"
        return "a fetch is led to a table that it needs"
    return None


def moved(header, record):
    """The case with instructions where its fetches lead, or None."""
    if not misled(header, record):
        return None
    words = vectors.words(header, record)
    layout = batch.Layout(header)
    for access, places in misled(header, record):
        wanted = wanted_bytes(header, access)
        for address, byte in zip(byte_addresses(places, len(wanted)), wanted):
            if not layout.is_usable(address):
                return None
            shift = 8 * (address & 7)
            words[address & ~7] = words.get(address & ~7, 0) & ~(0xFF << shift) | byte << shift
    case = {key: value for key, value in record.items() if key not in ("expect", "trace")}
    return vectors.with_memory(header, case, words)


def settle(model, header, cases):
    """The cases, instructions moved to where fetches lead."""
    settled, waiting = list(cases), range(len(cases))
    for _ in range(MAX_MOVES):
        records = model.record(header, [settled[index] for index in waiting])
        changed = {index: moved(header, record) for index, record in zip(waiting, records)}
        waiting = [index for index, case in changed.items() if case]
        if not waiting:
            break
        for index in waiting:
            settled[index] = changed[index]
    return settled
