/* SPDX-License-Identifier: Apache-2.0 */
/* A VMCS from JSON, from nested state of KVM, and from files: what is refused, what is known, what is not. */
#include "support/suite.h"
#include "vmxsim/vmcs_read.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define F(name) VMXC_VMCS_ORDINAL_##name

static enum vmxc_status read_bytes(const void *bytes, size_t length, enum vmxsim_vmcs_format format,
                                   struct vmxsim_vmcs_reading *reading, struct vmxsim_error *error)
{
    *error = (struct vmxsim_error){.status = VMXC_OK};
    const enum vmxc_status status =
        vmxsim_vmcs_read(bytes, length, format, "input", reading, error);
    ck_assert_int_eq(status, error->status);
    return status;
}

static bool known(const struct vmxsim_vmcs_reading *reading, size_t ordinal)
{
    return vmxsim_vmcs_is_known(reading->known, ordinal);
}

/* ---- JSON ---- */

static void read_json(const char *text, struct vmxsim_vmcs_reading *reading)
{
    struct vmxsim_error error;
    const enum vmxc_status status =
        read_bytes(text, strlen(text), VMXSIM_VMCS_FORMAT_AUTO, reading, &error);
    ck_assert_msg(status == VMXC_OK, "%s", error.text);
    ck_assert_int_eq(reading->format, VMXSIM_VMCS_FORMAT_JSON);
}

static const struct {
    const char *text, *complaint;
} bad_json[] = {
    {"{}", "no VMCS field"},
    {"{", "input"},
    {"[1]", "object"},
    {"{\"GUEST_CR0\": 1} x", "input"},
    {"{\"GUEST_CR0\": 1, \"GUEST_CR0\": 1}", "duplicate"},
    {"{\"GUEST_CR0\": 1, \"0x6800\": 1}", "twice"},
    {"{\"guest_cr0\": 1, \"GUEST_CR0\": 1}", "twice"},
    {"{\"GUEST_CR9\": 1}", "GUEST_CR9: there is no such VMCS field"},
    {"{\"0x6900\": 1}", "0x6900: there is no such VMCS field"},
    {"{\"0x100006800\": 1}", "there is no such VMCS field"},
    {"{\"0x2801\": 1}", "full (even)"},
    {"{\"0x\": 1}", "there is no such VMCS field"},
    {"{\"GUEST_CR0\": -1}", "-1"},
    {"{\"GUEST_CR0\": 1.5}", "must be a number"},
    {"{\"GUEST_CR0\": true}", "must be a number"},
    {"{\"GUEST_CR0\": \"\"}", "must be a number"},
    {"{\"GUEST_CR0\": \"0x\"}", "must be a number"},
    {"{\"GUEST_CR0\": \"31\"}", "must be a number"},
    {"{\"GUEST_CR0\": \"0x1g\"}", "must be a number"},
    {"{\"GUEST_CR0\": \"0x10000000000000000\"}", "64 bits"},
    {"{\"GUEST_CS_SELECTOR\": \"0x10000\"}", "above the maximum, 0xffff"},
    {"{\"GUEST_CS_SELECTOR\": 65536}", "65535"},
    {"{\"vmcs\": 1}", "vmcs: must be an object"},
    {"{\"vmcs\": {\"GUEST_CR0\": null}}", "no VMCS field"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"vmsc\": 1}", "vmsc: unknown key"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"others\": \"one\"}", "zero"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"others\": 0}", "others: must be a string"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"profile\": \"z80\"}", "no built-in profile \"z80\""},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"profile\": 1}", "profile: must be a string"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"profile\": {}}", "profile"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"processor\": 1}", "processor: must be an object"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"processor\": {\"cr9\": 1}}", "cr9: unknown key"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"processor\": {\"cpl\": 4}}", "cpl"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"processor\": {\"cr0\": []}}", "cr0"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"processor\": {\"in_smm\": 1}}", "in_smm"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"memory\": 1}", "memory: must be an object"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"memory\": {\"0x4\": 1}}", "multiple of 8"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"memory\": {\"0x10000000000000\": 1}}", "below 2^52"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"memory\": {\"zero\": 1}}", "multiple of 8"},
    {"{\"vmcs\": {\"GUEST_CR0\": 1}, \"memory\": {\"0x8\": \"x\"}}", "must be a number"},
};

