# SPDX-License-Identifier: Apache-2.0
"""
Experiments of kind `entry`. First one for each rule that the processor offers, broken alone; then states from libvmxsim's
generator and mutator (entry_states), and, written here, what those leave out: launch states, MSR-load lists, link pointers, any
bit.
"""
import json
import subprocess
import tempfile

import header as templates
import vectors

TEMPLATES = ["long64", "long64-user", "pae", "pae-user", "unpaged32", "unpaged32-user", "paging32", "real", "v86"]
MSR_LIST, LINKED, PDPT = 0x3100000, 0x3203000, 0x3100000
CANDIDATES = 4  # states for each rule, of which one must let the payload come back
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


def raw_states(program, header, seed, count, *each):
    """States from the library's generator."""
    templates = {name: header["vmcs"][name] for name in TEMPLATES}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as profile:
        json.dump(header["cpu"], profile)
        profile.flush()
        done = subprocess.run([program, profile.name, str(seed), str(count), *each], input=json.dumps(templates),
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


def plain_case(header, state):
    """The state as a case, and its VMCS and memory."""
    fields = {vectors.number(key): vectors.number(value) for key, value in state["fields"].items()
              if vectors.number(key) != HOST_RSP and encoding_type(vectors.number(key)) != 1}
    case = {"kind": "entry", "launch_state": "clear", "instruction": "vmlaunch", "vmcs": [state["template"], {}],
            "memory": ["paging32" if state["template"].startswith("paging32") else "base", {}]}
    words = vectors.words(header, case)
    words.update({vectors.number(key): vectors.number(value) for key, value in state["memory"].items()})
    return case, fields, words


def put_together(header, identity, case, fields, words):
    return {"id": identity, **vectors.with_memory(header, vectors.with_fields(header, case, fields), words)}


def finish(header, random, identity, state):
    case, fields, words = plain_case(header, state)
    case.update(launch(random))
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
    return put_together(header, identity, case, fields, words)


# ---- Each rule alone ----

def rule_cases(header):
    """
    [(template, fields, words, keys of the case)] for rules that entry_states breaks never or seldom in states of the payload, and
    for deviations of Bochs that chance shows seldom.
    """
    current, revision = vectors.number(header["vmcs_pointer"]), templates.revision(header["cpu"])
    base, v86, pae = (vectors.fields(header, {"vmcs": [name, {}]}) for name in ("long64", "v86", "pae"))
    return [
        ("long64", {}, {current: revision | SHADOW}, {}),                                          # ENT.SHADOWCUR
        ("long64", {}, {}, {"launch_state": "launched"}),                                          # ENT.LAUNCH.CLEAR
        ("long64", {}, {}, {"instruction": "vmresume"}),                                           # ENT.RESUME.LAUNCHED
        ("long64", {LINK_POINTER: current}, {current: revision}, {}),                              # LINK.CURRENT
        ("long64", {0x4000: base[0x4000] | 0x28, 0x4824: 8, 0x4016: 0x80000202}, {}, {}),          # INTR.VNMI
        ("long64", {0x401E: base[0x401E] & ~0x80, 0x802: base[0x802] | 1, 0x804: base[0x804] | 1}, {}, {}),  # SEG.SS.DPL.RPL
        ("v86", {0x4012: v86[0x4012] & ~0x8000 | 0x200, 0x6804: v86[0x6804] | 0x20}, {}, {}),      # RFLAGS.VM
        ("pae", {0x401E: pae[0x401E] & ~0x82, 0x6802: PDPT}, {PDPT + 8: 0x3}, {}),                 # PDPTE.CR3
        ("v86", {0x6800: 0x30}, {}, {}),                                          # virtual-8086 mode without protected mode
        ("long64", {0x4012: 0x97FB, 0x4824: 1, 0x6820: 0x202, 0x4016: 0x80000202}, {}, {}),  # to SMM; an NMI, blocking by STI
        ("long64", {0x4826: 1, 0x6822: 0x1001}, {}, {}),                          # HLT, a breakpoint pending
    ]


def each_rule(program, header, random, prefix):
    """A case for each rule, broken alone."""
    cases = []
    for template, fields, words, keys in rule_cases(header):
        state = {"template": template, "memory": {}, "fields": header["vmcs"][template]}
        case, before, memory = plain_case(header, state)
        cases.append(put_together(header, f"{prefix}{len(cases):06}", {**case, **keys}, {**before, **fields}, {**memory, **words}))
    seen = set()
    for state in raw_states(program, header, random.getrandbits(63), CANDIDATES, "each"):
        rule = state["rules"][0]
        if rule not in seen and may_come_back(header, state):
            seen.add(rule)
            cases.append(put_together(header, f"{prefix}{len(cases):06}", *plain_case(header, state)))
    return cases


def may_come_back(header, state):
    return not host_changed(header["vmcs"][state["template"]], state["fields"]) or comes_back(state["rules"])


def generate_all(program, header, random, count, prefix):
    """`count` cases; the ids begin with the prefix."""
    cases = each_rule(program, header, random, prefix)[:count]
    while len(cases) < count:
        wanted = count - len(cases)
        for state in raw_states(program, header, random.getrandbits(63), wanted):
            hasten(state["fields"])
            if may_come_back(header, state):
                cases.append(finish(header, random, f"{prefix}{len(cases):06}", state))
    return cases
