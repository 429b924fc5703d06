/* SPDX-License-Identifier: Apache-2.0 */
/* A status with one sentence for people: always one line of valid UTF-8, whatever it quotes. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vmxsim/error.h"

/* ---- Hostile texts ---- */

static const struct {
    const char *quoted, *text;
} hostile_texts[] = {
    {"line one\nline two", "line one?line two"},
    {"\x1b[31mred\x7f\t", "?[31mred??"},
    {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9e", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9e"},
    {"\xc3", "?"},                /* cut after the first byte */
    {"\xe2\x82", "??"},           /* cut after the second */
    {"\xc3(", "?("},              /* not continued */
    {"\x80\xbf", "??"},           /* continuation without a start */
    {"\xc0\xaf", "??"},           /* overlong */
    {"\xe0\x80\xaf", "???"},      /* overlong */
    {"\xf0\x80\x80\xaf", "????"}, /* overlong */
    {"\xed\xa0\x80", "???"},      /* surrogate */
    {"\xf4\x90\x80\x80", "????"}, /* above 10FFFFH */
    {"\xf8\x88\x80\x80", "????"}, /* no such length */
    {"\xff\xfe", "??"},
};

START_TEST(whatever_is_quoted_stays_one_printable_line)
{
    struct vmxsim_error error;
    (void)vmxsim_error_set(&error, VMXC_BAD_FORMAT, "%s", hostile_texts[_i].quoted);
    ck_assert_str_eq(error.text, hostile_texts[_i].text);

    json_t *as_json = json_string(error.text); /* refuses what is not UTF-8 */
    ck_assert_ptr_nonnull(as_json);
    json_decref(as_json);
}
END_TEST

/* A character of each length is moved across the end of the buffer, byte by byte. */
START_TEST(a_long_text_is_cut_at_a_whole_character)
{
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\x9e"};
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        for (int filling = VMXSIM_ERROR_TEXT_SIZE - 6; filling < VMXSIM_ERROR_TEXT_SIZE;
             filling++) {
            struct vmxsim_error error;
            (void)vmxsim_error_set(&error, VMXC_BAD_FORMAT, "%*d%s%s", filling, 7, characters[i],
                                   "................");
            ck_assert_uint_eq(strlen(error.text), VMXSIM_ERROR_TEXT_SIZE - 1);
            json_t *as_json = json_string(error.text);
            ck_assert_msg(as_json != NULL, "character %zu at %d", i, filling);
            json_decref(as_json);
        }
    }
}
END_TEST

/* ---- Use ---- */

START_TEST(the_status_comes_back_and_is_kept)
{
    struct vmxsim_error error = {0};
    ck_assert_int_eq(vmxsim_error_set(&error, VMXC_IO_ERROR, "%s: line %d", "file", 3),
                     VMXC_IO_ERROR);
    ck_assert_int_eq(error.status, VMXC_IO_ERROR);
    ck_assert_str_eq(error.text, "file: line 3");
    ck_assert_int_eq(vmxsim_error_set(NULL, VMXC_NO_MEMORY, "nobody listens"), VMXC_NO_MEMORY);
}
END_TEST

START_TEST(each_status_has_a_name_and_a_sentence)
{
#define VMXC_STATUS(number, name, sentence)                                  \
    ck_assert_str_eq(vmxsim_status_name((enum vmxc_status)(number)), #name); \
    ck_assert_str_eq(vmxsim_status_text(VMXC_##name), sentence);
#include "vmxcore/defs/status.def"
}
END_TEST

START_TEST(an_unknown_status_is_a_question_mark)
{
    ck_assert_str_eq(vmxsim_status_name((enum vmxc_status)1000), "?");
    ck_assert_str_eq(vmxsim_status_text((enum vmxc_status) - 1), "?");
}
END_TEST

static Suite *error_suite(void)
{
    Suite *suite = suite_create("error");
    TCase *hostile = tcase_create("hostile texts");
    tcase_add_loop_test(hostile, whatever_is_quoted_stays_one_printable_line, 0,
                        (int)(sizeof hostile_texts / sizeof hostile_texts[0]));
    tcase_add_test(hostile, a_long_text_is_cut_at_a_whole_character);
    suite_add_tcase(suite, hostile);

    TCase *use = tcase_create("use");
    tcase_add_test(use, the_status_comes_back_and_is_kept);
    tcase_add_test(use, each_status_has_a_name_and_a_sentence);
    tcase_add_test(use, an_unknown_status_is_a_question_mark);
    suite_add_tcase(suite, use);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(error_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
