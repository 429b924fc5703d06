/* SPDX-License-Identifier: Apache-2.0 */
/* VMREAD and VMWRITE: what they refuse, every encoding on every profile, and a guest's access to a shadow VMCS. */
#include <check.h>
#include <inttypes.h>

#include "support/entry_edge.h"
#include "support/insn_machine.h"
#include "support/suite.h"

#define VMREAD_BITMAP  UINT64_C(0x20000)
#define VMWRITE_BITMAP UINT64_C(0x21000)

#define TSC_OFFSET_HIGH (VMXC_VMCS_TSC_OFFSET | 1u)

static struct insn_machine machine;

static void setup(void)
{
    insn_machine_init(&machine, "icelake", NULL);
}

static void teardown(void)
{
    insn_machine_fini(&machine);
}

static void replace_machine(const char *profile, const struct msr_change *change)
{
    teardown();
    insn_machine_init(&machine, profile, change);
}

static void expect_unsupported(uint64_t field)
{
    EXECUTE(&machine, vmread, field);
    expect_valid(&machine, VMXC_VM_ERROR_UNSUPPORTED_FIELD, VMXSIM_INSN_FIELD_UNSUPPORTED);
    EXECUTE(&machine, vmwrite, field, 1);
    expect_valid(&machine, VMXC_VM_ERROR_UNSUPPORTED_FIELD, VMXSIM_INSN_FIELD_UNSUPPORTED);
}

/* ---- Refusals ---- */

START_TEST(without_a_current_vmcs_there_are_no_fields)
{
    insn_machine_vmxon(&machine);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RIP);
    expect_invalid(&machine, VMXSIM_INSN_NO_CURRENT);
    EXECUTE(&machine, vmwrite, 0xffffffff, 0);
    expect_invalid(&machine, VMXSIM_INSN_NO_CURRENT);
}
END_TEST

START_TEST(encodings_with_reserved_bits_are_no_fields)
{
    static const unsigned bits[] = {12, 15, 16, 31, 32, 63};

    insn_machine_current(&machine);
    for (size_t i = 0; i < COUNT(bits); i++)
        expect_unsupported(VMXC_VMCS_GUEST_RIP | VMXC_BIT(bits[i]));
}
END_TEST

START_TEST(writes_of_exit_information_need_a_processor_that_allows_them)
{
    const struct msr_change without = {VMXC_MSR_VMX_MISC, VMXC_VMX_MISC_VMWRITE_ANY, 0};

    replace_machine("icelake", &without);
    insn_machine_current(&machine);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint64_t encoding = vmxsim_vmcs_encoding(i);
        if (!vmxsim_profile_has_field(machine.profile, (uint32_t)encoding))
            continue;
        EXECUTE(&machine, vmwrite, encoding, 0);
        if (VMXC_FIELD_GET(encoding, VMXC_VMCS_ENCODING_TYPE) == VMXC_VMCS_TYPE_READ_ONLY)
            expect_valid(&machine, VMXC_VM_ERROR_VMWRITE_READ_ONLY, VMXSIM_INSN_FIELD_READ_ONLY);
        else
            expect_success(&machine);
    }
}
END_TEST

START_TEST(an_unsupported_field_comes_before_a_read_only_one)
{
    const struct msr_change without = {VMXC_MSR_VMX_MISC, VMXC_VMX_MISC_VMWRITE_ANY, 0};

    replace_machine("icelake", &without);
    insn_machine_current(&machine);
    EXECUTE(&machine, vmwrite, VMXC_VMCS_MSR_DATA, 0);
    expect_valid(&machine, VMXC_VM_ERROR_UNSUPPORTED_FIELD, VMXSIM_INSN_FIELD_UNSUPPORTED);
}
END_TEST

/* ---- All encodings ---- */

static const char *const profiles[] = {"skylake", "icelake", "tigerlake", "everything"};
/* Encodings that each profile has: one per field, and a second one per 64-bit field. */
static const unsigned encoding_counts[] = {187, 189, 195, 284};

static bool encoding_exists(uint32_t encoding)
{
    const bool high = encoding & VMXC_VMCS_ENCODING_HIGH;
    const uint64_t width = VMXC_FIELD_GET((uint64_t)encoding, VMXC_VMCS_ENCODING_WIDTH);

    return vmxsim_profile_has_field(machine.profile, encoding & ~1u) &&
           (!high || width == VMXC_VMCS_WIDTH_W64);
}

