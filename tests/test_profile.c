/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles as JSON: what the reader refuses and names, what a profile then answers, writing, files. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmxcore/defs/vmcs.h"
#include "vmxsim/profile.h"

/* ---- A small profile, and texts made from it by one replacement ---- */

static const char small_profile[] =
    "{\"maxphyaddr\": 46, \"linear_width\": 48,"
    " \"msr\": {\"0x48c\": \"0x6334141\", \"0x480\": \"0x1\"},"
    " \"cpuid\": {\"0x80000008.0\": [\"0x302e\", \"0x0\", \"0x0\", \"0x0\"],"
    " \"0xd.1f\": [\"0x1\", \"0x2\", \"0x3\", \"0xffffffff\"]},"
    " \"vmcs_fields\": [\"0x6800\", \"0x0\"]}";

/* The text with its only occurrence of `old` replaced. */
static void replace(const char *text, const char *old, const char *new, char *result, size_t size)
{
    const char *at = strstr(text, old);
    ck_assert_msg(at != NULL && strstr(at + 1, old) == NULL, "'%s' must occur once", old);
    (void)snprintf(result, size, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
}

static struct vmxsim_profile *load(const char *text)
{
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error = {0};
    ck_assert_msg(vmxsim_profile_from_json(text, strlen(text), "test", &profile, &error) == VMXC_OK,
                  "%s", error.text);
    return profile;
}

static const struct {
    const char *old, *new, *message;
} refused[] = {
    /* keys */
    {"\"maxphyaddr\": 46,", "", "cpu.maxphyaddr: key is missing"},
    {"\"linear_width\": 48,", "", "cpu.linear_width: key is missing"},
    {"\"msr\": {\"0x48c\": \"0x6334141\", \"0x480\": \"0x1\"},", "", "cpu.msr: key is missing"},
    {"\"cpuid\": {", "\"cpuid\": {}, \"cpuids\": {", "cpu.cpuids: unknown key"},
    {", \"vmcs_fields\": [\"0x6800\", \"0x0\"]", "", "cpu.vmcs_fields: key is missing"},
    {"{\"maxphyaddr\"", "{\"x\": 1, \"maxphyaddr\"", "cpu.x: unknown key"},
    {"{\"maxphyaddr\"", "{\"msr\": {}, \"maxphyaddr\"", "duplicate object key near '\"msr\"'"},
    {"\"0x480\"", "\"0x48c\"", "duplicate object key near '\"0x48c\"'"},
    {"0xd.1f", "0x80000008.0", "duplicate object key"},
    /* widths */
    {"46", "\"46\"", "cpu.maxphyaddr: must be an integer"},
    {"46", "31", "cpu.maxphyaddr: 31 is not between 32 and 52"},
    {"46", "53", "cpu.maxphyaddr: 53 is not between 32 and 52"},
    {"46", "-46", "cpu.maxphyaddr: -46 is not between"},
    {"46", "46.0", "cpu.maxphyaddr: must be an integer"},
    {"46", "45",
     "cpu: maxphyaddr 45 and linear_width 48 contradict cpuid.0x80000008.0, which says 46 and 48"},
    {": 48,", ": 57,", "cpu: maxphyaddr 46 and linear_width 57 contradict"},
    {": 48,", ": 47,", "cpu.linear_width: 47 is not between 48 and 57"},
    {": 48,", ": 50,", "cpu.linear_width: must be 48 or 57"},
    {": 48,", ": 58,", "cpu.linear_width: 58 is not between 48 and 57"},
    {": 48,", ": null,", "cpu.linear_width: must be an integer"},
    /* MSRs */
    {"\"msr\": {\"0x48c\": \"0x6334141\", \"0x480\": \"0x1\"}", "\"msr\": []",
     "cpu.msr: must be an object"},
    {"\"0x1\"}", "1}", "cpu.msr.0x480: must be a hexadecimal string"},
    {"\"0x1\"}", "\"0X1\"}", "cpu.msr.0x480: must be a hexadecimal string"},
    {"\"0x1\"}", "\"0x01\"}", "cpu.msr.0x480: must be a hexadecimal string"},
    {"\"0x1\"}", "\"0x10000000000000000\"}", "cpu.msr.0x480: must be a hexadecimal string"},
    {"0x480", "480", "cpu.msr.480: must be a hexadecimal string"},
    {"0x480", "0x100000000", "cpu.msr.0x100000000: 0x100000000 is above the maximum, 0xffffffff"},
    /* CPUID */
    {"\"cpuid\": {\"0x80000008.0\": [\"0x302e\", \"0x0\", \"0x0\", \"0x0\"],"
     " \"0xd.1f\": [\"0x1\", \"0x2\", \"0x3\", \"0xffffffff\"]}",
     "\"cpuid\": 1", "cpu.cpuid: must be an object"},
    {"0xd.1f", "0xd", "cpu.cpuid.0xd: key must be leaf.subleaf"},
    {"0xd.1f", "d.1f", "cpu.cpuid.d.1f: key must be leaf.subleaf"},
    {"0xd.1f", "0xd.0x1f", "cpu.cpuid.0xd.0x1f: key must be leaf.subleaf"},
    {"0xd.1f", "0xd.", "cpu.cpuid.0xd.: key must be leaf.subleaf"},
    {"0xd.1f", "0x.1f", "cpu.cpuid.0x.1f: key must be leaf.subleaf"},
    {"0xd.1f", ".1f", "cpu.cpuid..1f: key must be leaf.subleaf"},
    {"0xd.1f", "0.", "cpu.cpuid.0.: key must be leaf.subleaf"},
    {"0xd.1f", "0xD.1f", "cpu.cpuid.0xD.1f: key must be leaf.subleaf"},
    {"0xd.1f", "0xd.01", "cpu.cpuid.0xd.01: key must be leaf.subleaf"},
    {"0xd.1f", "0x100000000.0", "cpu.cpuid.0x100000000.0: key must be leaf.subleaf"},
    {"0xd.1f", "0x0.100000000", "cpu.cpuid.0x0.100000000: key must be leaf.subleaf"},
    {"[\"0x1\", \"0x2\",", "[\"0x2\",", "cpu.cpuid.0xd.1f: must be four registers"},
    {"[\"0x1\",", "[\"0x1\", \"0x1\",", "cpu.cpuid.0xd.1f: must be four registers"},
    {"[\"0x1\", \"0x2\", \"0x3\", \"0xffffffff\"]", "\"0x1\"",
     "cpu.cpuid.0xd.1f: must be an array"},
    {"\"0x2\"", "2", "cpu.cpuid.0xd.1f[1]: must be a hexadecimal string"},
    {"\"0xffffffff\"", "\"0x100000000\"",
     "cpu.cpuid.0xd.1f[3]: 0x100000000 is above the maximum, 0xffffffff"},
    /* VMCS fields */
    {"[\"0x6800\", \"0x0\"]", "{}", "cpu.vmcs_fields: must be an array"},
    {"\"0x6800\"", "26624", "cpu.vmcs_fields[0]: must be a hexadecimal string"},
    {"\"0x6800\"", "\"0x2001\"", "cpu.vmcs_fields[0]: 0x2001 is no full encoding of a VMCS field"},
    {"\"0x6800\"", "\"0x7ffe\"", "cpu.vmcs_fields[0]: 0x7ffe is no full encoding of a VMCS field"},
    {"\"0x6800\"", "\"0x100006800\"", "cpu.vmcs_fields[0]: 0x100006800 is above the maximum"},
    {"\"0x6800\"", "\"0x0\"", "cpu.vmcs_fields[1]: 0x0 is listed twice"},
};

START_TEST(a_mistake_is_refused_and_named)
{
    char text[1024];
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error = {0};
    replace(small_profile, refused[_i].old, refused[_i].new, text, sizeof text);
    ck_assert_msg(vmxsim_profile_from_json(text, strlen(text), "test", &profile, &error) ==
                      VMXC_BAD_FORMAT,
                  "accepted: %s", text);
    ck_assert_msg(strstr(error.text, refused[_i].message) != NULL, "'%s' instead of '%s'",
                  error.text, refused[_i].message);
    ck_assert_ptr_null(profile);
}
END_TEST

START_TEST(what_is_no_object_is_no_profile)
{
    static const char *const texts[] = {"[]", "{\"cpu\": 7}", "{\"cpu\": null}"};
    for (size_t i = 0; i < 3; i++) {
        struct vmxsim_profile *profile = NULL;
        struct vmxsim_error error = {0};
        ck_assert_int_eq(
            vmxsim_profile_from_json(texts[i], strlen(texts[i]), "test", &profile, &error),
            VMXC_BAD_FORMAT);
        ck_assert_str_eq(error.text, "cpu: must be an object");
        ck_assert_ptr_null(profile);
    }
}
END_TEST

START_TEST(each_truncation_of_the_text_is_refused)
{
    for (size_t length = 0; length < sizeof small_profile - 1; length++) {
        struct vmxsim_profile *profile = NULL;
        ck_assert_int_eq(vmxsim_profile_from_json(small_profile, length, "test", &profile, NULL),
                         VMXC_BAD_FORMAT);
        ck_assert_ptr_null(profile);
    }
}
END_TEST

/* ---- What a profile answers ---- */

START_TEST(the_small_profile_says_what_the_text_says)
{
    struct vmxsim_profile *profile = load(small_profile);
    uint64_t value = 0;
    uint32_t registers[4] = {0};
    ck_assert_str_eq(vmxsim_profile_name(profile), "test");
    ck_assert_uint_eq(vmxsim_profile_features(profile)->maxphyaddr, 46);
    ck_assert_uint_eq(vmxsim_profile_features(profile)->linear_width, 48);
    ck_assert_int_eq(vmxsim_profile_msr(profile, 0x48c, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0x6334141);
    ck_assert_int_eq(vmxsim_profile_cpuid(profile, 0xd, 0x1f, registers), VMXC_OK);
    ck_assert_uint_eq(registers[0], 1);
    ck_assert_uint_eq(registers[1], 2);
    ck_assert_uint_eq(registers[2], 3);
    ck_assert_uint_eq(registers[3], 0xffffffff);
    ck_assert(vmxsim_profile_has_field(profile, VMXC_VMCS_GUEST_CR0));
    ck_assert(vmxsim_profile_has_field(profile, VMXC_VMCS_VPID));
    vmxsim_profile_destroy(profile);
}
END_TEST

START_TEST(what_a_profile_does_not_list_it_does_not_have)
{
    struct vmxsim_profile *profile = load(small_profile);
    uint64_t value = 0x77;
    uint32_t registers[4] = {7, 7, 7, 7};
    ck_assert_int_eq(vmxsim_profile_msr(profile, 0x481, &value), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxsim_profile_cpuid(profile, 0xd, 0, registers), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxsim_profile_cpuid(profile, 0x1f, 0xd, registers), VMXC_NOT_FOUND);
    ck_assert_uint_eq(value, 0x77);
    ck_assert_uint_eq(registers[0], 7);
    ck_assert(!vmxsim_profile_has_field(profile, VMXC_VMCS_GUEST_CR3));
    ck_assert(!vmxsim_profile_has_field(profile, VMXC_VMCS_GUEST_CR0 | 1));
    ck_assert(!vmxsim_profile_has_field(profile, UINT32_MAX));
    vmxsim_profile_destroy(profile);
    vmxsim_profile_destroy(NULL);
}
END_TEST

START_TEST(an_empty_profile_has_no_features)
{
    static const char text[] =
        "{\"maxphyaddr\": 32, \"linear_width\": 57, \"msr\": {}, \"cpuid\": {},"
        " \"vmcs_fields\": []}";
    struct vmxsim_profile *profile = load(text);
    const struct vmxsim_features expected = {.maxphyaddr = 32, .linear_width = 57};
    uint64_t value;
    uint32_t registers[4];
    ck_assert_mem_eq(vmxsim_profile_features(profile), &expected, sizeof expected);
    ck_assert_int_eq(vmxsim_profile_msr(profile, 0x480, &value), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxsim_profile_cpuid(profile, 0, 0, registers), VMXC_NOT_FOUND);
    vmxsim_profile_destroy(profile);
}
END_TEST

START_TEST(a_header_of_vectors_is_a_profile_too)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "{\"format\": \"vmx-vectors\", \"cpu\": %s, \"ram\": []}",
                   small_profile);
    struct vmxsim_profile *profile = load(text);
    ck_assert_uint_eq(vmxsim_profile_features(profile)->maxphyaddr, 46);
    vmxsim_profile_destroy(profile);
}
END_TEST

