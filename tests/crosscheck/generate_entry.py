# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `entry`: states from libvmxsim's generator and mutator (entry_states), so that every rule that the processor
offers is broken alone; and, written here, what those leave out: launch states, MSR-load lists, link pointers, any bit.
"""
import json
import subprocess
import tempfile

import header as templates
import vectors

TEMPLATES = ["long64", "long64-user", "pae", "pae-user", "unpaged32", "unpaged32-user", "paging32", "real", "v86"]
MSR_LIST, LINKED = 0x3100000, 0x3203000
ENTRY_MSR_COUNT, ENTRY_MSR_ADDRESS, LINK_POINTER, HOST_RSP = 0x4014, 0x200A, 0x2800, 0x6C14
HOST_TYPE = 3
SHADOW = 1 << 31

# (MSR, value): some that load, some that do not. Those that load are put back by the payload or by the VM exit.
LOADED_MSRS = [
    (0x277, 0x0007040600070406), (0x277, 0x0007040600070402), (0x174, 0x10), (0xC0000082, 0x1234), (0xC0000082, 1 << 63),
    (0xC0000100, 0), (0xC0000101, 0), (0xC0000102, 0), (0xC0000102, 0x800000000000), (0x175, 1 << 62), (0x800, 0), (0x83F, 0),
    (0xC0000084, 0x200), (0xC0000084, 1 << 40), (0xC0000081, 1 << 60), (0x480, 0), (0x3A, 5),
]


# Combinations of fields that single changes do not reach.
CORNERS = [
    {0x4012: 0x97FB},                                              # entry to SMM
    {0x6820: 0x20002, 0x6800: 0x30},                               # virtual-8086 mode without protected mode
    {0x4000: 0x7E, 0x4824: 8, 0x4016: 0x80000202},                 # an NMI, virtual NMIs, blocking by NMI
    {0x4826: 2, 0x4016: 0x80000412, 0x401A: 1},                    # shutdown, a software interrupt with the vector of #MC
    {0x804: 0, 0x4818: 0xC013},                                    # SS: null selector, not present, usable
    {0x806: 0x13, 0x481A: 0xC09B, 0x401E: 0x2},                    # DS: code segment with a DPL below the RPL
    {0x802: 0xB},                                                  # CS: another RPL
    {0x4016: 0x80000700},                                          # other event: pending MTF
    {0x4826: 1, 0x6822: 0x1001},                                   # HLT, a breakpoint pending
    {0x4826: 1, 0x6822: 0x1001, 0x482E: 0x60},                     # and a short timer
    {0x4826: 1, 0x4824: 0x8},                                      # HLT, NMIs blocked
]


def encoding_type(field):
    return field >> 10 & 3


def raw_states(program, header, seed, count):
    """States from the library's generator."""
    templates = {name: header["vmcs"][name] for name in TEMPLATES}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as profile:
        json.dump(header["cpu"], profile)
        profile.flush()
        done = subprocess.run([program, profile.name, str(seed), str(count)], input=json.dumps(templates),
                              capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def host_changed(template, fields):
    """Does the state differ in what the payload needs to come back?"""
    keys = {key for key in template.keys() | fields.keys() if encoding_type(vectors.number(key)) == HOST_TYPE}
    return any(template.get(key, "0x0") != fields.get(key, "0x0") for key in keys)


def comes_back(rules):
    """A broken rule of controls or host state: the host state is not loaded."""
    return any(rule.startswith(("CTL.", "HOST.")) for rule in rules)


def hasten(fields):
    """
    A guest in HLT or shutdown with debug exceptions pending: a short VMX-preemption timer ends the wait. Bochs starts again if the
    watchdog's NMI does (deviations.py); the corners show that often enough.
    """
    if fields.get("0x4826") in ("0x1", "0x2") and "0x6822" in fields and "0x482e" in fields:
        fields["0x482e"] = "0x60"


def add_msr_list(random, fields, words):
    count = random.randrange(1, 4)
    fields[ENTRY_MSR_COUNT], fields[ENTRY_MSR_ADDRESS] = count, MSR_LIST
    for index in range(count):
        msr, value = random.choice(LOADED_MSRS)
        high = random.choice([0] * 9 + [1 << 32])
        words[MSR_LIST + 16 * index] = msr | high
        words[MSR_LIST + 16 * index + 8] = value


def add_link(header, random, fields, words):
    right = templates.revision(header["cpu"])
    fields[LINK_POINTER] = random.choice([LINKED, LINKED, LINKED + 8, MSR_LIST, 0x3204000, 1 << 45])
    words[LINKED] = random.choice([right, right, right + 1, right | SHADOW])


def flip_bits(header, random, fields):
    """Any bits of guest fields."""
    known = [vectors.number(key) for key in header["cpu"]["vmcs_fields"]]
    guest = [field for field in known if encoding_type(field) == 2]
    for _ in range(random.randrange(1, 4)):
        field = random.choice(guest)
        width = {0: 16, 1: 64, 2: 32, 3: 64}[field >> 13 & 3]
        fields[field] = fields.get(field, 0) ^ 1 << random.randrange(width)


def launch(random):
    if random.random() < 0.1:
        return {"launch_state": random.choice(["clear", "launched"]), "instruction": random.choice(["vmlaunch", "vmresume"])}
    return random.choice([{"launch_state": "clear", "instruction": "vmlaunch"}] * 9 +
                         [{"launch_state": "launched", "instruction": "vmresume"}])


def finish(header, random, identity, state):
    fields = {vectors.number(key): vectors.number(value) for key, value in state["fields"].items()
              if vectors.number(key) != HOST_RSP and encoding_type(vectors.number(key)) != 1}
    case = {"kind": "entry", **launch(random), "vmcs": [state["template"], {}], "memory": ["base", {}]}
    if state["template"].startswith("paging32"):
        case["memory"] = ["paging32", {}]
    words = vectors.words(header, case)
    chance = random.random()
    if chance < 0.08:
        add_msr_list(random, fields, words)
    elif chance < 0.12:
        add_link(header, random, fields, words)
    elif chance < 0.13:
        words[vectors.number(header["vmcs_pointer"])] = templates.revision(header["cpu"]) | SHADOW
    elif chance < 0.17:
        fields.update(random.choice(CORNERS))
    elif chance < 0.3:
        flip_bits(header, random, fields)
    case = vectors.with_memory(header, vectors.with_fields(header, case, fields), words)
    return {"id": identity, **case}


def generate_all(program, header, random, count, prefix):
    """`count` cases; the ids begin with the prefix."""
    cases = []
    while len(cases) < count:
        wanted = count - len(cases)
        for state in raw_states(program, header, random.getrandbits(63), wanted):
            template = header["vmcs"][state["template"]]
            hasten(state["fields"])
            if not host_changed(template, state["fields"]) or comes_back(state["rules"]):
                cases.append(finish(header, random, f"{prefix}{len(cases):06}", state))
    return cases
