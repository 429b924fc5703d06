/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel logs: dumps of random VMCSs are printed here as kernels print them, in each layout, behind each kind of
 * prefix, wrapped and cut, and must come back as they were, or not at all.
 */
#include "vmxsim/vmcs_read.h"

#include "internal/writer.h"
#include "support/rng.h"
#include "support/suite.h"

#include <check.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V(name) VMXSIM_VMCS(vmcs, name)
#define F(name) VMXC_VMCS_ORDINAL_##name

enum layout { LAYOUT_4, LAYOUT_5, LAYOUT_6, LAYOUT_CET, LAYOUT_COUNT };

static const char *const prefixes[] = {
    "",
    "[  673.850218] ",
    "[  673.850218] kvm_intel: ",
    "Sep  8 22:52:20 xubuntu2004 kernel: [10639.238026] ",
    "Nov 21 10:00:00 host kernel: kvm_intel: ",
    "<3>[   12.000001] kvm_intel: ",
    "> > [   12.000001] ",
    "2023-05-01T10:00:00.123456+0200 node-3 kernel: ",
};

/* A line of the log. */
struct printer {
    struct vmxsim_text text;
    const char *prefix;
};

static void line(struct printer *printer, const char *format, ...) VMXC_PRINTF(2, 3);

static void line(struct printer *printer, const char *format, ...)
{
    char content[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(content, sizeof content, format, arguments);
    va_end(arguments);
    vmxsim_text_add(&printer->text, "%s%s\n", printer->prefix, content);
}

/* ---- What kernels print ---- */

#define SEGMENT(name, label)                                                              \
    line(printer, "%s sel=0x%04x, attr=0x%05x, limit=0x%08x, base=0x%016" PRIx64, label,  \
         (unsigned)V(GUEST_##name##_SELECTOR), (unsigned)V(GUEST_##name##_ACCESS_RIGHTS), \
         (unsigned)V(GUEST_##name##_LIMIT), V(GUEST_##name##_BASE))
#define TABLE(name)                                                                     \
    line(printer, #name ":                           limit=0x%08x, base=0x%016" PRIx64, \
         (unsigned)V(GUEST_##name##_LIMIT), V(GUEST_##name##_BASE))

static void print_guest_registers(struct printer *printer, const struct vmxsim_vmcs *vmcs,
                                  enum layout layout)
{
    line(printer, "CR0: actual=0x%016" PRIx64 ", shadow=0x%016" PRIx64 ", gh_mask=%016" PRIx64,
         V(GUEST_CR0), V(CR0_READ_SHADOW), V(CR0_GUEST_HOST_MASK));
    line(printer, "CR4: actual=0x%016" PRIx64 ", shadow=0x%016" PRIx64 ", gh_mask=%016" PRIx64,
         V(GUEST_CR4), V(CR4_READ_SHADOW), V(CR4_GUEST_HOST_MASK));
    line(printer, "CR3 = 0x%016" PRIx64, V(GUEST_CR3));
    if (layout >= LAYOUT_5) {
        line(printer, "PDPTR0 = 0x%016" PRIx64 "  PDPTR1 = 0x%016" PRIx64, V(GUEST_PDPTE0),
             V(GUEST_PDPTE1));
        line(printer, "PDPTR2 = 0x%016" PRIx64 "  PDPTR3 = 0x%016" PRIx64, V(GUEST_PDPTE2),
             V(GUEST_PDPTE3));
    }
    line(printer, "RSP = 0x%016" PRIx64 "  RIP = 0x%016" PRIx64, V(GUEST_RSP), V(GUEST_RIP));
    line(printer, "RFLAGS=0x%08" PRIx64 "         DR7 = 0x%016" PRIx64, V(GUEST_RFLAGS),
         V(GUEST_DR7));
    line(printer, "Sysenter RSP=%016" PRIx64 " CS:RIP=%04x:%016" PRIx64, V(GUEST_SYSENTER_ESP),
         (unsigned)V(GUEST_SYSENTER_CS), V(GUEST_SYSENTER_EIP));
    SEGMENT(CS, "CS:  ");
    SEGMENT(DS, "DS:  ");
    SEGMENT(SS, "SS:  ");
    SEGMENT(ES, "ES:  ");
    SEGMENT(FS, "FS:  ");
    SEGMENT(GS, "GS:  ");
    TABLE(GDTR);
    SEGMENT(LDTR, "LDTR:");
    TABLE(IDTR);
    SEGMENT(TR, "TR:  ");
}

static void print_guest(struct printer *printer, const struct vmxsim_vmcs *vmcs, enum layout layout)
{
    if (layout >= LAYOUT_6)
        line(printer, "VMCS 00000000f971be22, last attempted VM-entry on CPU 3");
    line(printer, "*** Guest State ***");
    print_guest_registers(printer, vmcs, layout);
    if (layout == LAYOUT_4) {
        line(printer, "EFER =     0x%016" PRIx64 "  PAT = 0x%016" PRIx64, V(GUEST_IA32_EFER),
             V(GUEST_IA32_PAT));
    } else {
        line(printer, "EFER= 0x%016" PRIx64, V(GUEST_IA32_EFER));
        line(printer, "PAT = 0x%016" PRIx64, V(GUEST_IA32_PAT));
    }
    line(printer, "DebugCtl = 0x%016" PRIx64 "  DebugExceptions = 0x%016" PRIx64,
         V(GUEST_IA32_DEBUGCTL), V(GUEST_PENDING_DEBUG_EXCEPTIONS));
    line(printer, "PerfGlobCtl = 0x%016" PRIx64, V(GUEST_IA32_PERF_GLOBAL_CTRL));
    line(printer, "BndCfgS = 0x%016" PRIx64, V(GUEST_IA32_BNDCFGS));
    line(printer, "Interruptibility = %08x  ActivityState = %08x",
         (unsigned)V(GUEST_INTERRUPTIBILITY_STATE), (unsigned)V(GUEST_ACTIVITY_STATE));
    line(printer, "InterruptStatus = %04x", (unsigned)V(GUEST_INTERRUPT_STATUS));
    if (layout >= LAYOUT_6) {
        line(printer, "MSR guest autoload:");
        line(printer, "   0: msr=0x00000600 value=0x0123456789abcdef");
    }
    if (layout == LAYOUT_CET)
        line(printer, "S_CET = 0x%016" PRIx64 ", SSP = 0x%016" PRIx64 ", SSP TABLE = 0x%016" PRIx64,
             V(GUEST_S_CET), V(GUEST_SSP), V(GUEST_INTERRUPT_SSP_TABLE));
}

static void print_host(struct printer *printer, const struct vmxsim_vmcs *vmcs, enum layout layout)
{
    line(printer, "*** Host State ***");
    line(printer, "RIP = 0x%016" PRIx64 "  RSP = 0x%016" PRIx64, V(HOST_RIP), V(HOST_RSP));
    line(printer, "CS=%04x SS=%04x DS=%04x ES=%04x FS=%04x GS=%04x TR=%04x",
         (unsigned)V(HOST_CS_SELECTOR), (unsigned)V(HOST_SS_SELECTOR),
         (unsigned)V(HOST_DS_SELECTOR), (unsigned)V(HOST_ES_SELECTOR),
         (unsigned)V(HOST_FS_SELECTOR), (unsigned)V(HOST_GS_SELECTOR),
         (unsigned)V(HOST_TR_SELECTOR));
    line(printer, "FSBase=%016" PRIx64 " GSBase=%016" PRIx64 " TRBase=%016" PRIx64, V(HOST_FS_BASE),
         V(HOST_GS_BASE), V(HOST_TR_BASE));
    line(printer, "GDTBase=%016" PRIx64 " IDTBase=%016" PRIx64, V(HOST_GDTR_BASE),
         V(HOST_IDTR_BASE));
    line(printer, "CR0=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%016" PRIx64, V(HOST_CR0), V(HOST_CR3),
         V(HOST_CR4));
    line(printer, "Sysenter RSP=%016" PRIx64 " CS:RIP=%04x:%016" PRIx64, V(HOST_SYSENTER_ESP),
         (unsigned)V(HOST_SYSENTER_CS), V(HOST_SYSENTER_EIP));
    if (layout == LAYOUT_4)
        line(printer, "EFER = 0x%016" PRIx64 "  PAT = 0x%016" PRIx64, V(HOST_IA32_EFER),
             V(HOST_IA32_PAT));
    else
        line(printer, "EFER= 0x%016" PRIx64, V(HOST_IA32_EFER));
    line(printer, "PerfGlobCtl = 0x%016" PRIx64, V(HOST_IA32_PERF_GLOBAL_CTRL));
    if (layout == LAYOUT_CET)
        line(printer, "S_CET = 0x%016" PRIx64 ", SSP = 0x%016" PRIx64 ", SSP TABLE = 0x%016" PRIx64,
             V(HOST_S_CET), V(HOST_SSP), V(HOST_INTERRUPT_SSP_TABLE));
}

static void print_control_words(struct printer *printer, const struct vmxsim_vmcs *vmcs,
                                enum layout layout)
{
    const unsigned pin = (unsigned)V(PIN_BASED_CONTROLS);
    const unsigned primary = (unsigned)V(PRIMARY_PROCESSOR_BASED_CONTROLS);
    const unsigned secondary = (unsigned)V(SECONDARY_PROCESSOR_BASED_CONTROLS);
    const unsigned entry = (unsigned)V(VM_ENTRY_CONTROLS);
    const unsigned leave = (unsigned)V(PRIMARY_VM_EXIT_CONTROLS);

    if (layout <= LAYOUT_5) {
        line(printer, "PinBased=%08x CPUBased=%08x SecondaryExec=%08x", pin, primary, secondary);
        line(printer, "EntryControls=%08x ExitControls=%08x", entry, leave);
        return;
    }
    line(printer, "CPUBased=0x%08x SecondaryExec=0x%08x TertiaryExec=0x%016" PRIx64, primary,
         secondary, V(TERTIARY_PROCESSOR_BASED_CONTROLS));
    if (layout == LAYOUT_6) {
        line(printer, "PinBased=0x%08x EntryControls=%08x ExitControls=%08x", pin, entry, leave);
    } else {
        line(printer, "PinBased=0x%08x EntryControls=0x%08x", pin, entry);
        line(printer, "ExitControls=0x%08x SecondaryExitControls=0x%016" PRIx64, leave,
             V(SECONDARY_VM_EXIT_CONTROLS));
    }
}

static void print_controls(struct printer *printer, const struct vmxsim_vmcs *vmcs,
                           enum layout layout)
{
    line(printer, "*** Control State ***");
    print_control_words(printer, vmcs, layout);
    line(printer, "ExceptionBitmap=%08x PFECmask=%08x PFECmatch=%08x",
         (unsigned)V(EXCEPTION_BITMAP), (unsigned)V(PAGE_FAULT_ERROR_CODE_MASK),
         (unsigned)V(PAGE_FAULT_ERROR_CODE_MATCH));
    line(printer, "VMEntry: intr_info=%08x errcode=%08x ilen=%08x",
         (unsigned)V(VM_ENTRY_INTERRUPTION_INFO), (unsigned)V(VM_ENTRY_EXCEPTION_ERROR_CODE),
         (unsigned)V(VM_ENTRY_INSTRUCTION_LENGTH));
    line(printer, "VMExit: intr_info=%08x errcode=%08x ilen=%08x",
         (unsigned)V(VM_EXIT_INTERRUPTION_INFO), (unsigned)V(VM_EXIT_INTERRUPTION_ERROR_CODE),
         (unsigned)V(VM_EXIT_INSTRUCTION_LENGTH));
    line(printer, "        reason=%08x qualification=%016" PRIx64, (unsigned)V(EXIT_REASON),
         V(EXIT_QUALIFICATION));
    line(printer, "IDTVectoring: info=%08x errcode=%08x", (unsigned)V(IDT_VECTORING_INFO),
         (unsigned)V(IDT_VECTORING_ERROR_CODE));
    line(printer, "TSC Offset = 0x%016" PRIx64, V(TSC_OFFSET));
    line(printer, "TSC Multiplier = 0x%016" PRIx64, V(TSC_MULTIPLIER));
    line(printer, "SVI|RVI = %02x|%02x TPR Threshold = 0x%02x",
         (unsigned)(V(GUEST_INTERRUPT_STATUS) >> 8), (unsigned)V(GUEST_INTERRUPT_STATUS) & 0xff,
         (unsigned)V(TPR_THRESHOLD));
    line(printer, "APIC-access addr = 0x%016" PRIx64 " virt-APIC addr = 0x%016" PRIx64,
         V(APIC_ACCESS_ADDRESS), V(VIRTUAL_APIC_ADDRESS));
    line(printer, "PostedIntrVec = 0x%02x", (unsigned)V(POSTED_INTERRUPT_NOTIFICATION_VECTOR));
    line(printer, "EPT pointer = 0x%016" PRIx64, V(EPT_POINTER));
    if (layout == LAYOUT_4)
        line(printer, "CR3 target0=%016" PRIx64 " target1=%016" PRIx64, V(CR3_TARGET_VALUE_0),
             V(CR3_TARGET_VALUE_1));
    line(printer, "PLE Gap=%08x Window=%08x", (unsigned)V(PLE_GAP), (unsigned)V(PLE_WINDOW));
    line(printer, "Virtual processor ID = 0x%04x", (unsigned)V(VPID));
}

static struct vmxsim_text dump(const struct vmxsim_vmcs *vmcs, enum layout layout,
                               const char *prefix)
{
    struct printer printer = {.prefix = prefix};
    print_guest(&printer, vmcs, layout);
    print_host(&printer, vmcs, layout);
    print_controls(&printer, vmcs, layout);
    ck_assert(!printer.text.failed);
    return printer.text;
}

/* ---- Reading back ---- */

/* Random values; those that are printed with fewer digits than they could need stay within them. */
static struct vmxsim_vmcs random_vmcs(struct rng *rng)
{
    struct vmxsim_vmcs vmcs;
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        vmcs.value[i] = rng_next(rng) & vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(i));
    for (size_t i = F(GUEST_ES_ACCESS_RIGHTS); i <= F(GUEST_TR_ACCESS_RIGHTS); i++)
        vmcs.value[i] &= 0xfffff;
    VMXSIM_VMCS(&vmcs, GUEST_SYSENTER_CS) &= 0xffff;
    VMXSIM_VMCS(&vmcs, HOST_SYSENTER_CS) &= 0xffff;
    VMXSIM_VMCS(&vmcs, TPR_THRESHOLD) &= 0xff;
    VMXSIM_VMCS(&vmcs, POSTED_INTERRUPT_NOTIFICATION_VECTOR) &= 0xff;
    VMXSIM_VMCS(&vmcs, GUEST_RFLAGS) &= 0xffffffff;
    return vmcs;
}

static bool read_text(const char *text, size_t length, struct vmxsim_vmcs_reading *reading)
{
    struct vmxsim_error error;
    const enum vmxc_status status =
        vmxsim_vmcs_read(text, length, VMXSIM_VMCS_FORMAT_LINUX, "log", reading, &error);
    if (status == VMXC_OK)
        return true;
    ck_assert_int_eq(status, VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "no VMCS field"));
    return false;
}

static void read_log(const char *text, struct vmxsim_vmcs_reading *reading)
{
    ck_assert(read_text(text, strlen(text), reading));
}

/* Known fields are the ones that were printed. */
static void expect_subset(const struct vmxsim_vmcs_reading *reading, const struct vmxsim_vmcs *vmcs,
                          const char *text)
{
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (vmxsim_vmcs_is_known(reading->known, i))
            ck_assert_msg(reading->vmcs.value[i] == vmcs->value[i],
                          "%s: 0x%" PRIx64 " instead of 0x%" PRIx64 ", text ends %s",
                          vmxsim_vmcs_name(i), reading->vmcs.value[i], vmcs->value[i],
                          text + (strlen(text) > 80 ? strlen(text) - 80 : 0));
        else
            ck_assert_uint_eq(reading->vmcs.value[i], 0);
    }
}

static const uint32_t printed_fields[LAYOUT_COUNT] = {
    [LAYOUT_4] = 112, [LAYOUT_5] = 113, [LAYOUT_6] = 114, [LAYOUT_CET] = 121};

START_TEST(every_layout_behind_every_prefix_comes_back)
{
    struct rng rng = rng_seeded(7);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        const struct vmxsim_vmcs vmcs = random_vmcs(&rng);
        struct vmxsim_text text = dump(&vmcs, (enum layout)_i, prefixes[i]);
        struct vmxsim_vmcs_reading reading;
        read_log(text.bytes, &reading);
        expect_subset(&reading, &vmcs, text.bytes);
        ck_assert_str_eq(reading.notes, "");
        ck_assert_uint_eq(reading.known_count, printed_fields[_i]);
        ck_assert_uint_eq(reading.lines_not_understood, 0);
        ck_assert_uint_eq(reading.lines_around, 0);
        vmxsim_vmcs_reading_free(&reading);
        vmxsim_text_free(&text);
    }
}
END_TEST

/* Turns a space into a line break where the line would be longer than `width`. */
static void wrap(char *text, size_t width)
{
    size_t column = 0;
    for (size_t i = 0; text[i] != '\0'; i++, column++) {
        if (text[i] == ' ' && column >= width)
            text[i] = '\n';
        if (text[i] == '\n')
            column = 0;
    }
}

START_TEST(a_wrapped_log_comes_back_whole)
{
    struct rng rng = rng_seeded(8);
    for (size_t width = 22; width <= 100; width++) {
        const struct vmxsim_vmcs vmcs = random_vmcs(&rng);
        struct vmxsim_text text =
            dump(&vmcs, (enum layout)(width % LAYOUT_COUNT), prefixes[width % 3]);
        struct vmxsim_vmcs_reading reading;
        wrap(text.bytes, width);
        read_log(text.bytes, &reading);
        expect_subset(&reading, &vmcs, text.bytes);
        ck_assert_msg(reading.known_count == printed_fields[width % LAYOUT_COUNT],
                      "width %zu: %u fields, %s", width, reading.known_count, reading.notes);
        vmxsim_vmcs_reading_free(&reading);
        vmxsim_text_free(&text);
    }
}
END_TEST

START_TEST(numbers_cut_by_a_terminal_are_joined_or_not_known)
{
    struct rng rng = rng_seeded(9);
    for (size_t width = 30; width <= 90; width++) {
        const struct vmxsim_vmcs vmcs = random_vmcs(&rng);
        struct vmxsim_text text = dump(&vmcs, LAYOUT_6, ""), cut = {.failed = false};
        struct vmxsim_vmcs_reading reading;
        size_t column = 0;
        for (size_t i = 0; i < text.length; i++, column++) {
            if (text.bytes[i] == '\n')
                column = 0;
            else if (column == width) {
                vmxsim_text_add(&cut, "\n");
                column = 0;
            }
            vmxsim_text_add(&cut, "%c", text.bytes[i]);
        }
        read_log(cut.bytes, &reading);
        expect_subset(&reading, &vmcs, cut.bytes);
        ck_assert_uint_ge(reading.known_count, printed_fields[LAYOUT_6] / 2);
        vmxsim_vmcs_reading_free(&reading);
        vmxsim_text_free(&text);
        vmxsim_text_free(&cut);
    }
}
END_TEST

START_TEST(a_truncated_log_never_yields_a_wrong_value)
{
    struct rng rng = rng_seeded(10);
    const struct vmxsim_vmcs vmcs = random_vmcs(&rng);
    struct vmxsim_text text = dump(&vmcs, (enum layout)_i, "[ 1.0] ");
    uint32_t known = 0;
    for (size_t length = 0; length <= text.length; length++) {
        struct vmxsim_vmcs_reading reading;
        char *const copy = malloc(length + 1); /* exact, so that reading beyond it is noticed */
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, text.bytes, length);
        copy[length] = '\0';
        if (read_text(copy, length, &reading)) {
            expect_subset(&reading, &vmcs, copy);
            ck_assert_uint_ge(reading.known_count + 1, known);
            known = reading.known_count;
            vmxsim_vmcs_reading_free(&reading);
        }
        free(copy);
    }
    ck_assert_uint_eq(known, printed_fields[_i]);
    vmxsim_text_free(&text);
}
END_TEST

/* ---- What else logs hold ---- */

static bool known(const struct vmxsim_vmcs_reading *reading, size_t ordinal)
{
    return vmxsim_vmcs_is_known(reading->known, ordinal);
}

START_TEST(the_last_of_several_dumps_counts)
{
    struct vmxsim_vmcs_reading reading;
    read_log("hello\n*** Guest State ***\nCR3 = 0x0000000000001000\nDR7 = 0x0000000000000400\n"
             "in between\n*** Guest State ***\nwhat is this\nCR3 = 0x0000000000002000\nbye\n",
             &reading);
    ck_assert_uint_eq(VMXSIM_VMCS(&reading.vmcs, GUEST_CR3), 0x2000);
    ck_assert_uint_eq(reading.place[F(GUEST_CR3)], 8);
    ck_assert(!known(&reading, F(GUEST_DR7)));
    ck_assert_uint_eq(reading.lines_not_understood, 1);
    ck_assert_uint_eq(reading.lines_around, 3);
    ck_assert_str_eq(reading.notes, "the log holds 2 dumps: this is the last one\n"
                                    "lines of the dump that were not understood: 1 (7)\n");
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(two_values_of_a_field_make_it_unknown)
{
    struct vmxsim_vmcs_reading reading;
    read_log("CR3 = 0x0000000000001000\nCR3 = 0x0000000000001000\nDR7 = 0x0000000000000400\n"
             "DR7 = 0x0000000000000401\nDR7 = 0x0000000000000400\n",
             &reading);
    ck_assert(known(&reading, F(GUEST_CR3)));
    ck_assert(!known(&reading, F(GUEST_DR7)));
    ck_assert_str_eq(reading.notes, "GUEST_DR7 has two values, 0x400 and 0x401: not known\n");
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(efer_that_the_guest_gets_by_other_means_is_not_the_field)
{
    static const char *const remarks[] = {"(effective)", "(autoload)"};
    char text[128];
    struct vmxsim_vmcs_reading reading;
    (void)snprintf(text, sizeof text, "EFER= 0x0000000000000d01 %s\nCR3 = 0x0000000000001000\n",
                   remarks[_i]);
    read_log(text, &reading);
    ck_assert(!known(&reading, F(GUEST_IA32_EFER)));
    ck_assert(known(&reading, F(GUEST_CR3)));
    ck_assert_ptr_nonnull(strstr(reading.notes, remarks[_i]));
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(values_that_are_no_such_number_are_not_known)
{
    static const struct {
        const char *text, *note;
    } cases[] = {
        {"DR7 = 0x10000000000000000\n", "too wide"},
        {"Interruptibility = 100000000\n", "too wide"},
        {"CS: sel=0x10010, attr=0x0a09b\n", "too wide"},
        {"DR7 = hello\n", "no number"},
        {"DR7 = 0x00000000000004zz\n", "no number"},
        {"DR7 = 0x400 and more\n", "cut off"},
        {"Sysenter RSP=0000000000000000 CS:RIP=0010\n", "cut off"},
    };
    char text[128];
    struct vmxsim_vmcs_reading reading;
    (void)snprintf(text, sizeof text, "CR3 = 0x0000000000001000\n%s", cases[_i].text);
    read_log(text, &reading);
    ck_assert_msg(strstr(reading.notes, cases[_i].note) != NULL, "%s", reading.notes);
    ck_assert(!known(&reading, F(GUEST_DR7)));
    ck_assert(!known(&reading, F(GUEST_CS_SELECTOR)));
    ck_assert(!known(&reading, F(GUEST_INTERRUPTIBILITY_STATE)));
    ck_assert(known(&reading, F(GUEST_CR3)));
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(what_future_kernels_add_is_counted)
{
    struct vmxsim_vmcs_reading reading;
    read_log("CR3 = 0x0000000000001000  Wonder = 0x01\nMarvel = 0x02\nnoise\n"
             "*** Control State ***\nSVI|RVI = 1\nPinBased=00000016\n",
             &reading);
    ck_assert_uint_eq(reading.lines_not_understood, 3);
    ck_assert_ptr_nonnull(strstr(reading.notes, "not understood: 3 (1, 2, 3)"));
    ck_assert_ptr_nonnull(strstr(reading.notes, "GUEST_INTERRUPT_STATUS"));
    ck_assert_uint_eq(reading.known_count, 2);
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(notes_are_limited)
{
    struct vmxsim_text text = {.failed = false};
    struct vmxsim_vmcs_reading reading;
    for (unsigned i = 0; i < 100; i++)
        vmxsim_text_add(&text, "DR7 = zzz\n");
    vmxsim_text_add(&text, "CR3 = 0x0000000000001000\n");
    read_log(text.bytes, &reading);
    ck_assert_ptr_nonnull(strstr(reading.notes, "68 more notes left out\n"));
    vmxsim_vmcs_reading_free(&reading);
    vmxsim_text_free(&text);
}
END_TEST

/* ---- Hostile input ---- */

START_TEST(huge_lines_are_read_in_time)
{
    static const char *const units[] = {"a ", "=", "a=b ", "0", "CR3 ", "  ", "CR3=", "*** "};
    const size_t size = 1u << 20;
    char *const text = malloc(size + 64);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct vmxsim_vmcs_reading reading;
        size_t used = (size_t)sprintf(text, "DR7 = 0x0000000000000400 ");
        while (used < size)
            used += (size_t)sprintf(text + used, "%s", units[i]);
        ck_assert(read_text(text, used, &reading));
        ck_assert(known(&reading, F(GUEST_DR7)));
        vmxsim_vmcs_reading_free(&reading);
    }
    free(text);
}
END_TEST

START_TEST(noise_is_refused_or_yields_nothing_false)
{
    struct rng rng = rng_seeded(11);
    const struct vmxsim_vmcs vmcs = random_vmcs(&rng);
    struct vmxsim_text text = dump(&vmcs, LAYOUT_6, "");
    for (unsigned round = 0; round < 300; round++) {
        char *const copy = malloc(text.length);
        struct vmxsim_vmcs_reading reading;
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, text.bytes, text.length);
        for (unsigned i = 0; i < 1 + round; i++)
            copy[rng_next(&rng) % text.length] = (char)rng_next(&rng);
        if (read_text(copy, text.length, &reading)) {
            ck_assert_uint_le(reading.known_count, VMXC_VMCS_FIELD_COUNT);
            for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
                ck_assert_uint_eq(
                    reading.vmcs.value[i] & ~vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(i)), 0);
            vmxsim_vmcs_reading_free(&reading);
        }
        free(copy);
    }
    vmxsim_text_free(&text);
}
END_TEST

START_TEST(a_text_without_a_dump_is_refused)
{
    static const char *const texts[] = {"", "\n\n", "hello world\n", "a = b\n",
                                        "KVM: entry failed"};
    struct vmxsim_vmcs_reading reading;
    ck_assert(!read_text(texts[_i], strlen(texts[_i]), &reading));
    ck_assert_ptr_null(reading.notes);
}
END_TEST

static Suite *linux_suite(void)
{
    Suite *const suite = suite_create("vmcs_read_linux");
    TCase *const tests = tcase_create("linux");
    tcase_set_timeout(tests, 0);
    tcase_add_loop_test(tests, a_text_without_a_dump_is_refused, 0, 5);
    tcase_add_loop_test(tests, values_that_are_no_such_number_are_not_known, 0, 7);
    tcase_add_test(tests, two_values_of_a_field_make_it_unknown);
    tcase_add_loop_test(tests, efer_that_the_guest_gets_by_other_means_is_not_the_field, 0, 2);
    tcase_add_test(tests, what_future_kernels_add_is_counted);
    tcase_add_test(tests, notes_are_limited);
    tcase_add_test(tests, huge_lines_are_read_in_time);
    tcase_add_test(tests, noise_is_refused_or_yields_nothing_false);
    tcase_add_loop_test(tests, a_truncated_log_never_yields_a_wrong_value, 0, LAYOUT_COUNT);
    tcase_add_test(tests, numbers_cut_by_a_terminal_are_joined_or_not_known);
    tcase_add_test(tests, a_wrapped_log_comes_back_whole);
    tcase_add_test(tests, the_last_of_several_dumps_counts);
    tcase_add_loop_test(tests, every_layout_behind_every_prefix_comes_back, 0, LAYOUT_COUNT);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void)
{
    return run_suite(linux_suite());
}