START_TEST(a_profile_without_name_has_one)
{
    struct vmxsim_profile *profile = NULL;
    ck_assert_int_eq(
        vmxsim_profile_from_json(small_profile, sizeof small_profile - 1, NULL, &profile, NULL),
        VMXC_OK);
    ck_assert_str_eq(vmxsim_profile_name(profile), "(unnamed)");
    vmxsim_profile_destroy(profile);
}
END_TEST

/* ---- Writing and files ---- */

static const char *const builtin_names[] = {"icelake", "skylake", "tigerlake", "everything"};

START_TEST(a_profile_written_and_read_back_is_the_same)
{
    const struct vmxsim_profile *original = vmxsim_profile_builtin(builtin_names[_i]);
    char *text = vmxsim_profile_to_json(original);
    ck_assert_ptr_nonnull(text);
    struct vmxsim_profile *copy = load(text);
    char *again = vmxsim_profile_to_json(copy);
    ck_assert_str_eq(text, again);
    ck_assert_mem_eq(vmxsim_profile_features(copy), vmxsim_profile_features(original),
                     sizeof(struct vmxsim_features));

    /* Not only stable but complete: the same JSON value as the file it was built from. */
    char path[512];
    (void)snprintf(path, sizeof path, "%s/sim/profiles/%s.json", VMXSIM_SOURCE_DIR,
                   builtin_names[_i]);
    json_t *file = json_load_file(path, 0, NULL), *written = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(file);
    ck_assert(json_equal(file, written));
    json_decref(file);
    json_decref(written);
    free(again);
    free(text);
    vmxsim_profile_destroy(copy);
}
END_TEST

