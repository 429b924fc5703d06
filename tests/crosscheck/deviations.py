# SPDX-License-Identifier: Apache-2.0
"""
Where an engine is known to differ from the manual: which experiments, and exactly which answer instead.

An engine that deviates behaves as the manual says for a slightly different experiment, or says something else about the same
outcome. So a deviation is one of

    a rule that the engine does not have    the outcome of a VM entry is worked out again without it
    a transformation of the experiment      the model runs that instead; see Transformed
    a correction of the answer              fields that the engine fills in another way

and the prediction is the model's answer with all of them that apply. The texts are in tests/vectors/deviations.json, under the
same ids. `record` below is a case with the model's `expect` and `trace`.
"""
import answers
import batch
import header as templates
import vectors

SECONDARY, PRIMARY, EPTP, PML_ADDRESS, PML_INDEX, VE_ADDRESS = 0x401E, 0x4002, 0x201A, 0x200E, 0x812, 0x202A
GUEST_CR0, GUEST_CR3, GUEST_CR4, GUEST_RIP, GUEST_CS, GUEST_CS_ACCESS, GUEST_SS_ACCESS = 0x6800, 0x6802, 0x6804, 0x681E, 0x802, 0x4816, 0x4818
EPTP_AD, CR0_WP, CR4_SMAP, CR4_PKE, EFER_LMA = 1 << 6, 1 << 16, 1 << 21, 1 << 22, 1 << 10
EPT_ACCESSED, EPT_DIRTY = 1 << 8, 1 << 9
PF_KEY, VECTOR_MC = 1 << 5, 18
ENTRY_CONTROLS, GUEST_SS, UNUSABLE = 0x4012, 0x804, 1 << 16
EXIT_CONTROLS, EXIT_LOAD_CET = 0x400C, 1 << 28
EXCEPTION_BITMAP, ACTIVITY, PENDING_DEBUG = 0x4004, 0x4826, 0x6822
INTERRUPTIBILITY, PREEMPTION_TIMER, BLOCKING_BY_NMI = 0x4824, 0x482E, 1 << 3
VIRTUAL_NMIS, ACTIVATE_PREEMPTION_TIMER, NMI_WINDOW_EXITING = 1 << 5, 1 << 6, 1 << 22
MSR_FMASK, ENTRY_MSR_COUNT, ENTRY_MSR_ADDRESS, SHADOW = 0xC0000084, 0x4014, 0x200A, 1 << 31


class Transformed:
    """
    Another experiment, and how memory maps back: words where the changed bits belong to the experiment (`delta`: they are
    put back) or where what the transformed run ends with is what the engine ends with (`absolute`: address -> flags, and the access that
    sets them; where that access does not complete, whether it does is open).
    """

    def __init__(self, case, delta=(), absolute=()):
        self.case, self.delta, self.absolute = case, set(delta), dict(absolute)


def rules_of(record):
    return record.get("trace", {}).get("rules", [])


def ended_by(record, rule):
    return record["kind"] == "access" and rules_of(record) == [rule]


def put_words(header, record, wanted):
    case = {key: value for key, value in record.items() if key not in ("expect", "trace")}
    return vectors.with_memory(header, case, wanted)


# ---- Transformations ----

def large_leaf_bit12(header, record):
    """Bit 12 of an EPT entry that maps a large page is ignored."""
    if not ended_by(record, "EPT.MC.RSVD"):
        return None
    entry = record["trace"]["ept_entries"][-1]
    address, value = vectors.number(entry["address"]), vectors.number(entry["value"])
    if not entry["leaf"] or entry["level"] == 1 or not value & 1 << 12:
        return None
    words = vectors.words(header, record)
    if words.get(address, 0) != value:
        return None  # not memory: all ones, so that other reserved bits are set as well
    words[address] &= ~(1 << 12)
    return Transformed(put_words(header, record, words), delta=[address])


def flag_update_without_write(header, record):
    """The update of a flag in a guest entry needs no right: as if the flags had been set before."""
    if not ended_by(record, "EPT.AD.OFF_GPT"):
        return None
    entry = record["trace"]["guest_entries"][-1]
    writes = record["accesses"][-1]["type"] in ("write", "rmw")
    flags = 0x60 if entry["leaf"] and last_access(record)["type"] in ("write", "rmw") and writes else 0x20
    address = vectors.number(entry["address"])
    words = vectors.words(header, record)
    words[address & ~7] = words.get(address & ~7, 0) | flags << 8 * (address & 7)
    flag_mask = flags << 8 * (address & 7)
    return Transformed(put_words(header, record, words), absolute={address & ~7: (flag_mask, record["trace"]["access"])})


