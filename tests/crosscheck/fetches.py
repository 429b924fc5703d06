# SPDX-License-Identifier: Apache-2.0
"""
Where the fetches of an experiment lead. A mutated mapping may lead one to other bytes than those of the instruction that the
experiment is about; then what the guest does is about these bytes. settle() puts the instruction where the model says that
the fetch leads; stray() says of what is left why it does not lie there.
"""
import batch
import header as templates
import vectors

PAGE = 0x1000
# A fetch that is moved changes memory, which may move it again.
MAX_MOVES = 3
VMCALL = bytes.fromhex(templates.VMCALL_BYTES)


def wanted_bytes(header, record, access):
    """The instruction at this linear address, as the code page has it, and the VMCALL behind it."""
    linear = vectors.number(access["linear"])
    if linear & ~(PAGE - 1) not in (templates.CODE_PAGE, 0x400000):
        return VMCALL
    words, place = vectors.words(header, record), templates.CODE_PAGE + linear % PAGE
    code = b"".join(words.get((place & ~7) + offset, 0).to_bytes(8, "little") for offset in (0, 8, 16))
    return code[place & 7:][:access["size"] + len(VMCALL)]


def byte_addresses(places, count):
    """Host-physical addresses of `count` bytes: the first page up to its end, then the second, if it is known."""
    first = range(places[0], min(places[0] + count, places[0] // PAGE * PAGE + PAGE))
    rest = count - len(first)
    return [*first, *(range(places[1], places[1] + rest) if len(places) > 1 else [])]


def bytes_in_memory(header, record, places, count):
    """Before the experiment; all ones where there is nothing."""
    words = vectors.words(header, record)
    layout = batch.Layout(header)
    return bytes(words.get(address & ~7, 0) >> 8 * (address & 7) & 0xFF if layout.in_ram(address) else 0xFF
                 for address in byte_addresses(places, count))


def misled(header, record):
    """[(access, where its bytes were fetched)] of fetches of other bytes; one that fails may have got those on its first page."""
    if record["kind"] != "access":
        return []
    trace, found = record.get("trace", {}), []
    fetches = [access for access in record["accesses"] if access["type"] == "fetch"]
    fetched = [vectors.number(value) for value in trace.get("fetched", [])]
    for index, (access, at) in enumerate(zip(fetches, trace.get("fetched_at", []))):
        places, size = [vectors.number(place) for place in at], access["size"]
        if index < len(fetched):
            got = fetched[index].to_bytes(size, "little")
        else:
            got = bytes_in_memory(header, record, places, min(size, PAGE - places[0] % PAGE))
        if got != wanted_bytes(header, record, access)[:len(got)]:
            found.append((access, places))
    return found


def stray(header, record):
    """Why the instruction is not where a fetch leads; None: it is."""
    layout = None
    for access, places in misled(header, record):
        layout = layout or batch.Layout(header)
        addresses = byte_addresses(places, len(wanted_bytes(header, record, access)))
        if not all(layout.in_ram(address) for address in addresses):
            return "a fetch is led to where no memory is"
        if not all(layout.is_usable(address) for address in addresses):
            return "a fetch is led to memory of the payload"
        return "a fetch is led to other bytes than those of the instruction"
    return None


def moved(header, record):
    """The case with instructions where its fetches lead, or None."""
    if not misled(header, record):
        return None
    words = vectors.words(header, record)
    layout = batch.Layout(header)
    for access, places in misled(header, record):
        wanted = wanted_bytes(header, record, access)
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
