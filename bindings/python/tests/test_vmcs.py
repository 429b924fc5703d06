# SPDX-License-Identifier: Apache-2.0
"""VMCS values, VM-entry checks, profiles, recordings, decoding."""
from __future__ import annotations

import json
import typing

import pytest
from tree import ROOT

from vmxsim import (Cr0, EntryRule, ExitReason, Field, Machine, PrimaryControls, Processor, Profile, Vmcs, check, decode, errors,
                    profile_names, replay)
from vmxsim.enums import CaseKind, CaseVerdict, ControlWord, EntryOutcomeKind, Msr, VmcsFormat
from vmxsim.replaying import trace_case

DATA = ROOT / "tests" / "data" / "check"
VECTORS = ROOT / "tests" / "vectors"


@pytest.mark.parametrize("key", ["COLOUR", 0x6801, -1, 5])
def test_unknown_fields(key: typing.Any) -> None:
    vmcs = Vmcs()
    assert key not in vmcs
    with pytest.raises(KeyError):
        vmcs[key]
    with pytest.raises(KeyError):
        vmcs[key] = 1
    with pytest.raises(KeyError):
        del vmcs[key]


@pytest.mark.parametrize("field, value", [("VPID", 0x10000), ("GUEST_CR0", -1), ("GUEST_CR0", 1 << 64), ("EXIT_REASON", 1 << 32)])
def test_values_that_do_not_fit(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=field):
        Vmcs({field: value})


def test_a_mapping_by_name_encoding_and_attribute() -> None:
    vmcs = Vmcs()
    vmcs["guest_cr0"] = 0x31
    assert vmcs[0x6800] == vmcs[Field.GUEST_CR0] == vmcs.guest.cr0 == 0x31
    assert vmcs.guest.cr0 is not None and isinstance(vmcs.guest.cr0, Cr0) and vmcs.guest.cr0 & Cr0.NE
    vmcs.exit.exit_reason = 7
    vmcs.host.cr3 = 0x1000
    assert len(vmcs) == 206 and list(vmcs)[0] == Field.VPID and vmcs.get("COLOUR") is None
    assert repr(vmcs) == "Vmcs(EXIT_REASON=0x7, GUEST_CR0=0x31, HOST_CR3=0x1000)"
    assert "cr0" in dir(vmcs.guest) and "host" not in dir(vmcs.guest)
    with pytest.raises(AttributeError):
        vmcs.guest.colour = 1
    assert "<td>GUEST_CR0</td>" in vmcs._repr_html_()


def test_copies_and_equality() -> None:
    vmcs = Vmcs({"GUEST_RIP": 5})
    other = vmcs.copy()
    assert other == vmcs and other != {} and Vmcs.from_dict(vmcs.to_dict()) == vmcs
    other["GUEST_RIP"] = 6
    assert vmcs["GUEST_RIP"] == 5
    (difference,) = vmcs.diff(other)
    assert (difference.field, difference.a, difference.b) == (Field.GUEST_RIP, 5, 6)
    assert "GUEST_RIP" in vmcs.explain_diff(other)
    del other["GUEST_RIP"]
    assert other != vmcs and vmcs.diff(other)[0].b is None and len(other) == 205
    with pytest.raises(KeyError):
        other["GUEST_RIP"]
    with pytest.raises(KeyError):
        del other["GUEST_RIP"]
    with pytest.raises(TypeError):
        hash(vmcs)


@pytest.mark.parametrize("profile", profile_names())
def test_rounded_states_enter(profile: str) -> None:
    assert check(Vmcs.valid(profile), profile).enters
    vmcs = Vmcs({field: 0x5a5a5a5a5a5a5a5a & ((1 << (16, 64, 32, 64)[field >> 13]) - 1) for field in Field})
    vmcs.round(profile)
    assert check(vmcs, profile).enters


@pytest.mark.parametrize("count", range(4))
def test_exactly_the_broken_rules_are_found(count: int) -> None:
    for seed in range(50):
        vmcs = Vmcs.valid()
        broken = vmcs.break_rules(count, seed)
        assert len(broken) == count and check(vmcs).rules == set(broken), seed
    with pytest.raises(ValueError):
        Vmcs.valid().break_rules(17, 0)


def test_a_report_says_what_to_change() -> None:
    vmcs = Vmcs.valid()
    vmcs.guest.rflags = 0
    report = check(vmcs)
    (violation,) = report
    assert violation.rule == EntryRule.RFLAGS_RSVD and violation.fields[0] == Field.GUEST_RFLAGS
    violation.apply(vmcs)
    assert check(vmcs).enters
    assert report.outcomes[0].kind == EntryOutcomeKind.FAILURE and report.outcomes[0].number == 33
    assert "RFLAGS.RSVD" in report.explain() and len(report) == 1 and report and not report.enters
    assert json.loads(json.dumps(report.to_dict())) and "<td>RFLAGS.RSVD</td>" in report._repr_html_()


def test_what_is_not_known_is_undecided() -> None:
    vmcs = Vmcs.valid()
    del vmcs["GUEST_CR0"]
    report = check(vmcs)
    assert not report.violations and not report.enters
    assert Field.GUEST_CR0 in {undecided.field for undecided in report.undecided}