static int allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

START_TEST(without_memory_writing_gives_nothing)
{
    struct vmxsim_profile *profile = load(small_profile);
    char *text = NULL;
    int budget = 0;
    json_set_alloc_funcs(failing_malloc, free);
    for (; text == NULL && budget < 1000; budget++) {
        allocations_left = budget;
        text = vmxsim_profile_to_json(profile);
    }
    json_set_alloc_funcs(malloc, free);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_gt(budget, 10);
    struct vmxsim_profile *copy = load(text); /* what came out at last is whole */
    vmxsim_profile_destroy(copy);
    free(text);
    vmxsim_profile_destroy(profile);
}
END_TEST

static char path[64];

/* A file with this name's extension and content; removed by remove_file. */
static void write_file(const char *extension, const char *content, size_t length)
{
    (void)snprintf(path, sizeof path, "profile-%ld%s", (long)getpid(), extension);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(content, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
}

static void remove_file(void)
{
    if (path[0] != '\0')
        (void)remove(path);
    path[0] = '\0';
}

START_TEST(a_file_is_a_profile_named_by_its_path)
{
    const struct vmxsim_profile *profile = NULL;
    bool owned = false;
    write_file(".json", small_profile, sizeof small_profile - 1);
    ck_assert_int_eq(vmxsim_profile_open(path, &profile, &owned, NULL), VMXC_OK);
    ck_assert(owned);
    ck_assert_str_eq(vmxsim_profile_name(profile), path);
    vmxsim_profile_destroy((struct vmxsim_profile *)(uintptr_t)profile);
}
END_TEST

START_TEST(of_a_file_of_vectors_the_first_line_is_read)
{
    char text[1024];
    struct vmxsim_profile *profile = NULL;
    (void)snprintf(text, sizeof text, "{\"cpu\": %s}\n{\"id\": 1}\n", small_profile);
    write_file(".jsonl", text, strlen(text));
    ck_assert_int_eq(vmxsim_profile_from_file(path, &profile, NULL), VMXC_OK);
    vmxsim_profile_destroy(profile);
    remove_file();

    write_file(".jsonl", text, strlen(text) - strlen("\n{\"id\": 1}\n")); /* no newline at all */
    ck_assert_int_eq(vmxsim_profile_from_file(path, &profile, NULL), VMXC_OK);
    vmxsim_profile_destroy(profile);
    remove_file();

    write_file(".json", text, strlen(text)); /* elsewhere a second line is one too many */
    profile = NULL;
    ck_assert_int_eq(vmxsim_profile_from_file(path, &profile, NULL), VMXC_BAD_FORMAT);
    ck_assert_ptr_null(profile);
}
END_TEST

START_TEST(a_bad_file_is_named_with_its_key)
{
    static const char text[] = "{\"maxphyaddr\": 12}";
    char expected[128];
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error = {0};
    write_file(".json", text, sizeof text - 1);
    ck_assert_int_eq(vmxsim_profile_from_file(path, &profile, &error), VMXC_BAD_FORMAT);
    (void)snprintf(expected, sizeof expected, "%s: cpu.maxphyaddr: 12 is not between 32 and 52",
                   path);
    ck_assert_str_eq(error.text, expected);
}
END_TEST

START_TEST(what_cannot_be_read_is_an_io_error)
{
    static const char *const paths[] = {"no-such-file.json", "/", ""};
    for (size_t i = 0; i < 3; i++) {
        const struct vmxsim_profile *profile = NULL;
        bool owned = true;
        struct vmxsim_error error = {0};
        ck_assert_int_eq(vmxsim_profile_open(paths[i], &profile, &owned, &error), VMXC_IO_ERROR);
        ck_assert_ptr_eq(strstr(error.text, paths[i]), error.text);
        ck_assert_ptr_null(profile);
        ck_assert(owned);
    }
}
END_TEST

START_TEST(an_endless_file_is_refused)
{
    struct vmxsim_profile *profile = NULL;
    struct vmxsim_error error = {0};
    ck_assert_int_eq(vmxsim_profile_from_file("/dev/zero", &profile, &error), VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "/dev/zero: a profile is shorter than"));
    ck_assert_ptr_null(profile);
}
END_TEST