def last_access(record):
    """The access that ended the case: the fetch, if the walk began at its address."""
    return record["accesses"][record.get("trace", {}).get("access", len(record["accesses"]) - 1)]


def key_rights(record, entry):
    return vectors.number(record["pkru"]) >> 2 * (vectors.number(entry["value"]) >> 59 & 15) & 3


def is_user(record):
    return record["vmcs"][0].endswith("-user")


def uses_keys(header, record):
    return record["kind"] == "access" and vectors.fields(header, record).get(GUEST_CR4, 0) & CR4_PKE


def keys_of_supervisor(header, record):
    """A supervisor-mode access is not subject to access-disable bits."""
    if not uses_keys(header, record) or is_user(record):
        return None
    pkru = vectors.number(record["pkru"]) & 0xAAAAAAAA
    if hex(pkru) == record["pkru"]:
        return None
    return Transformed({**put_words(header, record, vectors.words(header, record)), "pkru": hex(pkru)})


def denied_pages(header, record):
    """Leaf entries of pages whose key, by the CPL alone, denies the last access."""
    access = last_access(record)
    if access["type"] == "fetch" or not uses_keys(header, record):
        return []
    write = access["type"] in ("write", "rmw")
    protected = vectors.fields(header, record).get(GUEST_CR0, 0) & CR0_WP
    denied = []
    for entry in record["trace"].get("guest_entries", []):
        if not entry["leaf"]:
            continue
        rights = key_rights(record, entry)
        if (is_user(record) and (rights & 1 or rights & 2 and write)) or (not is_user(record) and rights & 2 and write and protected):
            denied.append(entry)
    return denied


def keys_of_supervisor_pages(header, record):
    """Write-disable bits also protect supervisor-mode pages from writes by the supervisor: as if they were read-only."""
    if not uses_keys(header, record) or is_user(record):
        return None
    words = vectors.words(header, record)
    changed = [vectors.number(entry["address"]) for entry in denied_pages(header, record)
               if words.get(vectors.number(entry["address"]), 0) & 2]
    if not changed:
        return None
    for address in changed:
        words[address] &= ~2
    return Transformed(put_words(header, record, words), delta=changed)


def full_log(header, record):
    """A full log ends every access, whether or not a flag has to be set: as if none were."""
    if record["kind"] != "access":
        return None
    fields = vectors.fields(header, record)
    if not logs(fields) or not fields.get(EPTP, 0) & EPTP_AD:
        return None
    if fields.get(PML_INDEX, 0) < 512:
        return None
    words = vectors.words(header, record)
    changed = [address for address, value in words.items()
               if 0x3000000 <= address < 0x3030000 and value & (EPT_ACCESSED | EPT_DIRTY)]
    for address in changed:
        words[address] &= ~(EPT_ACCESSED | EPT_DIRTY)
    return Transformed(put_words(header, record, words), delta=changed) if changed else None


def logs(fields):
    return fields.get(PRIMARY, 0) >> 31 & 1 and fields.get(SECONDARY, 0) >> 17 & 1


def shadow_vmcs(header, record):
    """VM entry with a shadow VMCS goes on as with another one."""
    address = vectors.number(header["vmcs_pointer"])
    words = {} if record["kind"] == "instructions" else vectors.words(header, record)
    if not words.get(address, 0) & SHADOW:
        return None
    words[address] &= ~SHADOW
    return Transformed(put_words(header, record, words), delta=[address])


def null_stack(header, record):
    """In a guest in 64-bit mode a null selector makes SS as good as unusable."""
    if record["kind"] != "entry":
        return None
    fields = vectors.fields(header, record)
    access = fields.get(GUEST_SS_ACCESS, 0)
    is_64 = fields.get(ENTRY_CONTROLS, 0) >> 9 & 1 and fields.get(GUEST_CS_ACCESS, 0) >> 13 & 1
    if not is_64 or fields.get(GUEST_SS, 0) & 0xFFFC or access & UNUSABLE:
        return None
    fields[GUEST_SS_ACCESS] = access | UNUSABLE
    case = {key: value for key, value in record.items() if key not in ("expect", "trace")}
    return Transformed(vectors.with_fields(header, case, fields))