/* The bits that an access by this encoding reaches, by the width part of the encoding. */
static uint64_t reach(uint32_t encoding)
{
    static const uint64_t masks[] = {0xffff, UINT64_MAX, 0xffffffff, UINT64_MAX};

    return encoding & 1 ? 0xffffffff : masks[encoding >> 13 & 3];
}

/* An access by one half leaves the other alone. */
static void check_halves(uint32_t encoding, uint64_t pattern)
{
    insn_machine_set_field(&machine, encoding, pattern);
    ck_assert_uint_eq(insn_machine_field(&machine, encoding + 1), pattern >> 32);
    insn_machine_set_field(&machine, encoding + 1, ~pattern);
    ck_assert_uint_eq(insn_machine_field(&machine, encoding),
                      (pattern & UINT32_MAX) | ~pattern << 32);
}

START_TEST(every_encoding_reads_back_what_was_written)
{
    unsigned count = 0;

    replace_machine(profiles[_i], NULL);
    insn_machine_current(&machine);
    for (uint32_t encoding = 0; encoding <= 0xffff; encoding++) {
        const uint64_t pattern = UINT64_C(0x9e3779b97f4a7c15) * (encoding + 1);
        if (!encoding_exists(encoding)) {
            EXECUTE(&machine, vmread, encoding);
            ck_assert_uint_eq(machine.result.error, VMXC_VM_ERROR_UNSUPPORTED_FIELD);
            continue;
        }
        count++;
        insn_machine_set_field(&machine, encoding, pattern);
        if (encoding == VMXC_VMCS_VM_INSTRUCTION_ERROR)
            EXECUTE(&machine, vmread, encoding); /* a success leaves it alone */
        ck_assert_uint_eq(insn_machine_field(&machine, encoding), pattern & reach(encoding));
        if (!(encoding & 1) && encoding_exists(encoding + 1))
            check_halves(encoding, pattern);
    }
    ck_assert_uint_eq(count, encoding_counts[_i]);
}
END_TEST

START_TEST(all_fields_survive_vmclear_at_the_same_time)
{
    insn_machine_current(&machine);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        if (encoding_exists(encoding))
            insn_machine_set_field(&machine, encoding, UINT64_C(0x0123456789abcdef) + i);
    }
    EXECUTE(&machine, vmclear, REGION_A);
    EXECUTE(&machine, vmptrld, REGION_A);
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        const uint32_t encoding = vmxsim_vmcs_encoding(i);
        if (encoding_exists(encoding))
            ck_assert_uint_eq(insn_machine_field(&machine, encoding),
                              (UINT64_C(0x0123456789abcdef) + i) & reach(encoding));
    }
}
END_TEST

START_TEST(operands_have_the_width_of_the_mode)
{
    insn_machine_current(&machine);
    insn_machine_set_field(&machine, VMXC_VMCS_TSC_OFFSET, UINT64_C(0x1122334455667788));
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_RIP, UINT64_C(0x1122334455667788));

    /* 32-bit protected mode: the host has left IA-32e mode, which the model lets a test set. */
    vmxsim_cpu_set_root_state(machine.cpu,
                              &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2000});
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_TSC_OFFSET), 0x55667788);
    EXECUTE(&machine, vmread, TSC_OFFSET_HIGH | UINT64_C(0x700000000));
    expect_success(&machine); /* bits 63:32 of the register are not part of the operand */
    ck_assert_uint_eq(machine.result.value, 0x11223344);
    EXECUTE(&machine, vmwrite, VMXC_VMCS_GUEST_RIP, UINT64_MAX);
    expect_success(&machine);
    vmxsim_cpu_set_root_state(
        machine.cpu, &(struct vmxsim_root_state){.cr0 = 0x80000031, .cr4 = 0x2020, .efer = 0x500});
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), UINT32_MAX);
}
END_TEST

/* ---- In a guest ---- */