START_TEST(a_built_in_name_opens_what_nobody_owns)
{
    const struct vmxsim_profile *profile = NULL;
    bool owned = true;
    ck_assert_int_eq(vmxsim_profile_open("icelake", &profile, &owned, NULL), VMXC_OK);
    ck_assert(!owned);
    ck_assert_ptr_eq(profile, vmxsim_profile_builtin("icelake"));
}
END_TEST

#define ROWS(table) ((int)(sizeof(table) / sizeof(table)[0]))

static void add_reading(Suite *suite)
{
    TCase *mistakes = tcase_create("mistakes");
    tcase_add_loop_test(mistakes, a_mistake_is_refused_and_named, 0, ROWS(refused));
    tcase_add_test(mistakes, what_is_no_object_is_no_profile);
    tcase_add_test(mistakes, each_truncation_of_the_text_is_refused);
    suite_add_tcase(suite, mistakes);

    TCase *answers = tcase_create("answers");
    tcase_add_test(answers, the_small_profile_says_what_the_text_says);
    tcase_add_test(answers, what_a_profile_does_not_list_it_does_not_have);
    tcase_add_test(answers, an_empty_profile_has_no_features);
    tcase_add_test(answers, a_header_of_vectors_is_a_profile_too);
    tcase_add_test(answers, a_profile_without_name_has_one);
    suite_add_tcase(suite, answers);
}

static void add_files(Suite *suite)
{
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, NULL, remove_file);
    tcase_add_loop_test(files, a_profile_written_and_read_back_is_the_same, 0, ROWS(builtin_names));
    tcase_add_test(files, without_memory_writing_gives_nothing);
    tcase_add_test(files, a_file_is_a_profile_named_by_its_path);
    tcase_add_test(files, of_a_file_of_vectors_the_first_line_is_read);
    tcase_add_test(files, a_bad_file_is_named_with_its_key);
    tcase_add_test(files, what_cannot_be_read_is_an_io_error);
    tcase_add_test(files, an_endless_file_is_refused);
    tcase_add_test(files, a_built_in_name_opens_what_nobody_owns);
    suite_add_tcase(suite, files);
}

int main(void)
{
    Suite *suite = suite_create("profile");
    add_reading(suite);
    add_files(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
