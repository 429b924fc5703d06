#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command vmxsim: what it prints, to which stream, and its exit status.

usage: cli_test.py COMMAND [--update]     (--update writes the golden texts instead of comparing)
"""
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import unittest

TESTS = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(TESTS, "golden")
ICELAKE = "vectors/access-icelake.jsonl"
TIGERLAKE = "vectors/access-tigerlake.jsonl"
ENTRY_SKYLAKE = "vectors/entry-skylake.jsonl"
ALL_KINDS = [TIGERLAKE, ENTRY_SKYLAKE, "vectors/instructions-icelake.jsonl",
             "vectors/intercept-icelake.jsonl"]
INTERCEPT = "vectors/intercept-icelake.jsonl"
COMMAND = None
UPDATE = False


def run(*arguments, stdout=subprocess.PIPE, cwd=TESTS):
    environment = dict(os.environ, LC_ALL="C")
    return subprocess.run([COMMAND, *arguments], stdout=stdout, stderr=subprocess.PIPE, cwd=cwd,
                          env=environment, timeout=120, check=False)


def text(result):
    return result.stdout.decode("utf-8")


# name of the golden text, arguments, exit status
GOLDEN_RUNS = [
    ("cli-help", ["--help"], 0),
    ("cli-replay-help", ["replay", "--help"], 0),
    ("cli-walk-help", ["walk", "--help"], 0),
    ("cli-decode-help", ["decode", "--help"], 0),
    ("cli-profiles-help", ["profiles", "--help"], 0),
    ("cli-profile-help", ["profile", "--help"], 0),
    ("cli-check-help", ["check", "--help"], 0),
    ("cli-rules-help", ["rules", "--help"], 0),
    ("cli-diff-help", ["diff", "--help"], 0),
    ("cli-check-valid", ["check", "data/check/valid.json"], 0),
    ("cli-check-mistakes", ["check", "data/check/three-mistakes.json"], 1),
    ("cli-check-json", ["check", "--json", "data/check/three-mistakes.json"], 1),
    ("cli-check-linux-6", ["check", "--profile", "icelake", "data/check/linux-6.log"], 1),
    ("cli-check-linux-6-json", ["check", "--json", "data/check/linux-6.log"], 1),
    ("cli-check-linux-4", ["check", "--format", "linux", "data/check/linux-4.log"], 1),
    ("cli-check-wrapped", ["check", "--profile", "icelake", "data/check/wrapped.log"], 1),
    ("cli-check-vector",
     ["check", "--vector", ENTRY_SKYLAKE, "--case", "entry-0001-intr-rsvd"], 1),
    ("cli-check-vector-json",
     ["check", "--json", "--vector", ENTRY_SKYLAKE, "--case", "entry-0001-intr-rsvd"], 1),
    ("cli-check-vector-access", ["check", "--vector", ICELAKE, "--case", "access-0001-complete"],
     0),
    ("cli-rules", ["rules"], 0),
    ("cli-rules-some", ["rules", "GUEST.CR0", "LINK.ALIGN"], 0),
    ("cli-rules-json", ["rules", "--json", "ENT"], 0),
    ("cli-diff", ["diff", "data/check/valid.json", "data/check/three-mistakes.json"], 1),
    ("cli-diff-json",
     ["diff", "--json", "data/check/linux-4.log", "data/check/three-mistakes.json"], 1),
    ("cli-diff-same", ["diff", "data/check/linux-6.log", "data/check/wrapped.log"], 0),
    ("cli-diff-known", ["diff", "data/check/linux-6.log", "data/check/linux-4.log"], 1),
    ("cli-replay", ["replay", ICELAKE, TIGERLAKE], 0),
    ("cli-replay-json", ["replay", "--json", TIGERLAKE], 0),
    ("cli-replay-kinds", ["replay", *ALL_KINDS], 0),
    ("cli-walk-complete", ["walk", "--vector", ICELAKE, "--case", "access-0001-complete"], 0),
    ("cli-walk-violation", ["walk", "--vector", TIGERLAKE, "--case", "access-0001-violation"], 1),
    ("cli-walk-misconfig", ["walk", "--vector", TIGERLAKE, "--case", "access-0003-misconfig"], 1),
    ("cli-walk-exception",
     ["walk", "--vector", ICELAKE, "--case", "access-0004-guest-exception", "--access", "1"], 1),
    ("cli-walk-json",
     ["walk", "--json", "--vector", TIGERLAKE, "--case", "access-0003-misconfig"], 1),
    ("cli-decode-qualification", ["decode", "qualification", "0x18a"], 0),
    ("cli-decode-qualification-table", ["decode", "qualification", "130"], 0),
    ("cli-decode-qualification-all", ["decode", "qualification", "0xffffffffffffffff"], 1),
    ("cli-decode-qualification-no-linear", ["decode", "qualification", "0x101"], 1),
    ("cli-decode-eptp", ["decode", "eptp", "0x300005e"], 0),
    ("cli-decode-eptp-bad", ["decode", "eptp", "--profile", "icelake", "0xfff0000003000fff"], 1),
    ("cli-decode-eptp-json", ["decode", "eptp", "--json", "0x300001e"], 0),
    ("cli-decode-pte", ["decode", "ept-entry", "0x8000000002002777"], 0),
    ("cli-decode-pde", ["decode", "ept-entry", "--level", "2", "0x2001b7"], 0),
    ("cli-decode-pde-bad",
     ["decode", "ept-entry", "--level", "2", "--profile", "icelake", "0xff000000000010be"], 1),
    ("cli-decode-table", ["decode", "ept-entry", "--level", "4", "0x2107"], 0),
    ("cli-decode-table-bad", ["decode", "ept-entry", "--level", "4", "0x20fa"], 1),
    ("cli-decode-not-present", ["decode", "ept-entry", "--level", "3", "0x8000000000002000"], 0),
    ("cli-decode-page-fault", ["decode", "page-fault", "0x15"], 0),
    ("cli-decode-page-fault-bad", ["decode", "page-fault", "0xffffffff"], 1),
    ("cli-decode-primary", ["decode", "primary", "0x96006172"], 0),
    ("cli-decode-pin-bad", ["decode", "pin", "--profile", "skylake", "0xff"], 1),
    ("cli-decode-entry-bad", ["decode", "entry", "--profile", "icelake", "0x0"], 1),
    ("cli-decode-exit", ["decode", "exit", "0x336ffb"], 0),
    ("cli-decode-secondary", ["decode", "secondary", "--json", "0x82"], 0),
    ("cli-decode-tertiary-bad", ["decode", "tertiary", "0xffffffffffffffff"], 1),
    ("cli-decode-secondary-exit-none",
     ["decode", "secondary-exit", "--profile", "skylake", "0x8"], 1),
    ("cli-decode-code-segment", ["decode", "access-rights", "0xa09b"], 0),
    ("cli-decode-data-segment", ["decode", "access-rights", "0x5f6"], 1),
    ("cli-decode-tss", ["decode", "access-rights", "0x8b"], 0),
    ("cli-decode-gate", ["decode", "access-rights", "0xe"], 1),
    ("cli-decode-unusable", ["decode", "access-rights", "0x1c000"], 0),
    ("cli-decode-interruption", ["decode", "interruption-info", "0x80000b0e"], 0),
    ("cli-decode-interruption-nmi", ["decode", "interruption-info", "0x80000203"], 1),
    ("cli-decode-interruption-vector", ["decode", "interruption-info", "0x80000320"], 1),
    ("cli-decode-interruption-bad", ["decode", "interruption-info", "0xfffff1ff"], 1),
    ("cli-decode-interruption-int", ["decode", "interruption-info", "0x8000040e"], 0),
    ("cli-decode-interruption-none", ["decode", "interruption-info", "0x30e"], 0),
    ("cli-decode-io", ["decode", "io-qualification", "0x3f80049"], 0),
    ("cli-decode-io-bad", ["decode", "io-qualification", "0xfffffffff"], 1),
    ("cli-decode-cr-mov", ["decode", "cr-qualification", "0x104"], 0),
    ("cli-decode-cr-clts", ["decode", "cr-qualification", "0x20"], 0),
    ("cli-decode-cr-lmsw", ["decode", "cr-qualification", "0x10070"], 0),
    ("cli-decode-cr-bad", ["decode", "cr-qualification", "0xffffffff2"], 1),
    ("cli-decode-cr-lmsw-bad", ["decode", "cr-qualification", "0x33"], 1),
    ("cli-decode-info-undefined",
     ["decode", "instruction-info", "--reason", "cpuid", "0xf0000001"], 0),
    ("cli-decode-info-memory-bad",
     ["decode", "instruction-info", "--reason", "vmptrld", "0xffffffff"], 1),
    ("cli-decode-info-string-bad",
     ["decode", "instruction-info", "--reason", "30", "0xffffffff"], 1),
    ("cli-decode-info-random-bad",
     ["decode", "instruction-info", "--reason", "rdrand", "0xffffffff"], 1),
    ("cli-decode-info-string",
     ["decode", "instruction-info", "--reason", "io-instruction", "0x18100"], 0),
    ("cli-decode-info-memory", ["decode", "instruction-info", "--reason", "VMXON", "0x2cd9901"], 0),
    ("cli-decode-info-invept",
     ["decode", "instruction-info", "--reason", "invept", "0x24400100"], 0),
    ("cli-decode-info-lidt",
     ["decode", "instruction-info", "--reason", "gdtr-idtr-access", "0x3a1d8880"], 0),
    ("cli-decode-info-ltr", ["decode", "instruction-info", "--reason", "47", "0x30000418"], 0),
    ("cli-decode-info-str", ["decode", "instruction-info", "--reason", "47", "0x119d0103"], 0),
    ("cli-decode-info-random", ["decode", "instruction-info", "--reason", "tpause", "0x808"], 0),
    ("cli-decode-info-vmread", ["decode", "instruction-info", "--reason", "23", "0x10000418"], 0),
    ("cli-decode-info-vmwrite", ["decode", "instruction-info", "--reason", "25", "0xa2ce8102"], 0),
    ("cli-decode-info-rdmsr",
     ["decode", "instruction-info", "--reason", "rdmsr-immediate", "0x78"], 0),
    ("cli-decode-info-loadiwkey",
     ["decode", "--json", "instruction-info", "--reason", "69", "0x30000010"], 0),
    ("cli-decode-qualification-none-bad",
     ["decode", "qualification", "--reason", "hlt", "0x11"], 1),
    ("cli-decode-qualification-none",
     ["decode", "qualification", "--reason", "ept-misconfiguration", "0"], 0),
    ("cli-decode-qualification-debug-bad",
     ["decode", "qualification", "--reason", "0", "--vector", "1", "0xffffffffffffffff"], 1),
    ("cli-decode-qualification-debug",
     ["decode", "qualification", "--reason", "0", "--vector", "1", "0x1680f"], 0),
    ("cli-decode-qualification-pf",
     ["decode", "qualification", "--reason", "0", "--vector", "14", "0xffff800000001000"], 0),
    ("cli-decode-qualification-gp",
     ["decode", "qualification", "--reason", "0", "--vector", "13", "0x1"], 1),
    ("cli-decode-qualification-sipi",
     ["decode", "qualification", "--reason", "startup-ipi", "0x108"], 1),
    ("cli-decode-qualification-task-bad",
     ["decode", "qualification", "--reason", "task-switch", "0x1ffffffff"], 1),
    ("cli-decode-qualification-task",
     ["decode", "qualification", "--reason", "9", "0x40000028"], 0),
    ("cli-decode-qualification-displacement",
     ["decode", "qualification", "--reason", "vmclear", "0xfffffffffffffff8"], 0),
    ("cli-decode-qualification-dr-bad",
     ["decode", "qualification", "--reason", "mov-dr", "0xffff"], 1),
    ("cli-decode-qualification-dr", ["decode", "qualification", "--reason", "mov-dr", "0x717"], 0),
    ("cli-decode-qualification-io",
     ["decode", "qualification", "--reason", "io-smi", "0x3f80049"], 0),
    ("cli-decode-qualification-cr", ["decode", "qualification", "--reason", "28", "0x104"], 0),
    ("cli-decode-qualification-wrmsrns", ["decode", "qualification", "--reason", "wrmsr", "1"], 0),
    ("cli-decode-qualification-wbinvd",
     ["decode", "qualification", "--reason", "wbinvd", "0x2"], 1),
    ("cli-decode-qualification-entry-bad", ["decode", "qualification", "--reason", "33", "1"], 1),
    ("cli-decode-qualification-entry", ["decode", "qualification", "--reason", "33", "4"], 0),
    ("cli-decode-qualification-entry-msr", ["decode", "qualification", "--reason", "34", "7"], 0),
    ("cli-decode-qualification-mwait", ["decode", "qualification", "--reason", "mwait", "1"], 0),
    ("cli-decode-qualification-apic-bad",
     ["decode", "qualification", "--reason", "apic-access", "0x25300"], 1),
    ("cli-decode-qualification-apic",
     ["decode", "qualification", "--reason", "apic-access", "0x11300"], 0),
    ("cli-decode-qualification-apic-write",
     ["decode", "qualification", "--reason", "apic-write", "0x1300"], 1),
    ("cli-decode-qualification-eoi",
     ["decode", "qualification", "--reason", "virtualized-eoi", "0x31"], 0),
    ("cli-decode-qualification-log-full",
     ["decode", "qualification", "--reason", "62", "0x1001"], 0),
    ("cli-decode-qualification-spp-bad",
     ["decode", "qualification", "--reason", "spp-related", "0x3c00"], 1),
    ("cli-decode-qualification-spp",
     ["decode", "qualification", "--reason", "spp-related", "0x800"], 0),
    ("cli-decode-qualification-timeout",
     ["decode", "qualification", "--reason", "instruction-timeout", "0x1001"], 0),
    ("cli-decode-qualification-msr",
     ["decode", "qualification", "--reason", "wrmsrlist", "0x1c0000080"], 1),
    ("cli-decode-entry-event-bad", ["decode", "entry-interruption-info", "0x80001b0e"], 1),
    ("cli-decode-exit-event-bad", ["decode", "exit-interruption-info", "0x80000480"], 1),
    ("cli-decode-exit-event", ["decode", "exit-interruption-info", "0x80001b0e"], 0),
    ("cli-decode-idt-event", ["decode", "idt-vectoring-info", "0x80001480"], 0),
    ("cli-decode-activity-bad", ["decode", "activity", "4"], 1),
    ("cli-decode-activity", ["decode", "activity", "3"], 0),
    ("cli-decode-interruptibility-bad", ["decode", "interruptibility", "0x23"], 1),
    ("cli-decode-interruptibility", ["decode", "interruptibility", "0x1e"], 0),
    ("cli-decode-interruptibility-none", ["decode", "interruptibility", "0"], 0),
    ("cli-decode-pending-bad", ["decode", "pending-debug", "0xffffffffffffffff"], 1),
    ("cli-decode-pending", ["decode", "pending-debug", "0x5001"], 0),
    ("cli-decode-pending-none", ["decode", "pending-debug", "0"], 0),
    ("cli-decode-vm-functions-bad", ["decode", "vm-functions", "--profile", "skylake", "0x6"], 1),
    ("cli-decode-vm-functions", ["decode", "vm-functions", "0x1"], 0),
    ("cli-decode-exceptions", ["decode", "exception-bitmap", "0x80064042"], 0),
    ("cli-decode-exceptions-none", ["decode", "exception-bitmap", "0"], 0),
    ("cli-decode-exit-reason-bad", ["decode", "exit-reason", "0xffff0030"], 1),
    ("cli-decode-exit-reason", ["decode", "exit-reason", "48"], 0),
    ("cli-decode-exit-reason-entry", ["decode", "exit-reason", "0x80000021"], 0),
    ("cli-decode-exit-reason-json", ["decode", "--json", "exit-reason", "0x80000021"], 0),
    ("cli-decode-exit-reason-unused", ["decode", "exit-reason", "35"], 1),
    ("cli-decode-error", ["decode", "error", "7"], 0),
    ("cli-decode-error-unused", ["decode", "--json", "error", "4294967295"], 1),
    ("cli-profiles", ["profiles"], 0),
    ("cli-profiles-json", ["profiles", "--json"], 0),
    ("cli-profiles-icelake", ["profiles", "icelake"], 0),
]

# arguments, a part of the complaint
USAGE_ERRORS = [
    ([], "no command"),
    (["frobnicate"], "frobnicate"),
    (["replay"], "no file"),
    (["replay", "--frobnicate", ICELAKE], "--frobnicate"),
    (["replay", "-x", ICELAKE], "-x"),
    (["replay", "--tlb", "warm", ICELAKE], "--tlb: \"warm\" is not off, exact or lazy"),
    (["replay", "--tlb", "lazy", "--record", "/dev/null", ICELAKE], "--record needs --tlb off"),
    (["replay", "--json=1", ICELAKE], "--json=1"),
    (["decode"], "needs what"),
    (["decode", "eptp"], "needs what"),
    (["decode", "eptp", "1", "2"], "needs what"),
    (["decode", "cr3", "0x0"], "cr3"),
    (["decode", "eptp", "0x"], "not a 64-bit number"),
    (["decode", "eptp", ""], "not a 64-bit number"),
    (["decode", "eptp", "12z"], "not a 64-bit number"),
    (["decode", "eptp", "0x10000000000000000"], "not a 64-bit number"),
    (["decode", "error", "0x100000000"], "maximum"),
    (["decode", "ept-entry", "--level", "6", "0x0"], "maximum"),
    (["decode", "ept-entry", "--level", "0", "0x0"], "levels are 1 to 5"),
    (["decode", "ept-entry", "--level"], "needs an argument"),
    (["decode", "eptp", "--level", "2", "0x0"], "--level"),
    (["decode", "eptp", "--profile", "no-such-profile", "0x0"], "no-such-profile"),
    (["decode", "ept-entry", "--profile", "no-such-profile", "0x0"], "no-such-profile"),
    (["decode", "eptp", "-1"], "-1"),
    (["decode", "instruction-info", "1"], "needs --reason"),
    (["decode", "instruction-info", "--reason", "35", "1"], "35 is not in use"),
    (["decode", "instruction-info", "--reason", "vmreads", "1"], "vmreads"),
    (["decode", "instruction-info", "--reason", "vmrea", "1"], "vmrea"),
    (["decode", "instruction-info", "--reason", "", "1"], "no exit reason"),
    (["decode", "instruction-info", "--reason", "65536", "1"], "maximum"),
    (["decode", "instruction-info", "--reason", "23", "0x100000000"], "maximum"),
    (["decode", "instruction-info", "--reason", "23", "--vector", "1", "0"], "--vector"),
    (["decode", "qualification", "--reason", "86", "1"], "86 is not in use"),
    (["decode", "qualification", "--reason", "65535", "1"], "65535 is not in use"),
    (["decode", "qualification", "--reason", "0", "1"], "needs --vector"),
    (["decode", "qualification", "--vector", "1", "1"], "needs --vector"),
    (["decode", "qualification", "--reason", "0", "--vector", "256", "1"], "maximum"),
    (["decode", "eptp", "--reason", "0", "0x1e"], "--reason"),
    (["decode", "pin", "--reason", "0", "0x16"], "--reason"),
    (["decode", "vm-functions", "--profile", "no-such-profile", "0x0"], "no-such-profile"),
    (["decode", "activity", "0x100000000"], "maximum"),
    (["decode", "pin", "0x100000000"], "maximum"),
    (["decode", "pin", "--level", "2", "0x0"], "--level"),
    (["decode", "pin", "--profile", "no-such-profile", "0x0"], "no-such-profile"),
    (["check"], "needs a file or --vector"),
    (["check", "a", "b"], "one file"),
    (["check", "--frobnicate"], "--frobnicate"),
    (["check", "--format", "xml", "a"], "xml"),
    (["check", "--format"], "needs an argument"),
    (["check", "--vector", ENTRY_SKYLAKE], "--case"),
    (["check", "--case", "x"], "--vector"),
    (["check", "--vector", ENTRY_SKYLAKE, "--case", "x", "file"], "either"),
    (["check", "--vector", ENTRY_SKYLAKE, "--case", "x", "--profile", "icelake"], "--profile"),
    (["check", "--vector", ENTRY_SKYLAKE, "--case", "nobody"], "nobody"),
    (["check", "--vector", "/nonexistent", "--case", "x"], "/nonexistent"),
    (["check", "--vector", INTERCEPT, "--case", "intercept-0001-rdmsr-exit"],
     "no single VM entry"),
    (["check", "/nonexistent"], "/nonexistent"),
    (["check", "data"], "directory"),
    (["check", "/dev/null"], "no VMCS field"),
    (["check", "--format", "vmcs12", "data/check/linux-4.log"], "is not 0x11e57ed0"),
    (["check", "--format", "json", "data/check/linux-4.log"], "linux-4.log"),
    (["check", "--profile", "no-such-profile", "data/check/valid.json"], "no-such-profile"),
    (["rules", "--frobnicate"], "--frobnicate"),
    (["rules", "GUEST.CR"], "GUEST.CR"),
    (["rules", ""], "no rule"),
    (["diff"], "two files"),
    (["diff", "a", "b", "c"], "two files"),
    (["diff", "--frobnicate"], "--frobnicate"),
    (["diff", "--format", "xml", "a", "b"], "xml"),
    (["diff", "/nonexistent", "data/check/valid.json"], "/nonexistent"),
    (["diff", "data/check/valid.json", "/nonexistent"], "/nonexistent"),
    (["profiles", "--frobnicate"], "--frobnicate"),
    (["profiles", "a", "b"], "one profile"),
    (["profile"], "what to do"),
    (["profile", "icelake"], "what to do"),
    (["profile", "capture", "icelake"], "what to do"),
    (["profile", "capture", "--cpu"], "--cpu"),
    (["profile", "capture", "--cpu", "x"], "\"x\""),
    (["profile", "capture", "--cpu", "1024"], "maximum"),
    (["profiles", "no-such-profile"], "no built-in profile"),
    (["profiles", "vectors"], "vectors"),
    (["walk"], "--vector or --memory"),
    (["walk", "stray"], "stray"),
    (["walk", "--vector", ICELAKE], "--case"),
    (["walk", "--vector", ICELAKE, "--case", "nobody"], "nobody"),
    (["walk", "--vector", ICELAKE, "--case", "access-0001-complete", "--access", "9"], "access 9"),
    (["walk", "--vector", ICELAKE, "--case", "access-0001-complete", "--access", "x"], "\"x\""),
    (["walk", "--vector", "/nonexistent", "--case", "x"], "/nonexistent"),
    (["walk", "--vector", "vectors/entry-skylake.jsonl", "--case", "entry-0001-intr-rsvd"],
     "kind entry has no guest accesses"),
    (["walk", "--vector", ICELAKE, "--case", "access-0006-vmfail"], "its VM entry fails"),
    (["walk", "--vector", ICELAKE, "--case", "x", "--memory", "y"], "either"),
    (["walk", "--vector", ICELAKE, "--case", "access-0001-complete", "--eptp", "3"], "--eptp"),
    (["walk", "--vector", ICELAKE, "--case", "access-0001-complete", "--user"], "--user"),
    (["walk", "--vector", ICELAKE, "--case", "access-0001-complete", "--access", "read"], "--access"),
    (["walk", "--vector", ICELAKE, "--case", "access-0001-complete", "--profile", "skylake"],
     "--profile"),
    (["walk", "--memory", ICELAKE, "--gpa", "0", "--eptp", "0x1e", "--cr3", "0"], "--cr3"),
    (["walk", "--memory", ICELAKE, "--gpa", "0", "--eptp", "0x1e", "--user"], "--user"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--case", "x"], "--case"),
    (["walk", "--memory", "/nonexistent", "--gpa", "0", "--eptp", "0x1e"], "/nonexistent"),
    (["walk", "--memory", "vectors", "--gpa", "0", "--eptp", "0x1e"], "regular file"),
    (["walk", "--memory", "/dev/zero", "--gpa", "0", "--eptp", "0x1e"], "regular file"),
    (["walk", "--memory", "/dev/null@0x1001", "--gpa", "0", "--eptp", "0x1e"], "4096"),
    (["walk", "--memory", "x@0x10000000000000", "--gpa", "0", "--eptp", "0x1e"], "maximum"),
    (["walk", "--memory", ICELAKE + "@0xffffffffff000", "--gpa", "0", "--eptp", "0x1e"],
     "highest physical address"),
    (["walk", "--memory", ICELAKE, "--memory", ICELAKE + "@0x1000", "--gpa", "0", "--eptp", "0x1e"],
     "memory images"),
    (["walk", "--memory", ICELAKE, "--gpa", "0"], "--eptp"),
    (["walk", "--memory", ICELAKE, "--eptp", "0x1e"], "--gpa or --linear"),
    (["walk", "--memory", ICELAKE, "--gpa", "0", "--linear", "0"], "--gpa or --linear"),
    (["walk", "--memory", ICELAKE, "--gpa", "0x10000000000000", "--eptp", "0x1e"], "maximum"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--size", "0"], "--size"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--size", "65"], "--size"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--access", "3"], "--access"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--access-type", "execute"], "execute"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--profile", "none"], "none"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--eptp", "0x0"], "page-walk length"),
    (["walk", "--memory", ICELAKE, "--gpa", "0", "--eptp", "0x101f"], "bits 2:0"),
    (["walk", "--memory", ICELAKE, "--gpa", "0", "--eptp", "0x1026", "--profile", "icelake"],
     "page-walk length"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr4", "0x8000020"], "CR4.LASS"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr0", "0x80000030"], "GUEST.CR0.PG_PE"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr0", "0x31"], "GUEST.IA32E.PG"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr0", "0x100000031"], "GUEST.CR0.FIXED"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr4", "0"], "GUEST.IA32E.PAE"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr4", "0x8000000000000020"], "GUEST.CR4.FIXED"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr4", "0x800020"], "GUEST.CR4.CET_WP"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr4", "0x20020", "--efer", "0"], "GUEST.CR4.PCIDE"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--cr3", "0x8000000000000000"], "GUEST.CR3.WIDTH"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--efer", "0x100"], "GUEST.EFER.LME"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--efer", "0x400"], "GUEST.EFER.LME"),
    (["walk", "--memory", ICELAKE, "--linear", "0", "--efer", "0x502"], "GUEST.EFER.RSVD"),
    (["walk", *["--memory", "x"] * 65, "--gpa", "0", "--eptp", "0x1e"], "more than 64"),
]


class Golden(unittest.TestCase):
    def test_output_and_exit_status(self):
        for name, arguments, status in GOLDEN_RUNS:
            with self.subTest(name):
                result = run(*arguments)
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertEqual(result.stderr, b"")
                self.compare(name, text(result))

    def compare(self, name, got):
        path = os.path.join(GOLDEN, name + ".txt")
        if UPDATE:
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(got)
        with open(path, encoding="utf-8") as stream:
            self.assertMultiLineEqual(stream.read(), got)

    def test_json_is_json(self):
        for name, arguments, status in GOLDEN_RUNS:
            if "--json" in arguments:
                with self.subTest(name):
                    json.loads(text(run(*arguments)))

    def test_version(self):
        result = run("--version")
        self.assertEqual(result.returncode, 0)
        self.assertRegex(text(result), r"\Avmxsim \d+\.\d+\.\d+\n\Z")

    def test_verbose_names_every_case(self):
        result = run("replay", "-v", TIGERLAKE)
        self.assertEqual(result.returncode, 0)
        lines = [line for line in text(result).splitlines() if ": access-" in line]
        self.assertEqual(len(lines), 150)
        self.assertEqual(sum(": agrees" in line for line in lines), 150)


class Complaints(unittest.TestCase):
    def complains(self, result, part):
        self.assertEqual(result.returncode, 2, result)
        self.assertRegex(result.stderr.decode(), r"\Avmxsim: [^\n]+\n\Z")
        self.assertIn(part, result.stderr.decode())

    def test_wrong_usage_is_one_line_and_status_2(self):
        for arguments, part in USAGE_ERRORS:
            with self.subTest(arguments):
                result = run(*arguments)
                self.complains(result, part)
                self.assertEqual(text(result), "")

    def test_files_that_cannot_be_replayed(self):
        with tempfile.TemporaryDirectory() as directory:
            for name, content, part in [
                    ("empty", b"", "empty"),
                    ("zero", b"\0" * 100, "line 1"),
                    ("text", b"hello\nworld\n", "line 1"),
                    ("deep", b"[" * 100000, "line 1"),
                    ("array", b"[]\n", "object"),
                    ("object", b"{}\n", "format"),
                    ("latin1", b"{\"format\": \"\xe9\"}\n", "0xe9")]:
                path = os.path.join(directory, name)
                with open(path, "wb") as stream:
                    stream.write(content)
                with self.subTest(name):
                    self.complains(run("replay", path), part)
            self.complains(run("replay", os.path.join(directory, "none")), "No such file")
            self.complains(run("replay", directory), "directory")

    def test_a_bad_file_does_not_hide_a_good_one(self):
        result = run("replay", "/nonexistent", TIGERLAKE)
        self.complains(result, "/nonexistent")
        self.assertIn(TIGERLAKE + ": access: 150 of 150 cases agree", text(result))
        result = run("replay", "--json", "/nonexistent", TIGERLAKE)
        self.complains(result, "/nonexistent")
        document = json.loads(text(result))
        self.assertIn("/nonexistent", document["files"][0]["error"])
        self.assertEqual(document["total"]["access"]["agree"], 150)

    def test_output_that_is_lost_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        for arguments in (["--help"], ["replay", TIGERLAKE], ["decode", "eptp", "0x1e"],
                          ["profiles", "--json", "icelake"]):
            with self.subTest(arguments), open("/dev/full", "wb") as full:
                self.complains(run(*arguments, stdout=full), "standard output")

    def test_deviations_are_checked_where_they_are_listed(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "vectors.jsonl")
            with open(os.path.join(TESTS, TIGERLAKE), "rb") as original, open(path, "wb") as copy:
                copy.write(original.read())
            # A copy without the list is still compared.
            self.assertEqual(run("replay", path).returncode, 0)
            listed = os.path.join(directory, "deviations.json")
            with open(listed, "w", encoding="utf-8") as stream:
                stream.write("{}")
            self.complains(run("replay", path), "deviations.json beside the file has no entry")
            os.remove(listed)
            os.mkdir(listed)
            self.complains(run("replay", path), "deviations.json: Is a directory")

    def test_ram_that_no_host_has_is_an_error(self):
        with open(os.path.join(TESTS, TIGERLAKE), encoding="utf-8") as stream:
            header = json.loads(stream.readline())
        header["ram"] = [["0x0", "0x10000000000000"]]
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "vectors.jsonl")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(json.dumps(header))
            self.complains(run("replay", path), "vectors.jsonl:1: ram: ")

    def test_an_image_of_terabytes_is_an_error(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "sparse.img")
            with open(path, "wb") as stream:
                stream.truncate(3 << 40)
            self.complains(run("walk", "--memory", path, "--linear", "0"), "sparse.img: ")

    def test_a_name_that_is_no_utf8_does_not_break_json(self):
        result = run("replay", "--json", b"/nonexistent/\xff\xe9")
        self.assertEqual(result.returncode, 2)
        self.assertEqual(json.loads(text(result))["files"][0]["file"], "/nonexistent/??")

    def test_names_from_files_cannot_control_the_terminal(self):
        result = run("replay", "/nonexistent\x1b[2J\n/x")
        self.complains(result, "/nonexistent?[2J?/x")


class Differences(unittest.TestCase):
    """A doctored case is found, shown and changes the exit status."""

    def doctor(self, directory, change, change_cpu=None):
        with open(os.path.join(TESTS, TIGERLAKE), encoding="utf-8") as stream:
            lines = stream.read().splitlines()
        if change_cpu:
            header = json.loads(lines[0])
            change_cpu(header["cpu"])
            lines[0] = json.dumps(header)
        for i, line in enumerate(lines[1:], 1):
            case = json.loads(line)
            if case["id"] == "access-0003-misconfig":
                change(case)
                lines[i] = json.dumps(case)
        path = os.path.join(directory, "doctored.jsonl")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines) + "\n")
        with open(os.path.join(directory, "deviations.json"), "wb") as stream:
            with open(os.path.join(TESTS, "vectors/deviations.json"), "rb") as original:
                stream.write(original.read())
        return path

    def test_a_difference_is_status_1_and_decoded(self):
        def change(case):
            case["expect"]["exit_reason"] = 48
            case["note"] = "bell\a and newline\n"
        with tempfile.TemporaryDirectory() as directory:
            path = self.doctor(directory, change)
            result = run("replay", path)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr, b"")
            self.assertIn("access-0003-misconfig: differs; note: bell? and newline?\n", text(result))
            self.assertIn("    exit_reason: expected 48 (EPT violation), observed 49 "
                          "(EPT misconfiguration)\n", text(result))
            self.assertIn("149 of 150 cases agree, 1 differ, 0 not supported", text(result))
            document = json.loads(text(run("replay", "--json", path)))
            case, = document["files"][0]["cases"]
            self.assertEqual(case["verdict"], "differs")
            self.assertEqual(len(case["reason"]), 1)

    def test_a_typing_error_is_status_2(self):
        def change(case):
            case["expect"]["exit_raison"] = 49
        with tempfile.TemporaryDirectory() as directory:
            result = run("replay", self.doctor(directory, change))
            self.assertEqual(result.returncode, 2)
            self.assertIn(b"doctored.jsonl:", result.stderr)
            self.assertIn(b"expect.exit_raison", result.stderr)

    def test_what_the_model_lacks_is_shown_counted_and_status_1(self):
        def change(case):
            # tertiary controls are activated, and EPT paging-write control is 1
            case["vmcs"][1]["0x4002"] = "0x96026172"
            case["vmcs"][1]["0x2034"] = "0x4"
            case["expect"] = {"result": "complete"}

        def offer(cpu):
            for msr in ("0x482", "0x48e"):
                cpu["msr"][msr] = hex(int(cpu["msr"][msr], 16) | 1 << 49)
            cpu["msr"]["0x492"] = "0x4"
            cpu["vmcs_fields"].append("0x2034")
        with tempfile.TemporaryDirectory() as directory:
            path = self.doctor(directory, change, offer)
            result = run("replay", path)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr, b"")
            self.assertRegex(text(result), "access-0003-misconfig: not supported(; note: [^\\n]*)?\n"
                             "    not modelled: EPT paging-write control\n")
            self.assertIn("149 of 150 cases agree, 0 differ, 1 not supported\n", text(result))
            result = run("replay", "--json", path)
            self.assertEqual(result.returncode, 1)
            document = json.loads(text(result))
            self.assertEqual(document["total"]["access"]["unsupported"], 1)
            case, = document["files"][0]["cases"]
            self.assertEqual(case["verdict"], "not supported")
            self.assertEqual(case["reason"], ["not modelled: EPT paging-write control"])

    def test_hazards_are_shown_and_are_no_difference(self):
        path = "vectors/instructions-icelake.jsonl"
        self.assertNotIn("hazard:", text(run("replay", path)))
        result = run("replay", "-v", path)
        self.assertEqual(result.returncode, 0)
        self.assertIn(": seq-0002: agrees\n    hazard:  VMCS at 0x3202000 of processor 0\n"
                      "    rule:    HAZARD.VMCS.VMXOFF: ", text(result))
        cases = json.loads(text(run("replay", "-v", "--json", path)))["files"][0]["cases"]
        self.assertNotIn("hazards", cases[0])
        self.assertEqual(cases[1]["hazard_count"], 1)
        self.assertEqual(cases[1]["hazards"][0]["rule"]["id"], "HAZARD.VMCS.VMXOFF")

    def test_a_file_without_cases_shows_nothing(self):
        with open(os.path.join(TESTS, TIGERLAKE), encoding="utf-8") as stream:
            header = stream.readline()
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "header.jsonl")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(header)
            result = run("replay", path)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(text(result), path + ": no cases\n")
            result = run("replay", os.path.join(TESTS, ICELAKE), path)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(run("replay", "--json", path).returncode, 1)


class Progress(unittest.TestCase):
    def test_a_terminal_sees_progress_on_large_files_and_none_is_left(self):
        with open(os.path.join(TESTS, ICELAKE), encoding="utf-8") as stream:
            lines = stream.read().splitlines()
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "large.jsonl")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(lines[0] + "\n")
                for i in range(1001):
                    case = dict(json.loads(lines[1]), id=str(i))
                    stream.write(json.dumps(case) + "\n")
            ours, theirs = pty.openpty()
            with open(ours, "rb", buffering=0) as terminal:
                with open(theirs, "wb", buffering=0) as stderr:
                    result = subprocess.run([COMMAND, "replay", path], stdout=subprocess.PIPE,
                                            stderr=stderr, timeout=120, check=False)
                    shown = terminal.read(4096)
                    # What the terminal passes on may come in several pieces.
                    while select.select([terminal], [], [], 1)[0]:
                        shown += terminal.read(4096)
            shown = shown.decode()
        self.assertEqual(result.returncode, 0)
        self.assertIn("1001 of 1001 cases agree", text(result))
        self.assertEqual(shown, "\rvmxsim: %s: 1000 cases\r\033[K" % path)


def image(words, size=0x6000):
    data = bytearray(size)
    for address, value in words.items():
        struct.pack_into("<Q", data, address, value)
    return bytes(data)


class MemoryImages(unittest.TestCase):
    """EPT: PML4 at 1000H, PDPT at 2000H, one GByte. Guest tables at 3000H: PML4, PDPT at 4000H."""

    WORDS = {0x1000: 0x2007, 0x2000: 0xb7, 0x3000: 0x4027, 0x4000: 0xe7, 0x5000: 0x1122334455667788}

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, "image")
        self.write(self.WORDS)

    def tearDown(self):
        self.directory.cleanup()

    def write(self, words):
        with open(self.path, "wb") as stream:
            stream.write(image(words))

    def walk(self, *arguments):
        result = run("walk", "--memory", self.path, "--json", *arguments)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        document = json.loads(text(result))
        self.assertEqual(len(document), 1)
        complete = document[0]["outcome"]["result"] == "complete"
        self.assertEqual(result.returncode, 0 if complete else 1)
        return document[0]

    def test_ept_alone(self):
        walked = self.walk("--eptp", "0x101e", "--gpa", "0x5008")
        self.assertEqual(walked["outcome"]["pages"][0]["hpa"], "0x5008")
        self.assertEqual([step["entry"] for step in walked["trail"]], ["EPT PML4E", "EPT PDPTE"])
        self.assertNotIn("access", walked)

    def test_ept_denies_what_the_entries_deny(self):
        self.write({**self.WORDS, 0x2000: 0xb5})
        for kind, qualification in (("write", "0x2a"), ("rmw", "0x2b")):
            walked = self.walk("--eptp", "0x101e", "--gpa", "0x5008", "--access", kind)
            self.assertEqual(walked["outcome"]["exit_reason"], 48)
            self.assertEqual(walked["outcome"]["qualification"], qualification)
        for kind in ("read", "fetch"):
            walked = self.walk("--eptp", "0x101e", "--gpa", "0x5008", "--access-type", kind)
            self.assertEqual(walked["outcome"]["result"], "complete")

    def test_guest_paging_without_ept(self):
        walked = self.walk("--linear", "0x5000", "--cr3", "0x3000", "--size", "8")
        self.assertEqual(walked["outcome"]["value"], "0x1122334455667788")
        self.assertEqual([step["entry"] for step in walked["trail"]], ["PML4E", "PDPTE"])

    def test_guest_paging_on_ept(self):
        walked = self.walk("--linear", "0x5000", "--cr3", "0x3000", "--eptp", "0x101e", "--user",
                           "--access", "write", "--size", "2", "--value", "0xbeef")
        self.assertEqual(walked["outcome"]["result"], "complete")
        self.assertEqual(len(walked["trail"]), 2 + 3 * 2)

    def test_a_user_access_to_a_supervisor_page_faults(self):
        self.write({**self.WORDS, 0x4000: 0xe3})
        walked = self.walk("--linear", "0x5000", "--cr3", "0x3000", "--user")
        self.assertEqual(walked["outcome"]["result"], "guest_exception")
        self.assertEqual(walked["outcome"]["error_code"], "0x5")
        self.assertEqual(walked["outcome"]["rule"]["id"], "PG.USER")

    def test_no_paging_at_all(self):
        walked = self.walk("--linear", "0x5001", "--cr0", "0x31", "--efer", "0", "--cr4", "0")
        self.assertEqual(walked["outcome"]["value"], "0x77")
        self.assertEqual(walked["trail"], [])

    def test_pae_reads_its_pdptes_through_ept(self):
        # PDPTEs at 3000H, page directory at 4000H that maps 2 MBytes
        self.write({**self.WORDS, 0x3000: 0x4001, 0x4000: 0xe7})
        walked = self.walk("--linear", "0x5000", "--cr3", "0x3000", "--efer", "0", "--eptp", "0x101e")
        self.assertEqual(walked["outcome"]["value"], "0x88")
        self.assertTrue(walked["trail"][0]["register"])
        self.write({**self.WORDS, 0x2000: 0})
        walked = self.walk("--linear", "0x5000", "--cr3", "0x3000", "--efer", "0", "--eptp", "0x101e")
        self.assertEqual(walked["outcome"]["exit_reason"], 48)
        self.assertNotIn("guest_linear", walked["outcome"])

    def test_32_bit_paging(self):
        self.write({0x3000: 0x40e7, 0x5000: 0x99})
        # bit 7 with CR4.PSE: 4 MBytes; bits 20:13 would be the address above 4 GBytes
        self.write({0x3000: 0xe7, 0x5000: 0x99})
        walked = self.walk("--linear", "0x5000", "--cr3", "0x3000", "--efer", "0", "--cr4", "0x10")
        self.assertEqual(walked["outcome"]["value"], "0x99")
        self.assertEqual(walked["outcome"]["pages"][0]["guest_page_size"], "0x400000")

    def test_images_lie_where_they_are_put(self):
        other = os.path.join(self.directory.name, "a@b")
        with open(other, "wb") as stream:
            stream.write(b"\x42" * 10)
        walked = self.walk("--memory", other + "@0x100000", "--linear", "0x100009", "--cr0", "0x31",
                           "--efer", "0", "--cr4", "0")
        self.assertEqual(walked["outcome"]["value"], "0x42")
        result = run("walk", "--memory", other, "--linear", "0", "--cr0", "0x31", "--efer", "0")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_protection_keys(self):
        self.write({**self.WORDS, 0x4000: 0xe7 | 3 << 59})
        arguments = ["--linear", "0x5000", "--cr3", "0x3000", "--cr4", "0x400020", "--user"]
        self.assertEqual(self.walk(*arguments)["outcome"]["result"], "complete")
        walked = self.walk(*arguments, "--pkru", "0x40")
        self.assertEqual(walked["outcome"]["rule"]["id"], "PG.PK")


class Check(unittest.TestCase):
    MISTAKES = ["GUEST.IA32E.PAE", "HOST.HAS1.RIP", "RFLAGS.RSVD"]

    def check(self, *arguments, stdin=None):
        result = subprocess.run([COMMAND, "check", "--json", *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, cwd=TESTS, timeout=120, check=False,
                                input=stdin)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        document = json.loads(text(result))
        self.assertEqual(result.returncode, 1 if document["violations"] else 0)
        return document

    def rules(self, document):
        return sorted(violation["rule"] for violation in document["violations"])

    def test_three_planted_mistakes_are_exactly_three(self):
        document = self.check("data/check/three-mistakes.json")
        self.assertEqual(self.rules(document), self.MISTAKES)
        self.assertEqual(document["undecided"], [])
        for log in ("data/check/linux-6.log", "data/check/wrapped.log"):
            document = self.check("--profile", "icelake", log)
            self.assertEqual(self.rules(document), self.MISTAKES)
            self.assertNotEqual(document["undecided"], [])

    def test_every_suggested_change_repairs_its_rule(self):
        with open(os.path.join(TESTS, "data/check/three-mistakes.json"), encoding="utf-8") as stream:
            source = json.load(stream)
        for violation in self.check("data/check/three-mistakes.json")["violations"]:
            for change in violation["changes"]:
                source["vmcs"][change["field"]] = change["value"]
        document = self.check("-", stdin=json.dumps(source).encode())
        self.assertEqual(document["violations"], [])

    def test_one_mistake_at_a_time(self):
        with open(os.path.join(TESTS, "data/check/valid.json"), encoding="utf-8") as stream:
            valid = json.load(stream)
        for field, value, rule in (("GUEST_CR3", "0xfff0000000000000", "GUEST.CR3.WIDTH"),
                                   ("VMCS_LINK_POINTER", "0x1", "LINK.ALIGN"),
                                   ("GUEST_ACTIVITY_STATE", 4, "ACT.RANGE"),
                                   ("HOST_TR_SELECTOR", 0, "HOST.SEL.TR.NULL")):
            with self.subTest(rule):
                vmcs = dict(valid["vmcs"], **{field: value})
                document = self.check("-", stdin=json.dumps(dict(valid, vmcs=vmcs)).encode())
                self.assertIn(rule, self.rules(document))

    def test_a_field_that_is_not_known_leaves_its_rules_open(self):
        with open(os.path.join(TESTS, "data/check/valid.json"), encoding="utf-8") as stream:
            valid = json.load(stream)
        valid["vmcs"]["GUEST_RFLAGS"] = None
        document = self.check("-", stdin=json.dumps(valid).encode())
        self.assertEqual(document["violations"], [])
        self.assertIn({"rule": "RFLAGS.RSVD", "field": "GUEST_RFLAGS"}, document["undecided"])
        self.assertEqual(document["undecided_before_outcome"], len(document["undecided"]))

    def test_the_processor_decides_what_comes_first(self):
        with open(os.path.join(TESTS, "data/check/valid.json"), encoding="utf-8") as stream:
            valid = json.load(stream)
        for processor, result, meaning in (
                ({"in_vmx": False}, "exception", "exception #UD"),
                ({"in_non_root": True}, "exit", "VM exit, reason 20 (VMLAUNCH)"),
                ({"cpl": 3}, "exception", "exception #GP with error code 0"),
                ({"has_current": False}, "vmfail_invalid", "VMfailInvalid"),
                ({"launched": True}, "vmfail_valid", "VMfailValid(4)"),
                ({"vmresume": True}, "vmfail_valid", "VMfailValid(5)"),
                ({"blocking_by_mov_ss": True}, "vmfail_valid", "VMfailValid(26)")):
            with self.subTest(processor):
                changed = dict(valid, processor=dict(valid["processor"], **processor))
                outcome = self.check("-", stdin=json.dumps(changed).encode())["outcomes"][0]
                self.assertEqual(outcome["result"], result)
                self.assertTrue(outcome["meaning"].startswith(meaning), outcome)
                shown = subprocess.run([COMMAND, "check", "-"], stdout=subprocess.PIPE, check=False,
                                       input=json.dumps(changed).encode(), timeout=120)
                self.assertIn("reports: " + meaning, text(shown))
                self.assertIn("no field can satisfy", text(shown))

    def test_an_exit_qualification_is_said(self):
        with open(os.path.join(TESTS, "data/check/valid.json"), encoding="utf-8") as stream:
            valid = json.load(stream)
        valid["vmcs"].update({"VMCS_LINK_POINTER": "0x1", "GUEST_RFLAGS": "0x0"})
        document = self.check("-", stdin=json.dumps(valid).encode())
        self.assertEqual(sorted(outcome["qualification"] for outcome in document["outcomes"]),
                         ["0x0", "0x4"])
        shown = subprocess.run([COMMAND, "check", "-"], stdout=subprocess.PIPE, check=False,
                               input=json.dumps(valid).encode(), timeout=120)
        self.assertIn("one of these, depending on the order of its checks:\n", text(shown))
        self.assertIn("alone, it leads to qualification 0x4\n", text(shown))

    def test_what_a_file_says_cannot_control_the_terminal(self):
        log = b"CR3 = 0x0000000000001000\nDR7 = \x1b[2J\n\x1b[31m = 1\nEFER= 0x0000000000000500\n"
        shown = subprocess.run([COMMAND, "check", "-"], stdout=subprocess.PIPE, check=False,
                               input=log, timeout=120)
        self.assertNotIn(b"\x1b", shown.stdout)

    def test_nested_state(self):
        state = bytearray(128 + 4096)
        struct.pack_into("<HHIQQ", state, 0, 1, 0, len(state), 0x3000, 0x4000)
        struct.pack_into("<I", state, 128, 0x11e57ed0)
        document = self.check("-", stdin=bytes(state))
        self.assertEqual(document["input"]["format"], "vmcs12")
        self.assertIn("CTL.PIN.RSVD", self.rules(document))
        struct.pack_into("<I", state, 128, 0x11e57ed1)
        result = subprocess.run([COMMAND, "check", "-"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, input=bytes(state), check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"no field of such a vmcs12 is known", result.stderr)

    def test_every_recorded_entry_is_explained(self):
        with open(os.path.join(TESTS, ENTRY_SKYLAKE), encoding="utf-8") as stream:
            cases = [json.loads(line) for line in stream.read().splitlines()[1:]]
        for case in cases[:40]:
            verdict = case.get("sdm", case["expect"])
            document = self.check("--vector", ENTRY_SKYLAKE, "--case", case["id"])
            answers = verdict.get("any_of", [verdict])
            with self.subTest(case["id"]):
                self.assertEqual(all(a["result"] == "entered" for a in answers),
                                 not document["violations"])


class Profiles(unittest.TestCase):
    def test_a_vector_file_is_a_profile(self):
        named = json.loads(text(run("profiles", "--json", "tigerlake")))
        loaded = json.loads(text(run("profiles", "--json", TIGERLAKE)))
        self.assertEqual(named, loaded)


CAPTURES = sys.platform == "linux" and os.uname().machine == "x86_64"


class Capture(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def fake(self, msrs, number=0):
        """A stand-in for the MSR device of a processor."""
        path = os.path.join(self.directory, str(number), "msr")
        os.makedirs(path)
        for index, value in msrs.items():
            with open(os.path.join(path, index[2:]), "wb") as stream:
                stream.write(struct.pack("<Q", int(value, 16)))
        return path

    def capture(self, *arguments):
        return run("profile", "capture", "--msr-dir", self.directory, *arguments)

    def refused(self, result, part):
        self.assertEqual(result.returncode, 2, result)
        self.assertEqual(text(result), "")
        self.assertRegex(result.stderr.decode(), r"\Avmxsim: [^\n]+\n\Z")
        self.assertIn(part if CAPTURES else "x86-64", result.stderr.decode())

    def test_what_cannot_be_captured_is_one_line(self):
        self.refused(self.capture(), "modprobe msr")
        self.fake({"0x482": "0x1"})
        self.refused(self.capture(), "MSR 480H")
        self.fake({"0x480": "0x1"}, 3)
        self.refused(self.capture("--cpu", "4"), "4/msr")
        os.truncate(os.path.join(self.directory, "3", "msr", "480"), 7)
        self.refused(self.capture("--cpu", "3"), "MSR 480H")
        self.refused(run("profile", "capture", "--msr-dir", "d" * 300), "too long")

    @unittest.skipUnless(CAPTURES, "captures on Linux on x86-64 only")
    def test_a_regular_file_is_read_at_the_index(self):
        path = os.path.join(self.directory, "0")
        os.makedirs(path)
        with open(os.path.join(path, "msr"), "wb") as stream:
            stream.write(bytes(0x480) + struct.pack("<Q", 0x00d8100000000004))
        result = self.capture()
        self.assertEqual(result.returncode, 0, result)
        self.assertEqual(json.loads(text(result))["msr"]["0x480"], "0xd8100000000004")

    @unittest.skipUnless(CAPTURES, "captures on Linux on x86-64 only")
    def test_captured_msrs_make_a_profile(self):
        for number, name in enumerate(("skylake", "icelake", "tigerlake", "everything")):
            with self.subTest(name):
                known = json.loads(text(run("profiles", "--json", name)))
                self.fake(known["msr"], number)
                result = self.capture("--cpu", str(number))
                self.assertEqual(result.returncode, 0, result)
                self.assertIn("vmcs_fields is derived", result.stderr.decode())
                captured = json.loads(text(result))
                listed = dict.fromkeys(captured["msr"])
                self.assertEqual(captured["msr"], {i: known["msr"][i] for i in listed})
                self.assertLessEqual({f"0x{i:x}" for i in range(0x480, 0x492)}, set(listed))
                self.assertEqual(set(captured["vmcs_fields"]) ^ set(known["vmcs_fields"]),
                                 FIELDS_NOT_TOLD.get(name, set()))
                path = os.path.join(self.directory, name + ".json")
                with open(path, "wb") as stream:
                    stream.write(result.stdout)
                loaded = run("profiles", "--json", path)
                self.assertEqual(loaded.returncode, 0, loaded)
                self.assertEqual(json.loads(text(loaded)), captured)

    def test_this_machine_is_captured_or_says_why_not(self):
        result = run("profile", "capture")
        if result.returncode == 0:
            self.assertIn("0x480", json.loads(text(result))["msr"])
            return
        self.assertEqual(text(result), "")
        self.assertRegex(result.stderr.decode(),
                         r"\Avmxsim: .*(VT-x|/msr: |cannot run on|x86-64).*\n\Z")


# Fields of a built-in profile that differ from what its capability MSRs tell. SEAM has no capability MSR.
FIELDS_NOT_TOLD = {"everything": {"0x203c", "0x4026"}}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    UPDATE = "--update" in arguments
    COMMAND = os.path.abspath(arguments[0])
    unittest.main(argv=sys.argv[:1], verbosity=1)
