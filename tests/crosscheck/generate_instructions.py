# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `instructions`: sequences of VMX instructions in VMX root operation, with control and capability registers,
region headers and VMCS fields changed in between. Most sequences begin sensibly, so that later steps get somewhere.
"""
import header as templates
import vectors

REGIONS = [0x3201000, 0x3202000, 0x3203000]
VMXON_REGION = 0x3200000
NO_REGION = 0x3100000
BAD_ADDRESSES = [0x3202800, 0x3201004, 0x3200008, 0x3202001, 0x10000000000, 0x8000000000000000, 0x7FFFFFF000, 0xFFFFFFFFFE000]
CAPABILITY_MSRS = [0x3A, *range(0x480, 0x492)]
GUESTS = ["fill-long64", "fill-pae", "fill-unpaged32"]
GUEST_RIP = "0x681e"
VMCALL = {"fill-long64": "0x4000c1", "fill-pae": "0x4000c1", "fill-unpaged32": "0x20090c1"}
BROKEN = [("0x4002", "0x0"), ("0x6c00", "0x0"), ("0x6820", "0x0"), ("0x4012", "0xffffffff"),
          ("0x6802", "0x8000000000000000"), ("0x2800", "0x3100001")]
HOST_TYPE = 3
# Exit controls, addresses and counts of the MSR lists of VM exits, page-modification log, #VE area.
WRITTEN_BY_EXITS = (0x2006, 0x2008, 0x200E, 0x202A, 0x400C, 0x400E, 0x4010)
# Where a guest finds its first instruction, the VMCALL: CR3, PDPTEs, base of CS, EPT pointer.
LEADS_TO_VMCALL = (0x6802, 0x280A, 0x280C, 0x280E, 0x2810, 0x6808, 0x201A)
SHADOW = 1 << 31  # kind `entry` has VM entries with a shadow VMCS
EXIT_REASON_FIELD = "0x4402"

# Of every run: VMLAUNCH outside VMX operation, and without a current VMCS.
ALWAYS = [{"kind": "instructions", "root": "default", "memory": ["base", {}], "steps": steps} for steps in (
    [{"op": "vmlaunch"}],
    [{"op": "vmxon", "address": hex(VMXON_REGION)}, {"op": "vmlaunch"}],
)]


def region(random):
    return random.choice(REGIONS[:2] * 8 + REGIONS[2:] + [VMXON_REGION] * 2 + [NO_REGION] + [random.choice(BAD_ADDRESSES)])


def field(header, random):
    """A field of the processor, one that is not there, a HIGH access, nonsense."""
    known = random.choice(header["cpu"]["vmcs_fields"])
    encoding = vectors.number(known)
    if random.random() < 0.2:
        encoding |= 1
    if random.random() < 0.05:
        encoding ^= 1 << random.randrange(0, 32)
    if random.random() < 0.03:
        encoding = random.choice([0xFFFFFFFF, 0x7777, 0xFFFF, 0x10000, 0x4000 | 1 << 12, encoding | 1 << 32])
    return encoding


def vmxon(random):
    address = random.choice([VMXON_REGION] * 8 + [NO_REGION] + BAD_ADDRESSES)
    return [{"op": "vmxon", "address": hex(address)}]


def vmclear(random):
    return [{"op": "vmclear", "address": hex(region(random))}]


def vmptrld(random):
    return [{"op": "vmptrld", "address": hex(region(random))}]


def write_and_read(header, random):
    encoding = hex(field(header, random))
    value = random.choice([0, 1, random.getrandbits(16), random.getrandbits(32), random.getrandbits(64), (1 << 64) - 1])
    return [{"op": "vmwrite", "field": encoding, "value": hex(value)}, {"op": "vmread", "field": encoding}]


def read(header, random):
    encoding = random.choice([0x4400, 0x4402, field(header, random)])
    return [{"op": "vmread", "field": hex(encoding)}]


def enter(random):
    """A guest that exits at once; sometimes one that does not start."""
    guest = random.choice(GUESTS)
    steps = [{"op": "fill", "vmcs": [guest, {}]}, {"op": "vmwrite", "field": GUEST_RIP, "value": VMCALL[guest]}]
    if random.random() < 0.3:
        broken = random.choice(BROKEN)
        steps.append({"op": "vmwrite", "field": broken[0], "value": broken[1]})
    steps.append({"op": random.choice(["vmlaunch", "vmlaunch", "vmresume"])})
    if random.random() < 0.7:
        steps.append({"op": "vmread", "field": random.choice([EXIT_REASON_FIELD, "0x4400", "0x6400", "0x440c"])})
    if random.random() < 0.4:
        steps.append({"op": random.choice(["vmresume", "vmlaunch"])})
    return steps


def invept(header, random):
    eptp = random.choice([0x300001E, 0x300005E, 0x3000018, 0x300015E, 0x1000000005E, 0x9E, 0x800000000000005E, 0x3000006])
    kind = random.choice([1, 2, 1, 2, 0, 3, 4, 0xFFFFFFFF, 0x100000001, 0x100000002])
    return [{"op": "invept", "type": hex(kind), "descriptor": [hex(eptp), hex(random.choice([0, 0, 0, 1]))]}]


def invvpid(header, random):
    vpid = random.choice([0, 1, 1, 2, 0xFFFF, 0x10000, 0x10001, 1 << 63])
    linear = random.choice([0, 0x1000, 0x7FFFFFFFFFFF, 0x800000000000, 0xFFFF800000000000, 0x4000000000000000])
    kind = random.choice([0, 1, 2, 3, 0, 1, 2, 3, 4, 0xFFFFFFFF, 0x100000000, 0x100000001])
    return [{"op": "invvpid", "type": hex(kind), "descriptor": [hex(vpid), hex(linear)]}]


def registers(random):
    return random.choice([
        [{"op": "set_cr0", "value": random.choice(["0x80000031", "0x80000011", "0x80010031", "0x80000030", "0x31"])}],
        [{"op": "set_cr4", "value": random.choice(["0x2020", "0x20", "0x2000", "0x20a0", "0x2620", "0x100002020"])}],
    ])


def msrs(random):
    msr = random.choice(CAPABILITY_MSRS)
    if random.random() < 0.3:
        return [{"op": "wrmsr", "msr": hex(msr), "value": "0x0"}]
    return [{"op": "rdmsr", "msr": hex(msr)}]


def headers(header, random):
    """The first doubleword of a region: revision identifier and shadow indicator."""
    right = templates.revision(header["cpu"])
    value = random.choice([right, right, right + 1, right | SHADOW, 0, 0x7FFFFFFF, right + 1 | SHADOW])
    address = random.choice(REGIONS + [VMXON_REGION])
    steps = [{"op": "poke", "address": hex(address), "size": 4, "value": hex(value)}]
    return steps + ([{"op": "peek", "address": hex(address), "size": 4}] if random.random() < 0.3 else [])


def pick(header, random):
    actions = [
        (lambda: vmclear(random), 8), (lambda: vmptrld(random), 8), (lambda: write_and_read(header, random), 10),
        (lambda: read(header, random), 5), (lambda: enter(random), 8), (lambda: invept(header, random), 4),
        (lambda: invvpid(header, random), 4), (lambda: registers(random), 3), (lambda: msrs(random), 2),
        (lambda: headers(header, random), 3), (lambda: vmxon(random), 3), (lambda: [{"op": "vmxoff"}], 2),
        (lambda: [{"op": "vmptrst"}], 4), (lambda: [{"op": "vmfunc"}], 1), (lambda: [{"op": "vmlaunch"}], 2),
        (lambda: [{"op": "vmresume"}], 2),
    ]
    functions, weights = zip(*actions)
    return random.choices(functions, weights)[0]()


def spoils_entries(step):
    """A VM exit would not come back to the payload, would write to its memory, or would not be that of the VMCALL."""
    if step["op"] != "vmwrite":
        return False
    encoding = vectors.number(step["field"])
    return encoding >> 10 & 3 == HOST_TYPE or encoding & ~1 in WRITTEN_BY_EXITS + LEADS_TO_VMCALL


def without_spoilt_entries(steps):
    """No VM entry after such a write, until every field is written again. A state that fails a check is left alone."""
    kept, spoilt = [], False
    for step in steps:
        if step["op"] == "fill":
            spoilt = False
        if step["op"] in ("vmlaunch", "vmresume") and spoilt:
            continue
        spoilt = spoilt or spoils_entries(step) and (step["field"], step["value"]) not in BROKEN
        kept.append(step)
    return kept


def generate(header, random, identity):
    """One case."""
    steps = []
    if random.random() < 0.9:
        steps.append({"op": "vmxon", "address": hex(VMXON_REGION)})
    if random.random() < 0.8:
        address = hex(random.choice(REGIONS[:2]))
        steps += [{"op": "vmclear", "address": address}, {"op": "vmptrld", "address": address}]
    for _ in range(random.randrange(3, 12)):
        steps += pick(header, random)
    steps = without_spoilt_entries(steps)
    if any(step["op"] == "poke" and vectors.number(step["value"]) & SHADOW for step in steps):
        steps = [step for step in steps if step["op"] not in ("vmlaunch", "vmresume")]
    return {"id": identity, "kind": "instructions", "root": "default", "memory": ["base", {}], "steps": steps}