def test_a_tpr_threshold_of_zero_needs_no_memory() -> None:
    vmcs = Vmcs({"PRIMARY_PROCESSOR_BASED_CONTROLS": PrimaryControls.USE_TPR_SHADOW})
    vmcs.round()
    assert vmcs.control.primary_processor_based_controls & PrimaryControls.USE_TPR_SHADOW and check(vmcs).enters
    vmcs["TPR_THRESHOLD"] = 1
    assert {undecided.rule for undecided in check(vmcs).undecided} == {EntryRule.CTL_TPR_THRESH_VTPR}


def test_processor_and_memory_count(machine: Machine) -> None:
    assert check(Vmcs.valid(), processor=Processor(cpl=3)).outcomes[0].number == 13
    vmcs = Vmcs.valid()
    vmcs["VM_ENTRY_MSR_LOAD_COUNT"] = 1
    vmcs["VM_ENTRY_MSR_LOAD_ADDRESS"] = 0x1000
    assert check(vmcs).undecided
    machine.memory.write32(0x1000, Msr.FS_BASE)
    report = check(vmcs, machine=machine)
    assert not report.undecided and report.rules == {EntryRule.MSRLD_FSGS}


def test_reading_a_kernel_log() -> None:
    reading = Vmcs.read_file(DATA / "linux-6.log")
    assert reading.format == VmcsFormat.LINUX and 100 < len(reading.vmcs) < 206
    assert reading.vmcs == Vmcs.from_linux((DATA / "linux-6.log").read_text())
    assert reading.vmcs["GUEST_RFLAGS"] == 0 and reading.profile is None
    assert "RFLAGS.RSVD" in {violation.rule.id for violation in check(reading.vmcs)}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_printed_as_a_kernel_does_is_read_again(seed: int) -> None:
    vmcs = Vmcs.valid()
    vmcs.break_rules(3, seed)
    again = Vmcs.from_linux(vmcs.to_linux())
    assert {difference.b for difference in vmcs.diff(again)} == {None}  # fields that a dump does not show
    assert 100 < len(again) < 206
    assert Vmcs.from_linux(again.to_linux()) == again


def test_reading_json() -> None:
    reading = Vmcs.parse(json.dumps({"vmcs": {"GUEST_CR0": "0x31"}, "profile": "skylake"}))
    assert reading.vmcs.to_dict() == {"GUEST_CR0": 0x31} and reading.profile == Profile("skylake")
    assert Vmcs.from_dict({"GUEST_CR0": 0x31}, others_known=False) == reading.vmcs


@pytest.mark.parametrize("text", ["", "{", '{"COLOUR": 1}', "nothing of a VMCS"])
def test_input_that_is_none(text: str) -> None:
    with pytest.raises(errors.BadFormat):
        Vmcs.parse(text)
    with pytest.raises(errors.IoError):
        Vmcs.read_file(DATA / "no-such-file")


def test_profiles() -> None:
    icelake = Profile("icelake")
    assert icelake.cpuid(1)[2] >> 5 & 1 and icelake.has_field(Field.GUEST_CR0)
    again = Profile.from_json(json.dumps(icelake.to_dict()), "again")
    assert again == icelake and again.name == "again" and hash(again) == hash(icelake)
    assert again != Profile("skylake") and repr(again) == "Profile('again')"
    assert again.features == icelake.features and again != 5
    for call in (lambda: icelake.msr(0x12345), lambda: icelake.cpuid(0x12345)):
        with pytest.raises(LookupError):
            call()
    with pytest.raises(errors.BadFormat):
        Profile.from_json("{}")
    with Machine(profile=again) as machine:
        assert machine.profile is again


def test_recordings_agree() -> None:
    path = sorted(VECTORS.glob("access-*.jsonl"))[0]
    result = replay(path)
    assert result.agrees and result.count(CaseVerdict.AGREES) > 10
    case = next(case for case in result.cases if case.verdict == CaseVerdict.AGREES)
    assert case.kind == CaseKind.ACCESS and case.line > 1
    steps = trace_case(path, case.id)
    assert steps and steps[0][2].trail is not None and steps[0][2].explain()
    assert f"<td>{case.id}</td>" in result._repr_html_()
    with pytest.raises(LookupError):
        trace_case(path, "no-such-case")


def test_a_recording_that_is_none(tmp_path: typing.Any) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(errors.BadFormat, match="bad.jsonl"):
        replay(tmp_path / "bad.jsonl")


@pytest.mark.parametrize("decoded, name", [
    (decode.ept_qualification(0x184), "fetch"), (decode.eptp(0x1000), "root table"), (decode.ept_entry(7, 1), "rights"),
    (decode.page_fault_error(2), "W/R"), (decode.controls(ControlWord.PIN, 1), "External-interrupt exiting"),
    (decode.access_rights(0xa09b), "type"), (decode.interruption_info(0x80000b0e), "vector"),
    (decode.exit_qualification(ExitReason.IO_INSTRUCTION, 0x600000), "port"), (decode.exit_reason(0x80000021), "basic"),
    (decode.instruction_info(ExitReason.VMREAD, 0), "register"), (decode.io_qualification(0x600000), "port"), (decode.cr_qualification(3), "control register"),
])
def test_words_are_taken_apart(decoded: decode.Decoded, name: str) -> None:
    assert any(name.lower() in field.name.lower() for field in decoded.fields), [field.name for field in decoded.fields]
    assert str(decoded) == decoded.text and decoded.title in decoded.text
    assert "<table>" in decoded._repr_html_()


def test_a_reserved_bit_is_wrong() -> None:
    decoded = decode.ept_entry(1 << 51 | 7, 1)
    assert not decoded.valid and any(field.wrong for field in decoded.fields)