def fmask_high(header, record):
    """Bits 63:32 of IA32_FMASK may be loaded."""
    if record["kind"] != "entry":
        return None
    fields, words = vectors.fields(header, record), vectors.words(header, record)
    changed = []
    for index in range(min(fields.get(ENTRY_MSR_COUNT, 0), 512)):
        entry = fields.get(ENTRY_MSR_ADDRESS, 0) + 16 * index
        if words.get(entry, 0) == MSR_FMASK and words.get(entry + 8, 0) >> 32:
            words[entry + 8] &= 0xFFFFFFFF
            changed.append(entry + 8)
    return Transformed(put_words(header, record, words), delta=changed) if changed else None


# ---- Corrections ----

def is_table_violation(header, record, answer):
    return (record["kind"] == "access" and answer.get("exit_reason") == 48 and
            vectors.number(answer["qualification"]) & 0x182 == 0x82 and
            vectors.fields(header, record)[EPTP] & EPTP_AD)


def without_bit0(header, record, answer):
    """Only bit 1 is set where an access to a paging structure counts as a write."""
    if is_table_violation(header, record, answer):
        return {**answer, "qualification": hex(vectors.number(answer["qualification"]) & ~1)}
    if record["kind"] != "access" or not converted(answer) or not vectors.fields(header, record)[EPTP] & EPTP_AD:
        return None
    key = hex(vectors.fields(header, record)[VE_ADDRESS] + 8)
    value = vectors.number(answer["memory"].get(key, "0x0"))
    if value & 0x182 != 0x82:
        return None
    return {**answer, "memory": {**answer["memory"], key: hex(value & ~1)}}


def converted(answer):
    """A virtualization exception whose information area is known."""
    return "memory" in answer and (
        answer.get("vector") == 20 or vectors.number(answer.get("intr_info", "0x0")) & 0x7FF == 0x314)


def eptp_index(header, record, answer):
    """The EPTP index is 0 until VMFUNC, and stored as a quadword."""
    if record["kind"] != "access" or not converted(answer):
        return None
    key = hex(vectors.fields(header, record)[VE_ADDRESS] + 32)
    return {**answer, "memory": {**answer["memory"], key: "0x0"}}


def log_low_bits(header, record, answer):
    """The log has the address itself, not that of its page."""
    logged = record.get("trace", {}).get("logged", [])
    if record["kind"] != "access" or not logged or "memory" not in answer:
        return None
    fields = vectors.fields(header, record)
    memory = dict(answer["memory"])
    for offset, address in enumerate(logged):
        memory[hex(fields[PML_ADDRESS] + 8 * (fields.get(PML_INDEX, 0) - offset))] = address
    return {**answer, "memory": memory}


def key_bit(header, record, answer):
    """The protection-key bit says what the key says by the CPL, whatever page it is."""
    if not uses_keys(header, record):
        return None
    name = "error_code" if answer["result"] == "guest_exception" else "intr_error_code"
    if name not in answer or not (answer.get("vector") == 14 or answer.get("intr_info", "").endswith("0e")):
        return None
    code = vectors.number(answer[name])
    if not code & 1 or code & 8 or last_access(record)["type"] == "fetch":
        return None
    last = record["trace"]["guest_entries"][-1]
    denied = last in denied_pages(header, record)
    return {**answer, name: hex(code & ~PF_KEY | (PF_KEY if denied else 0))}


def panic_on_other_event(header, record, answer):
    """An event of type 7 passes the checks where there is no monitor trap flag, and then ends the engine."""
    if record["kind"] != "entry" or answer["result"] != "entered" or has_trap_flag(header):
        return None
    info = vectors.fields(header, record).get(0x4016, 0)
    return {"result": "engine_crash"} if info >> 31 and info >> 8 & 7 == 7 else None


# The payload's watchdog in ticks of the VMX-preemption timer: 65535 of a PIT, at 4,000,000 instructions in a second (engines.py).
WATCHDOG_TICKS = 65535 * 4_000_000 // 1_193_181