START_TEST(json_that_says_anything_else_is_refused)
{
    struct vmxsim_vmcs_reading reading;
    struct vmxsim_error error;
    const char *const text = bad_json[_i].text;
    ck_assert_int_eq(read_bytes(text, strlen(text), VMXSIM_VMCS_FORMAT_JSON, &reading, &error),
                     VMXC_BAD_FORMAT);
    ck_assert_msg(strstr(error.text, bad_json[_i].complaint) != NULL, "%s: %s", text, error.text);
    ck_assert_msg(strncmp(error.text, "input", 5) == 0, "%s", error.text);
    ck_assert_ptr_null(reading.memory);
    ck_assert_ptr_null(reading.owned_profile);
}
END_TEST

START_TEST(fields_by_name_and_by_encoding)
{
    struct vmxsim_vmcs_reading reading;
    read_json(" \n{\"guest_cr0\": \"0x0000000080000031\", \"0x6802\": 4096, \"GUEST_CR4\": null,\n"
              "\"0X4016\": \"0X8000000E\", \"GUEST_CS_SELECTOR\": 65535}",
              &reading);
    ck_assert_uint_eq(VMXSIM_VMCS(&reading.vmcs, GUEST_CR0), 0x80000031);
    ck_assert_uint_eq(VMXSIM_VMCS(&reading.vmcs, GUEST_CR3), 4096);
    ck_assert_uint_eq(VMXSIM_VMCS(&reading.vmcs, VM_ENTRY_INTERRUPTION_INFO), 0x8000000e);
    ck_assert_uint_eq(VMXSIM_VMCS(&reading.vmcs, GUEST_CS_SELECTOR), 0xffff);
    ck_assert(!known(&reading, F(GUEST_CR4)));
    ck_assert_uint_eq(reading.known_count, 4);
    ck_assert(!reading.processor_given);
    ck_assert_ptr_null(reading.profile);
    ck_assert_ptr_null(reading.memory);
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(others_are_zero_if_the_document_says_so)
{
    struct vmxsim_vmcs_reading reading;
    read_json("{\"vmcs\": {\"GUEST_CR0\": 1, \"GUEST_CR4\": null}, \"others\": \"zero\"}",
              &reading);
    ck_assert_uint_eq(reading.known_count, VMXC_VMCS_FIELD_COUNT - 1);
    ck_assert(!known(&reading, F(GUEST_CR4)));
    vmxsim_vmcs_reading_free(&reading);
    read_json("{\"vmcs\": {\"GUEST_CR0\": 1}, \"others\": \"unknown\"}", &reading);
    ck_assert_uint_eq(reading.known_count, 1);
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(processor_profile_and_memory)
{
    struct vmxsim_vmcs_reading reading;
    read_json("{\"vmcs\": {\"GUEST_CR0\": 1}, \"profile\": \"icelake\", \"note\": \"why\",\n"
              "\"processor\": {\"cr4\": \"0x20a0\", \"vmresume\": true, \"cpl\": 3,\n"
              "                \"current_vmcs\": 8192, \"code_64bit\": false},\n"
              "\"memory\": {\"0x1000\": \"0x4\", \"0x1008\": 5, \"0xFFFFFFFFFF000\": 6,\n"
              "             \"0xffffffffff008\": 7}}",
              &reading);
    ck_assert_str_eq(vmxsim_profile_name(reading.profile), "icelake");
    ck_assert_ptr_null(reading.owned_profile);
    ck_assert(reading.processor_given);
    ck_assert_uint_eq(reading.processor.cr4, 0x20a0);
    ck_assert_uint_eq(reading.processor.cr0, vmxsim_entry_processor_default(0).cr0);
    ck_assert(reading.processor.vmresume && !reading.processor.launched);
    ck_assert(!reading.processor.code_64bit && reading.processor.in_vmx);
    ck_assert_uint_eq(reading.processor.cpl, 3);
    ck_assert_uint_eq(reading.processor.current_vmcs, 8192);
    ck_assert_uint_eq(vmxsim_memory_read64(reading.memory, 0x1000), 4);
    ck_assert_uint_eq(vmxsim_memory_read64(reading.memory, 0x1008), 5);
    ck_assert_uint_eq(vmxsim_memory_read64(reading.memory, 0x1010), 0);
    ck_assert_uint_eq(vmxsim_memory_read64(reading.memory, 0xffffffffff000), 6);
    ck_assert_uint_eq(vmxsim_memory_read64(reading.memory, 0xffffffffff008), 7);
    vmxsim_vmcs_reading_free(&reading);
    ck_assert_ptr_null(reading.memory);
}
END_TEST

START_TEST(a_profile_may_be_part_of_the_document)
{
    struct vmxsim_vmcs_reading reading;
    char *const cpu = vmxsim_profile_to_json(vmxsim_profile_builtin("skylake"));
    ck_assert_ptr_nonnull(cpu);
    const size_t size = strlen(cpu) + 64;
    char *const text = malloc(size);
    ck_assert_ptr_nonnull(text);
    (void)snprintf(text, size, "{\"vmcs\": {\"GUEST_CR0\": 1}, \"profile\": %s}", cpu);
    read_json(text, &reading);
    ck_assert_ptr_eq(reading.profile, reading.owned_profile);
    ck_assert_uint_eq(vmxsim_profile_features(reading.profile)->maxphyaddr,
                      vmxsim_profile_features(vmxsim_profile_builtin("skylake"))->maxphyaddr);
    vmxsim_vmcs_reading_free(&reading);
    free(text);
    free(cpu);
}
END_TEST

/* ---- Nested state ---- */

#define VMCS12_SIZE 4096u
#define HEADER_SIZE 128u
#define REVISION    0x11e57ed0u
#define NESTED_SIZE (HEADER_SIZE + 2 * VMCS12_SIZE)

static void put(uint8_t *bytes, size_t offset, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

/* Some fields of each width, first and last, at the places that the kernel's interface fixes. */
static const struct {
    size_t ordinal, offset, size;
    uint64_t value;
} placed[] = {
    {F(IO_BITMAP_A_ADDRESS), 40, 8, 0x1122334455667788},
    {F(EPT_POINTER), 120, 8, 0x501e},
    {F(VMCS_LINK_POINTER), 176, 8, UINT64_MAX},
    {F(GUEST_IA32_EFER), 200, 8, 0xd01},
    {F(GUEST_IA32_BNDCFGS), 248, 8, 0x11},
    {F(HOST_IA32_PAT), 256, 8, 0x7040600070406},
    {F(PML_ADDRESS), 312, 8, 0x7000},
    {F(CR0_GUEST_HOST_MASK), 344, 8, 0xfffffffffffefff7},
    {F(EXIT_QUALIFICATION), 408, 8, 0x99},
    {F(GUEST_CR0), 424, 8, 0x80050033},
    {F(GUEST_DR7), 528, 8, 0x400},
    {F(GUEST_RFLAGS), 552, 8, 2},
    {F(HOST_CR0), 584, 8, 0x80050034},
    {F(HOST_SYSENTER_ESP), 648, 8, 0xffff880000000000},
    {F(HOST_RIP), 672, 8, 0xffffffff81000000},
    {F(PIN_BASED_CONTROLS), 744, 4, 0x3f},
    {F(VM_ENTRY_CONTROLS), 780, 4, 0x93ff},
    {F(SECONDARY_PROCESSOR_BASED_CONTROLS), 804, 4, 0xaa},
    {F(VM_EXIT_INSTRUCTION_INFO), 836, 4, 0x77},
    {F(GUEST_ES_LIMIT), 840, 4, 0xffffffff},
    {F(GUEST_CS_ACCESS_RIGHTS), 884, 4, 0xa09b},
    {F(GUEST_ACTIVITY_STATE), 916, 4, 1},
    {F(PREEMPTION_TIMER_VALUE), 928, 4, 0x12345678},
    {F(VPID), 960, 2, 7},
    {F(GUEST_TR_SELECTOR), 978, 2, 0x40},
    {F(HOST_ES_SELECTOR), 982, 2, 0x18},
    {F(HOST_TR_SELECTOR), 994, 2, 0x48},
    {F(PML_INDEX), 996, 2, 511},
};

static void build_vmcs12(uint8_t bytes[VMCS12_SIZE])
{
    memset(bytes, 0, VMCS12_SIZE);
    put(bytes, 0, REVISION, 4);
    for (size_t i = 0; i < sizeof placed / sizeof placed[0]; i++)
        put(bytes, placed[i].offset, placed[i].value, placed[i].size);
}

static void build_nested(uint8_t bytes[NESTED_SIZE])
{
    memset(bytes, 0, NESTED_SIZE);
    put(bytes, 0, 1, 2); /* guest mode */
    put(bytes, 4, NESTED_SIZE, 4);
    put(bytes, 8, 0x3000, 8);
    put(bytes, 16, 0x4000, 8);
    build_vmcs12(bytes + HEADER_SIZE);
}

static void expect_placed(const struct vmxsim_vmcs_reading *reading, size_t start)
{
    for (size_t i = 0; i < sizeof placed / sizeof placed[0]; i++) {
        ck_assert_msg(reading->vmcs.value[placed[i].ordinal] == placed[i].value, "%s",
                      vmxsim_vmcs_name(placed[i].ordinal));
        ck_assert_uint_eq(reading->place[placed[i].ordinal], start + placed[i].offset);
    }
    ck_assert_uint_eq(reading->known_count, 35 + 42 + 47 + 19);
    ck_assert(!known(reading, F(TERTIARY_PROCESSOR_BASED_CONTROLS)));
    ck_assert(!known(reading, F(GUEST_SMBASE)));
}

START_TEST(a_vmcs12_alone)
{
    uint8_t bytes[VMCS12_SIZE];
    struct vmxsim_vmcs_reading reading;
    struct vmxsim_error error;
    build_vmcs12(bytes);
    ck_assert_int_eq(read_bytes(bytes, sizeof bytes, VMXSIM_VMCS_FORMAT_AUTO, &reading, &error),
                     VMXC_OK);
    ck_assert_int_eq(reading.format, VMXSIM_VMCS_FORMAT_VMCS12);
    expect_placed(&reading, 0);
    ck_assert(!reading.processor.launched && !reading.processor.vmresume);
    ck_assert(!reading.processor.current_is_shadow);
    ck_assert_ptr_nonnull(strstr(reading.notes, "guest-physical"));
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(a_vmcs12_in_nested_state_brings_its_processor)
{
    uint8_t bytes[NESTED_SIZE];
    struct vmxsim_vmcs_reading reading;
    struct vmxsim_error error;
    build_nested(bytes);
    put(bytes, HEADER_SIZE, REVISION | UINT32_C(1) << 31, 4);
    put(bytes, HEADER_SIZE + 8, 1, 4);
    ck_assert_int_eq(read_bytes(bytes, sizeof bytes, VMXSIM_VMCS_FORMAT_AUTO, &reading, &error),
                     VMXC_OK);
    expect_placed(&reading, HEADER_SIZE);
    ck_assert(reading.processor.launched && reading.processor.vmresume);
    ck_assert(reading.processor.current_is_shadow);
    ck_assert_uint_eq(reading.processor.current_vmcs, 0x4000);
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

static void expect_refusal(const uint8_t *bytes, size_t length, enum vmxc_status status,
                           const char *complaint)
{
    struct vmxsim_vmcs_reading reading;
    struct vmxsim_error error;
    uint8_t *const copy = malloc(length + (length == 0));
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, length);
    ck_assert_int_eq(read_bytes(copy, length, VMXSIM_VMCS_FORMAT_VMCS12, &reading, &error), status);
    ck_assert_msg(strstr(error.text, complaint) != NULL, "%zu bytes: %s", length, error.text);
    free(copy);
}

START_TEST(other_revisions_and_vendors_are_refused)
{
    uint8_t bytes[NESTED_SIZE];
    build_nested(bytes);
    put(bytes, HEADER_SIZE, 0x11e57ed1, 4);
    expect_refusal(bytes, sizeof bytes, VMXC_UNSUPPORTED, "0x11e57ed1 is not 0x11e57ed0");
    build_nested(bytes);
    put(bytes, 2, 1, 2);
    expect_refusal(bytes, sizeof bytes, VMXC_UNSUPPORTED, "SVM");
    memset(bytes, 0xa5, sizeof bytes);
    expect_refusal(bytes, sizeof bytes, VMXC_UNSUPPORTED, "0xa5a5a5a5 is not");
}
END_TEST

START_TEST(nested_state_that_is_cut_is_refused)
{
    uint8_t bytes[NESTED_SIZE];
    build_nested(bytes);
    for (size_t length = 0; length < HEADER_SIZE + 998; length++) {
        put(bytes, 4, length, 4); /* even if it says so itself */
        expect_refusal(bytes, length, VMXC_BAD_FORMAT, "too short");
    }
    build_vmcs12(bytes);
    for (size_t length = 0; length < 998; length += 7)
        expect_refusal(bytes, length, VMXC_BAD_FORMAT, "too short");
}
END_TEST

/* ---- Files and formats ---- */

START_TEST(formats_have_names)
{
    ck_assert_str_eq(vmxsim_vmcs_format_name(VMXSIM_VMCS_FORMAT_AUTO), "auto");
    ck_assert_str_eq(vmxsim_vmcs_format_name(VMXSIM_VMCS_FORMAT_VMCS12), "vmcs12");
    ck_assert_ptr_null(vmxsim_vmcs_format_name(VMXSIM_VMCS_FORMAT_COUNT));
}
END_TEST

START_TEST(what_cannot_be_opened_or_read_is_an_io_error)
{
    static const char *const paths[] = {"/nonexistent", "/"};
    struct vmxsim_vmcs_reading reading;
    struct vmxsim_error error;
    ck_assert_int_eq(vmxsim_vmcs_read_file(paths[_i], VMXSIM_VMCS_FORMAT_AUTO, &reading, &error),
                     VMXC_IO_ERROR);
    ck_assert_msg(strncmp(error.text, paths[_i], strlen(paths[_i])) == 0, "%s", error.text);
    vmxsim_vmcs_reading_free(&reading);
}
END_TEST

START_TEST(a_file_is_read_whole_and_no_larger_than_the_limit)
{
    char path[] = "/tmp/vmxsim-vmcs-read-XXXXXX";
    struct vmxsim_vmcs_reading reading;
    struct vmxsim_error error;
    const int descriptor = mkstemp(path);
    FILE *const stream = fdopen(descriptor, "wb");
    ck_assert_ptr_nonnull(stream);
    for (unsigned i = 0; i < 20000; i++)
        ck_assert_int_ge(fputs("some line of a log\n", stream), 0);
    ck_assert_int_ge(fputs("CR3 = 0x0000000000001000\n", stream), 0);
    ck_assert_int_eq(fflush(stream), 0);
    ck_assert_int_eq(vmxsim_vmcs_read_file(path, VMXSIM_VMCS_FORMAT_AUTO, &reading, &error),
                     VMXC_OK);
    ck_assert_uint_eq(reading.place[F(GUEST_CR3)], 20001);
    ck_assert_uint_eq(reading.lines_around, 20000);
    vmxsim_vmcs_reading_free(&reading);
    ck_assert_int_eq(ftruncate(descriptor, (64 << 20) + 1), 0);
    ck_assert_int_eq(vmxsim_vmcs_read_file(path, VMXSIM_VMCS_FORMAT_AUTO, &reading, &error),
                     VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "64 MBytes"));
    (void)fclose(stream);
    (void)remove(path);
}
END_TEST

static Suite *read_suite(void)
{
    Suite *const suite = suite_create("vmcs_read");
    TCase *const tests = tcase_create("read");
    tcase_set_timeout(tests, 0);
    tcase_add_loop_test(tests, json_that_says_anything_else_is_refused, 0, COUNT(bad_json));
    tcase_add_test(tests, other_revisions_and_vendors_are_refused);
    tcase_add_test(tests, nested_state_that_is_cut_is_refused);
    tcase_add_loop_test(tests, what_cannot_be_opened_or_read_is_an_io_error, 0, 2);
    tcase_add_test(tests, a_file_is_read_whole_and_no_larger_than_the_limit);
    tcase_add_test(tests, formats_have_names);
    tcase_add_test(tests, fields_by_name_and_by_encoding);
    tcase_add_test(tests, others_are_zero_if_the_document_says_so);
    tcase_add_test(tests, processor_profile_and_memory);
    tcase_add_test(tests, a_profile_may_be_part_of_the_document);
    tcase_add_test(tests, a_vmcs12_alone);
    tcase_add_test(tests, a_vmcs12_in_nested_state_brings_its_processor);
    suite_add_tcase(suite, tests);
    return suite;
}

int main(void)
{
    return run_suite(read_suite());
}