/* A guest with VMCS shadowing and bitmaps of zeros, at this privilege level. */
static struct vmxsim_vmcs shadowing_guest(unsigned cpl)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);

    vmcs.value[F(SECONDARY_PROCESSOR_BASED_CONTROLS)] = VMXC_SECONDARY_VMCS_SHADOWING;
    vmcs.value[F(VMREAD_BITMAP_ADDRESS)] = VMREAD_BITMAP;
    vmcs.value[F(VMWRITE_BITMAP_ADDRESS)] = VMWRITE_BITMAP;
    vmcs.value[F(VMCS_LINK_POINTER)] = REGION_LINK;
    vmcs.value[F(GUEST_CS_ACCESS_RIGHTS)] |= (uint64_t)cpl << 5;
    vmcs.value[F(GUEST_SS_ACCESS_RIGHTS)] |= (uint64_t)cpl << 5;
    vmcs.value[F(GUEST_CS_SELECTOR)] |= cpl;
    vmcs.value[F(GUEST_SS_SELECTOR)] |= cpl;
    vmxsim_memory_write32(machine.memory, REGION_LINK,
                          vmxsim_memory_read32(machine.memory, REGION_A) | 0x80000000u);
    return vmcs;
}

static void set_bitmap(uint64_t bitmap_hpa, uint32_t encoding)
{
    const uint64_t hpa = bitmap_hpa + encoding / 64 * 8;

    vmxsim_memory_write64(machine.memory, hpa,
                          vmxsim_memory_read64(machine.memory, hpa) | VMXC_BIT(encoding % 64));
}

START_TEST(without_shadowing_every_access_of_a_guest_exits)
{
    struct vmxsim_vmcs vmcs = valid_vmcs(LONG64);

    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RIP);
    expect_exit(&machine, VMXC_EXIT_REASON_VMREAD, VMXSIM_INSN_NON_ROOT);
    EXECUTE(&machine, vmresume, NULL);
    EXECUTE(&machine, vmwrite, VMXC_VMCS_GUEST_RIP, 1);
    expect_exit(&machine, VMXC_EXIT_REASON_VMWRITE, VMXSIM_INSN_NON_ROOT);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_EXIT_REASON),
                      VMXC_EXIT_REASON_VMWRITE);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), vmcs.value[F(GUEST_RIP)]);
}
END_TEST

/* The secondary controls do not count unless they are activated. */
START_TEST(shadowing_that_is_not_activated_is_off)
{
    struct vmxsim_vmcs vmcs = shadowing_guest(0);

    vmcs.value[F(PRIMARY_PROCESSOR_BASED_CONTROLS)] &= ~VMXC_BIT(31);
    vmcs.value[F(VMCS_LINK_POINTER)] = UINT64_MAX;
    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RIP);
    expect_exit(&machine, VMXC_EXIT_REASON_VMREAD, VMXSIM_INSN_NON_ROOT);
}
END_TEST

START_TEST(bitmaps_decide_by_encoding)
{
    struct vmxsim_vmcs vmcs = shadowing_guest(0);

    set_bitmap(VMREAD_BITMAP, VMXC_VMCS_GUEST_RSP);
    set_bitmap(VMWRITE_BITMAP, VMXC_VMCS_GUEST_RFLAGS);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmwrite, VMXC_VMCS_GUEST_RSP, 7);
    expect_success(&machine);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RFLAGS);
    expect_success(&machine);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RSP);
    expect_exit(&machine, VMXC_EXIT_REASON_VMREAD, VMXSIM_INSN_NON_ROOT);
    EXECUTE(&machine, vmresume, NULL);
    EXECUTE(&machine, vmwrite, VMXC_VMCS_GUEST_RFLAGS, 7);
    expect_exit(&machine, VMXC_EXIT_REASON_VMWRITE, VMXSIM_INSN_NON_ROOT);
    EXECUTE(&machine, vmresume, NULL);
    EXECUTE(&machine, vmread, 0x8000 | VMXC_VMCS_GUEST_RFLAGS); /* no bit in the bitmap */
    expect_exit(&machine, VMXC_EXIT_REASON_VMREAD, VMXSIM_INSN_NON_ROOT);
    EXECUTE(&machine, vmresume, NULL);
    EXECUTE(&machine, vmread,
            0x8000 | VMXC_VMCS_GUEST_RIP); /* ... nor would there be a 1 behind it */
    expect_exit(&machine, VMXC_EXIT_REASON_VMREAD, VMXSIM_INSN_NON_ROOT);
    EXECUTE(&machine, vmresume, NULL);
    EXECUTE(&machine, vmwrite, 0x8000 | VMXC_VMCS_GUEST_RIP, 0);
    expect_exit(&machine, VMXC_EXIT_REASON_VMWRITE, VMXSIM_INSN_NON_ROOT);
}
END_TEST