def wakes_before_watchdog(header, fields):
    """Something other than an NMI ends the wait of a guest in HLT or shutdown: VMX-preemption timer, NMI window."""
    pin_based, primary = fields.get(templates.PIN_BASED, 0), fields.get(templates.PRIMARY, 0)
    rate = vectors.number(header["cpu"]["msr"]["0x485"]) & 0x1F
    timer = fields.get(PREEMPTION_TIMER, 0) << rate
    if pin_based & ACTIVATE_PREEMPTION_TIMER and timer < WATCHDOG_TICKS:
        return True
    return primary & NMI_WINDOW_EXITING and not fields.get(INTERRUPTIBILITY, 0) & BLOCKING_BY_NMI


def nmi_wakes(header, fields):
    """The watchdog's NMI is what ends the wait."""
    blocked = fields.get(INTERRUPTIBILITY, 0) & BLOCKING_BY_NMI and not fields.get(templates.PIN_BASED, 0) & VIRTUAL_NMIS
    return not blocked and not wakes_before_watchdog(header, fields)


def debug_exception_late(header, record, answer):
    """
    A debug exception that is pending when the guest enters HLT or shutdown does not end the wait. It exits when something else does:
    if that is the watchdog's NMI, the NMI is still pending then, and meets a host without an IDT.
    """
    fields = vectors.fields(header, record)
    pending = fields.get(PENDING_DEBUG, 0)
    due = pending & 0x4000 or (pending & 0x1000 and pending & 0xF)
    if record["kind"] != "entry" or answer["result"] != "entered" or not due:
        return None
    waits = fields.get(ACTIVITY, 0) in (1, 2) and not fields.get(0x4016, 0) >> 31
    exits = fields.get(EXCEPTION_BITMAP, 0) & 2
    return {"result": "engine_reset"} if waits and exits and nmi_wakes(header, fields) else None


# ---- Instructions of a guest ----

RANDOM_SIZE, TABLE_SIZE_32 = 3 << 11, 1 << 11
GENERAL_PROTECTION = "0x80000b0d"


def named(record, *ops):
    """The instruction, if it is one of these and the record has its length."""
    instruction = record.get("instruction", {})
    return instruction if isinstance(instruction, dict) and "length" in instruction and instruction["op"] in ops else None


def is_16bit(record):
    return record["vmcs"][0] in ("real", "v86")


def random_operand_size(header, record, answer):
    """RDRAND, RDSEED: the operand size is that of the code segment, whatever the prefix 66H says."""
    instruction = named(record, "rdrand", "rdseed")
    if instruction is None or "instruction_info" not in answer:
        return None
    size = instruction["operands"]["operand_size"]
    reported = 0 if is_16bit(record) else max(size, 1)
    info = vectors.number(answer["instruction_info"]) & ~RANDOM_SIZE | reported << 11
    return {**answer, "instruction_info": hex(info)}


def table_operand_size(header, record, answer):
    """LGDT, LIDT, SGDT, SIDT: the operand size is always reported as 16 bits."""
    if named(record, "lgdt", "lidt", "sgdt", "sidt") is None or "instruction_info" not in answer:
        return None
    return {**answer, "instruction_info": hex(vectors.number(answer["instruction_info"]) & ~TABLE_SIZE_32)}


def exit_before_privilege(header, record, answer):
    """INVPCID and XSETBV exit at any privilege level."""
    fields = vectors.fields(header, record)
    instruction = named(record, "invpcid", "xsetbv")
    if instruction is None or answer.get("intr_info") != GENERAL_PROTECTION:
        return None
    base = {"result": "exit", "instruction_length": instruction["length"], "qualification": "0x0"}
    if instruction["op"] == "xsetbv":
        return {**base, "exit_reason": 55}
    if not fields.get(PRIMARY, 0) >> 9 & 1 or record["vmcs"][0] == "v86":
        return None
    operands = instruction["operands"]
    mask = (1 << (16 << operands["address_size"])) - 1
    return {**base, "exit_reason": 58, "qualification": hex(vectors.number(operands["displacement"]) & mask),
            "instruction_info": hex(information(operands)), "open": {"instruction_info": hex(undefined(operands)),
                                                                     "qualification": hex(~mask & (1 << 64) - 1)}}


def information(operands):
    """Instruction information of a memory operand with a second register."""
    info = operands["address_size"] << 7 | operands["segment"] << 15 | operands["register2"] << 28
    info |= operands["base"] << 23 if "base" in operands else 1 << 27
    return info | (operands["index"] << 18 | operands["scale"] if "index" in operands else 1 << 22)


def undefined(operands):
    """Bits of it that the manual leaves undefined."""
    return 0x787C | (0 if "base" in operands else 15 << 23) | (0 if "index" in operands else 15 << 18 | 3)


def loads_pdptes(record, fields, answer):
    """Does the engine load PDPTEs where the manual does not?"""
    instruction = named(record, "mov_to_cr", "lmsw")
    if instruction is None or answer["result"] != "complete" or not record["vmcs"][0].startswith("pae"):
        return False
    if instruction.get("register", 0) == 0:
        return True
    return instruction["register"] == 4 and (vectors.number(answer["cr4"]) ^ fields.get(GUEST_CR4, 0)) & CR4_SMAP


def cr_loads_pdptes(header, record, answer):
    """MOV to CR0 and LMSW with PAE paging always load the PDPTEs, MOV to CR4 also for SMAP; where CR3 leads nowhere, that shows."""
    fields = vectors.fields(header, record)
    if record["kind"] != "intercept" or not loads_pdptes(record, fields, answer):
        return None
    table = fields.get(GUEST_CR3, 0) & 0xFFFFFFE0
    if batch.Reach(batch.Layout(header), record, {}, fields).ept(table) is not None:
        return None
    return {"result": "exit", "exit_reason": 48, "qualification": "0x1", "guest_physical": hex(table)}


def real_mode_error_code(header, record, answer):
    """Intercepted exceptions of real-address mode have an error code."""
    if record["kind"] != "intercept" or answer.get("intr_info") != "0x8000030d" or vectors.fields(header, record).get(GUEST_CR0, 0) & 1:
        return None
    return {**answer, "intr_info": GENERAL_PROTECTION, "intr_error_code": "0x0"}


# ---- Events ----

RFLAGS_RF, ENTRY_INFO, GUEST_IDTR_BASE, STACK_FAULT = 1 << 16, 0x4016, 0x6818, "0x80000b0c"


def double_fault_resume_flag(header, record, answer):
    """A double fault that comes up during delivery pushes RFLAGS with RF set."""
    delivered = record.get("trace", {}).get("delivered", {})
    if record["kind"] != "event" or answer["result"] != "delivered" or delivered != {"vector": 8, "nested": True}:
        return None
    place = vectors.number(answer["rsp"]) % 0x1000 + templates.CODE_PAGE + (24 if record["vmcs"][0].startswith("long64") else 12)
    key, memory = hex(place & ~7), dict(answer["memory"])
    if key not in memory:
        return None
    # Unaligned, the flags may be in two words.
    low = vectors.number(memory[key]) | (RFLAGS_RF << 8 * (place & 7)) & (1 << 64) - 1
    memory[key] = hex(low)
    if 8 * (place & 7) + 16 >= 64:
        upper = hex((place & ~7) + 8)
        memory[upper] = hex(vectors.number(memory.get(upper, "0x0")) | RFLAGS_RF >> 64 - 8 * (place & 7))
    return {**answer, "memory": memory}


def switches_stack(header, record, vector):
    """Does the delivery of this vector take the stack pointer out of the TSS?"""
    if record["vmcs"][0] == "long64-user":
        return True
    gate = vectors.fields(header, record).get(GUEST_IDTR_BASE, 0) % 0x1000 + templates.CODE_PAGE + 16 * vector
    return record["vmcs"][0] == "long64" and vectors.words(header, record).get(gate, 0) >> 32 & 7