START_TEST(a_guest_reaches_the_linked_vmcs)
{
    const uint64_t value = UINT64_C(0x1234567890abcdef);
    struct vmxsim_vmcs vmcs = shadowing_guest(0);

    insn_machine_launch(&machine, &vmcs);
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_RIP, value);
    insn_machine_set_field(&machine, VMXC_VMCS_TSC_OFFSET, value);
    insn_machine_set_field(&machine, TSC_OFFSET_HIGH, 0x55);
    insn_machine_set_field(&machine, VMXC_VMCS_GUEST_CS_SELECTOR, value);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), value);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_CS_SELECTOR), value & 0xffff);

    EXECUTE_BARE(&machine, vmcall);
    expect_exit(&machine, VMXC_EXIT_REASON_VMCALL, VMXSIM_INSN_NON_ROOT);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), vmcs.value[F(GUEST_RIP)]);
    EXECUTE(&machine, vmptrld, REGION_LINK);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_GUEST_RIP), value);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_TSC_OFFSET), UINT64_C(0x5590abcdef));
}
END_TEST

START_TEST(a_guest_fails_as_a_host_does)
{
    struct vmxsim_vmcs vmcs = shadowing_guest(0);

    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmread, VMXC_VMCS_MSR_DATA); /* this processor does not have it */
    expect_valid(&machine, VMXC_VM_ERROR_UNSUPPORTED_FIELD, VMXSIM_INSN_FIELD_UNSUPPORTED);
    EXECUTE_BARE(&machine, vmcall);
    ck_assert_uint_eq(insn_machine_field(&machine, VMXC_VMCS_VM_INSTRUCTION_ERROR),
                      VMXC_VM_ERROR_UNSUPPORTED_FIELD);

    insn_machine_set_field(&machine, VMXC_VMCS_VMCS_LINK_POINTER, UINT64_MAX);
    EXECUTE(&machine, vmresume, NULL);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RIP);
    expect_invalid(&machine, VMXSIM_INSN_FIELD_NO_LINK);
}
END_TEST

START_TEST(privilege_comes_after_the_bitmap)
{
    struct vmxsim_vmcs vmcs = shadowing_guest(3);

    set_bitmap(VMREAD_BITMAP, VMXC_VMCS_GUEST_RSP);
    insn_machine_launch(&machine, &vmcs);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RIP);
    expect_exception(&machine, VMXC_VECTOR_GP, VMXSIM_INSN_CPL);
    EXECUTE(&machine, vmread, VMXC_VMCS_GUEST_RSP);
    expect_exit(&machine, VMXC_EXIT_REASON_VMREAD, VMXSIM_INSN_NON_ROOT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("insn_field");
    TCase *tcase = tcase_create("core");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, without_a_current_vmcs_there_are_no_fields);
    tcase_add_test(tcase, encodings_with_reserved_bits_are_no_fields);
    tcase_add_test(tcase, writes_of_exit_information_need_a_processor_that_allows_them);
    tcase_add_test(tcase, an_unsupported_field_comes_before_a_read_only_one);
    tcase_add_loop_test(tcase, every_encoding_reads_back_what_was_written, 0, COUNT(profiles));
    tcase_add_test(tcase, all_fields_survive_vmclear_at_the_same_time);
    tcase_add_test(tcase, operands_have_the_width_of_the_mode);
    tcase_add_test(tcase, without_shadowing_every_access_of_a_guest_exits);
    tcase_add_test(tcase, shadowing_that_is_not_activated_is_off);
    tcase_add_test(tcase, bitmaps_decide_by_encoding);
    tcase_add_test(tcase, a_guest_reaches_the_linked_vmcs);
    tcase_add_test(tcase, a_guest_fails_as_a_host_does);
    tcase_add_test(tcase, privilege_comes_after_the_bitmap);
    suite_add_tcase(suite, tcase);

    return run_suite(suite);
}