def stack_fault_selector(header, record, answer):
    """A stack pointer out of the TSS that is not canonical: the error code of #SS has the selector in SS, not a null selector."""
    if record["kind"] != "event":
        return None
    fields, changed = vectors.fields(header, record), dict(answer)
    selector, injected = fields.get(GUEST_SS, 0) & 0xFFFC, fields[ENTRY_INFO]
    # What VM entry injects comes with the error code that the field has. A #SS that is delivered came up with that event.
    on_the_way = vectors.number(answer.get("vectoring_info", "0x0"))
    if answer.get("intr_info") == STACK_FAULT and switches_stack(header, record, on_the_way & 0xFF):
        changed["intr_error_code"] = hex(vectors.number(answer["intr_error_code"]) | selector)
    if not switches_stack(header, record, injected & 0xFF):
        return changed
    if answer.get("vectoring_info") == STACK_FAULT and injected != vectors.number(STACK_FAULT):
        changed["vectoring_error_code"] = hex(vectors.number(answer["vectoring_error_code"]) | selector)
    if record.get("trace", {}).get("delivered", {}) == {"vector": 12, "nested": True}:
        key, memory = hex(templates.CODE_PAGE + vectors.number(answer["rsp"]) % 0x1000), answer["memory"]
        changed["memory"] = {**memory, key: hex(vectors.number(memory.get(key, "0x0")) | selector)}
    return changed


# ---- Rules of VM entry that an engine does not have ----

def entry_without(rules, condition=lambda header, record: True):
    """A function that removes these violated rules where the condition holds."""
    def remove(header, record, violated):
        if not condition(header, record):
            return violated
        return [one for one in violated if one["rule"] not in rules]
    return remove


def has_trap_flag(header):
    """The processor supports the monitor trap flag."""
    return templates.control_limits(header["cpu"], templates.PRIMARY)[1] >> 27 & 1


# Selectors and access rights of ES, DS, FS, GS.
DATA_SEGMENTS = [(0x800, 0x4814), (0x806, 0x481A), (0x808, 0x481C), (0x80A, 0x481E)]
NON_CONFORMING_CODE = 11


def only_code_segments(header, record):
    """The segments whose DPL is less than the RPL are all code segments."""
    fields = vectors.fields(header, record)
    for selector, access in DATA_SEGMENTS:
        rights, rpl = fields.get(access, 0), fields.get(selector, 0) & 3
        if not rights & UNUSABLE and rights & 15 < NON_CONFORMING_CODE and rights >> 5 & 3 < rpl:
            return False
    return True


def smm_outside(header, record, violated):
    """The rule on entry to SMM is checked with the guest state."""
    if vectors.fields(header, record).get(ENTRY_CONTROLS, 0) & 0xC00 != 0x400:
        return violated
    return [{**one, "stage": "guest"} if one["rule"] == "CTL.ENTRY.SMM.OUT" else one for one in violated]


def nmi_by_sti(header, record, violated):
    """An NMI that blocking by STI refuses is reported like any other invalid state."""
    return [{**one, "qualification": "0x0"} if one["rule"] == "INTR.NMI.STI" else one for one in violated]


def cs_by_rpl(header, record, violated):
    """The DPL of CS is compared with the RPL of CS."""
    fields = vectors.fields(header, record)
    access, selector = fields.get(GUEST_CS_ACCESS, 0), fields.get(GUEST_CS, 0)
    kept = [one for one in violated if one["rule"] not in ("SEG.CS.DPL.NONCONF", "SEG.CS.DPL.CONF")]
    kind, dpl, rpl = access & 15, access >> 5 & 3, selector & 3
    if fields.get(0x6820, 0) >> 17 & 1:
        return violated
    if (kind in (9, 11) and dpl != rpl) or (kind in (13, 15) and dpl > rpl):
        kept.append({"rule": "engine", "qualification": "0x0", "stage": "guest"})
    return kept


STAGES = [("ENT.",), ("CTL.", "HOST."), ("GUEST.", "SEG.", "DT.", "RIP.", "RFLAGS.", "SSP.", "ACT.", "INTR.", "PDBG.", "LINK.",
                                       "PDPTE."), ("MSRLD.",)]
STAGE_NAMES = ["basic", "controls", "guest", "msr"]


def stage_of(violation):
    if "stage" in violation:
        return STAGE_NAMES.index(violation["stage"])
    return next(index for index, prefixes in enumerate(STAGES) if violation["rule"].startswith(prefixes))


def entry_answer(violated, entered):
    """What an engine reports that finds any of these, in stages; `entered` if there are none."""
    if not violated:
        return entered
    stage = min(stage_of(one) for one in violated)
    found = []
    for one in violated:
        if stage_of(one) != stage:
            continue
        answer = single_entry_answer(one, stage)
        if answer not in found:
            found.append(answer)
    if stage == 3:
        found.sort(key=lambda answer: vectors.number(answer["qualification"]))
        found = found[:1]
    return found[0] if len(found) == 1 else {"any_of": found}


def single_entry_answer(violation, stage):
    if violation["rule"].startswith(("ENT.NOVMCS", "ENT.SHADOWCUR")):
        return {"result": "vmfail", "kind": "invalid"}
    errors = {"ENT.MOVSS": 26, "ENT.LAUNCH.CLEAR": 4, "ENT.RESUME.LAUNCHED": 5}
    if stage < 2:
        error = errors.get(violation["rule"], 8 if violation["rule"].startswith("HOST.") else 7)
        return {"result": "vmfail", "kind": "valid", "error": error}
    return {"result": "entry_failure", "exit_reason": 33 if stage == 2 else 34, "qualification": violation["qualification"]}


# ---- Sequences ----

INSTRUCTION_LENGTH, VMLAUNCH_LENGTH = 0x440C, 3


def length_after_failure(case, manual, given):
    """
    A VM entry that fails with a VM exit also writes the instruction length: that of VMLAUNCH. Gives the answer with what
    the manual says in place of each value that this predicts, or None.
    """
    written, current, found = set(), None, False  # VMCSs whose field holds the length
    answer = list(given)
    for index, (step, one) in enumerate(zip(case["steps"], given)):
        about_length = vectors.number(step.get("field", "0x0")) == INSTRUCTION_LENGTH
        if step["op"] == "vmptrld" and one["status"] == "ok":
            current = step["address"]
        elif one["status"] == "entry_failure":
            written.add(current)
        elif step["op"] in ("vmlaunch", "vmresume", "vmwrite") and one["status"] == "ok":
            if about_length or step["op"] != "vmwrite":
                written.discard(current)
        elif step["op"] == "vmread" and about_length and current in written and "value" in manual[index]:
            if one.get("value") == hex(VMLAUNCH_LENGTH):
                answer[index], found = {**one, "value": manual[index]["value"]}, True
    return answer if found else None


def short_type(op):
    """Bits 63:32 of the type are ignored."""
    def transform(header, record):
        if record["kind"] != "instructions":
            return None
        steps = [{**step, "type": hex(vectors.number(step["type"]) & 0xFFFFFFFF)} if step["op"] == op else step
                 for step in record["steps"]]
        if steps == record["steps"]:
            return None
        case = {key: value for key, value in record.items() if key not in ("expect", "trace")}
        return Transformed({**case, "steps": steps})
    return transform


BOCHS_TRANSFORMATIONS = [
    ("bochs.entry-null-ss", null_stack),
    ("bochs.launch-shadow-vmcs", shadow_vmcs),
    ("bochs.fmask-high", fmask_high),
    ("bochs.pml-full-always", full_log),
    ("bochs.ept-large-leaf-bit12", large_leaf_bit12),
    ("bochs.guest-ad-ept-write", flag_update_without_write),
    ("bochs.pkru-by-cpl", keys_of_supervisor),
    ("bochs.pkru-by-cpl", keys_of_supervisor_pages),
    ("bochs.invept-type-width", short_type("invept")),
    ("bochs.invvpid-type-width", short_type("invvpid")),
]

BOCHS_CORRECTIONS = [
    ("bochs.guest-pt-write-bit0", without_bit0),
    ("bochs.ve-eptp-index", eptp_index),
    ("bochs.pml-entry-low-bits", log_low_bits),
    ("bochs.pkru-by-cpl", key_bit),
    ("bochs.entry-mtf-panic", panic_on_other_event),
    ("bochs.entry-debug-exception-late", debug_exception_late),
    ("bochs.random-operand-size", random_operand_size),
    ("bochs.table-operand-size", table_operand_size),
    ("bochs.exit-before-privilege", exit_before_privilege),
    ("bochs.cr-loads-pdptes", cr_loads_pdptes),
    ("bochs.real-mode-error-code", real_mode_error_code),
    ("bochs.double-fault-resume-flag", double_fault_resume_flag),
    ("bochs.stack-fault-selector", stack_fault_selector),
]

BOCHS_RULES = [
    ("bochs.entry-nmi-sti", nmi_by_sti),
    ("bochs.entry-rip-width", entry_without({"RIP.LINWIDTH"})),
    ("bochs.entry-to-smm", smm_outside),
    ("bochs.entry-ia32e-without-paging", entry_without({"GUEST.IA32E.PG"})),
    ("bochs.entry-debugctl-reserved", entry_without({"GUEST.DEBUGCTL.RSVD"})),
    ("bochs.entry-pending-debug-bs", entry_without({"PDBG.BS.SET", "PDBG.BS.CLEAR"})),
    ("bochs.entry-pending-debug-high", entry_without(
        {"PDBG.RSVD"}, lambda header, record: not vectors.fields(header, record).get(0x6822, 0) & 0xFFFFAFF0)),
    ("bochs.entry-guest-perf-global-ctrl", entry_without({"GUEST.PGC.RSVD"})),
    ("bochs.entry-host-perf-global-ctrl", entry_without({"HOST.PGC.RSVD"})),
    ("bochs.entry-host-cet-without-wp", entry_without({"HOST.CR4.CET_WP"}, lambda header, record:
     not vectors.fields(header, record).get(EXIT_CONTROLS, 0) & EXIT_LOAD_CET)),
    ("bochs.entry-nmi-virtual-blocking", entry_without({"INTR.VNMI"})),
    ("bochs.entry-hlt-injection", entry_without({"ACT.HLT.INJ"})),
    ("bochs.entry-shutdown-injection", entry_without({"ACT.SHUT.INJ"}, lambda header, record:
     vectors.fields(header, record).get(0x4016, 0) & 0xFF == VECTOR_MC)),
    ("bochs.entry-v86-real", entry_without(
        {"RFLAGS.VM"}, lambda header, record: not vectors.fields(header, record).get(GUEST_CR0, 0) & 1)),
    ("bochs.entry-mtf-injection", entry_without({"CTL.INJ.TYPE", "CTL.INJ.VEC.OTHER"}, lambda header, record:
     vectors.fields(header, record).get(0x4016, 0) >> 8 & 7 == 7 and not has_trap_flag(header))),
    ("bochs.entry-error-code-type", entry_without({"CTL.INJ.EC.NONHW"}, lambda header, record:
     vectors.number(header["cpu"]["msr"]["0x480"]) >> 56 & 1)),
    ("bochs.entry-code-segment-dpl", entry_without({"SEG.DATA.DPL"}, only_code_segments)),
    ("bochs.entry-cs-dpl-rpl", cs_by_rpl),
]


BOCHS_SEQUENCES = [("bochs.entry-failure-length", length_after_failure)]


class Table:
    """All deviations of an engine."""

    def __init__(self, transformations=(), corrections=(), rules=(), sequences=()):
        self.transformations, self.corrections, self.rules = transformations, corrections, rules
        self.sequences = sequences

    def ids(self):
        return {name for name, _ in [*self.transformations, *self.corrections, *self.rules, *self.sequences]}

    def sequence(self, case, manual, given):
        """(ids, the engine's answer without what they predict)."""
        used = set()
        for name, function in self.sequences:
            other = function(case, manual, given)
            if other is not None:
                used.add(name)
                given = other
        return used, given

    def transform(self, header, record):
        """(ids, Transformed) of the first transformation that applies, or None."""
        for name, function in self.transformations:
            other = function(header, record)
            if other:
                return name, other
        return None

    def correct(self, header, record, answer):
        """(ids, answer) after all corrections."""
        used = set()
        for name, function in self.corrections:
            other = function(header, record, answer)
            if other is not None and answers.differences(other, answer, vectors.words(header, record)):
                used.add(name)
            answer = other if other is not None else answer
        return used, answer

    def entry(self, header, record):
        """(ids, answer or None) of a case whose VM entry the model judges by rules."""
        violated = record.get("trace", {}).get("violated", [])
        used = set()
        for name, function in self.rules:
            remaining = function(header, record, violated)
            if remaining != violated:
                used.add(name)
            violated = remaining
        return used, violated


TABLES = {"bochs": Table(BOCHS_TRANSFORMATIONS, BOCHS_CORRECTIONS, BOCHS_RULES, BOCHS_SEQUENCES)}


def table_of(engine):
    return TABLES.get(engine, Table())
