/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of JSON: what is refused, and that each refusal names the place. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "internal/json.h"

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    struct vmxsim_error error = {0};
    ck_assert_msg(vmxsim_json_parse(text, strlen(text), NULL, &root, &error) == VMXC_OK, "%s",
                  error.text);
    return root;
}

/* ---- Documents that are refused ---- */

static const char *const bad_documents[] = {
    "",
    " ",
    "{",
    "[1,2",
    "nonsense",
    "17",
    "\"text\"",
    "{} {}",
    "[] x",
    "{\"a\": 1, \"a\": 1}",          /* the same key twice */
    "{\"a\": {\"b\": 1, \"b\": 2}}", /* the same, further down */
    "{\"a\": 1,}",
    "{'a': 1}",
    "{\"a\": 01}",
    "{\"a\": 99999999999999999999}", /* no integer of 64 bits */
    "{\"a\": \"\\u0000\"}",          /* would end a C string early */
    "{\"a\": \"\xff\"}",             /* not UTF-8 */
    "{\"a\": NaN}",
};

START_TEST(a_malformed_document_is_refused_with_its_line)
{
    json_t *root = NULL;
    struct vmxsim_error error = {0};
    const char *text = bad_documents[_i];
    ck_assert_int_eq(vmxsim_json_parse(text, strlen(text), "file:7", &root, &error),
                     VMXC_BAD_FORMAT);
    ck_assert_ptr_null(root);
    ck_assert_msg(strncmp(error.text, "file:7: line 1, column ", 23) == 0, "%s", error.text);
}
END_TEST

START_TEST(a_document_nested_without_end_is_refused)
{
    static char text[100000];
    json_t *root = NULL;
    memset(text, '[', sizeof text);
    ck_assert_int_eq(vmxsim_json_parse(text, sizeof text, NULL, &root, NULL), VMXC_BAD_FORMAT);
    ck_assert_ptr_null(root);
}
END_TEST

START_TEST(only_length_bytes_are_read)
{
    json_t *root = NULL;
    ck_assert_int_eq(vmxsim_json_parse("{}{", 2, NULL, &root, NULL), VMXC_OK);
    json_decref(root);
    ck_assert_int_eq(vmxsim_json_parse("{}", 1, NULL, &root, NULL), VMXC_BAD_FORMAT);
}
END_TEST

static int allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

/*
 * Wherever an allocation fails, there is a status and no document. Inside a token jansson takes the failure for
 * bad input, so BAD_FORMAT is possible; at the very first allocation it is not.
 */
START_TEST(without_memory_parsing_is_a_status)
{
    static const char text[] = "{\"a\": [\"0x1\", {\"b\": 2}]}";
    enum vmxc_status status[100] = {VMXC_OK};
    json_t *root[100] = {NULL};
    int budget = 0;
    json_set_alloc_funcs(failing_malloc, free);
    do {
        allocations_left = budget;
        status[budget] = vmxsim_json_parse(text, sizeof text - 1, NULL, &root[budget], NULL);
    } while (status[budget] != VMXC_OK && ++budget < 99);
    json_set_alloc_funcs(malloc, free);

    ck_assert_int_eq(status[0], VMXC_NO_MEMORY);
    ck_assert_int_gt(budget, 3);
    for (int i = 0; i < budget; i++) {
        ck_assert(status[i] == VMXC_NO_MEMORY || status[i] == VMXC_BAD_FORMAT);
        ck_assert_ptr_null(root[i]);
    }
    ck_assert_int_eq(status[budget], VMXC_OK);
    json_decref(root[budget]);
}
END_TEST

/* ---- Hexadecimal ---- */

static const struct {
    const char *text;
    bool valid;
    uint64_t value;
} hex_rows[] = {
    {"0x0", true, 0},
    {"0x1e", true, 0x1e},
    {"0xffffffffffffffff", true, UINT64_MAX},
    {"0x123456789abcdef0", true, UINT64_C(0x123456789abcdef0)},
    {"", false, 0},
    {"0", false, 0},
    {"0x", false, 0},
    {"x1", false, 0},
    {"1e", false, 0},
    {"0X1e", false, 0},
    {"0x1E", false, 0},
    {"0x00", false, 0},
    {"0x01", false, 0},
    {"0x1g", false, 0},
    {"0x1/", false, 0},
    {"0x1:", false, 0},
    {"0x1`", false, 0},
    {"0x-1", false, 0},
    {"-0x1", false, 0},
    {"+0x1", false, 0},
    {" 0x1", false, 0},
    {"0x1 ", false, 0},
    {"0x1\n", false, 0},
    {"0x0x1", false, 0},
    {"0x10000000000000000", false, 0},
    {"0xfffffffffffffffffffffffff", false, 0},
};

START_TEST(hexadecimal_has_one_spelling_per_number)
{
    uint64_t value = 0x77;
    ck_assert_msg(vmxsim_parse_hex(hex_rows[_i].text, &value) == hex_rows[_i].valid, "\"%s\"",
                  hex_rows[_i].text);
    ck_assert_uint_eq(value, hex_rows[_i].valid ? hex_rows[_i].value : 0x77);
}
END_TEST

START_TEST(written_numbers_read_back)
{
    static const uint64_t numbers[] = {0, 1, 0xf, 0x10, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_t *text = vmxsim_json_new_hex(numbers[i]);
        uint64_t value = 1;
        ck_assert(vmxsim_parse_hex(json_string_value(text), &value));
        ck_assert_uint_eq(value, numbers[i]);
        json_decref(text);
    }
}
END_TEST

/* ---- Values of the wrong kind ---- */

enum getter { HEX, COUNT, BOOL, STRING, OBJECT, ARRAY };

static enum vmxc_status get(enum getter getter, const struct vmxsim_json *at,
                            struct vmxsim_error *error)
{
    uint64_t number;
    bool flag;
    const char *text;
    switch (getter) {
    case HEX:
        return vmxsim_json_hex(at, 0xff, &number, error);
    case COUNT:
        return vmxsim_json_count(at, 2, 5, &number, error);
    case BOOL:
        return vmxsim_json_bool(at, &flag, error);
    case STRING:
        return vmxsim_json_string(at, &text, error);
    case OBJECT:
        return vmxsim_json_is_object(at, error);
    case ARRAY:
        break;
    }
    return vmxsim_json_is_array(at, error);
}

static const struct {
    const char *value;
    enum getter getter;
    const char *message; /* NULL: accepted */
} value_rows[] = {
    {"\"0xff\"", HEX, NULL},
    {"\"0x100\"", HEX, "0x100 is above the maximum, 0xff"},
    {"\"ff\"", HEX, "must be a hexadecimal string"},
    {"255", HEX, "must be a hexadecimal string"},
    {"null", HEX, "must be a hexadecimal string"},
    {"2", COUNT, NULL},
    {"5", COUNT, NULL},
    {"1", COUNT, "1 is not between 2 and 5"},
    {"6", COUNT, "6 is not between 2 and 5"},
    {"-3", COUNT, "-3 is not between 2 and 5"},
    {"3.0", COUNT, "must be an integer"},
    {"\"3\"", COUNT, "must be an integer"},
    {"true", COUNT, "must be an integer"},
    {"true", BOOL, NULL},
    {"false", BOOL, NULL},
    {"0", BOOL, "must be true or false"},
    {"\"true\"", BOOL, "must be true or false"},
    {"\"text\"", STRING, NULL},
    {"1", STRING, "must be a string"},
    {"[]", STRING, "must be a string"},
    {"{}", OBJECT, NULL},
    {"[]", OBJECT, "must be an object"},
    {"[]", ARRAY, NULL},
    {"{}", ARRAY, "must be an array"},
    {"null", ARRAY, "must be an array"},
};

START_TEST(a_value_of_the_wrong_kind_is_refused_with_its_place)
{
    char text[128], expected[128];
    (void)snprintf(text, sizeof text, "{\"outer\": [0, {\"key\": %s}]}", value_rows[_i].value);
    json_t *document = parse(text);
    const struct vmxsim_json root = vmxsim_json_root(document, "f.json", "top");
    struct vmxsim_json outer, key;
    ck_assert(vmxsim_json_find(&root, "outer", &outer));
    const struct vmxsim_json element = vmxsim_json_element(&outer, 1);
    ck_assert(vmxsim_json_find(&element, "key", &key));

    struct vmxsim_error error = {0};
    const char *message = value_rows[_i].message;
    ck_assert_int_eq(get(value_rows[_i].getter, &key, &error),
                     message == NULL ? VMXC_OK : VMXC_BAD_FORMAT);
    (void)snprintf(expected, sizeof expected, "f.json: top.outer[1].key: %s",
                   message != NULL ? message : "");
    ck_assert_msg(message == NULL || strncmp(error.text, expected, strlen(expected)) == 0, "%s",
                  error.text);
    json_decref(document);
}
END_TEST

/* ---- Objects ---- */

static const char *const known_keys[] = {"a", "b"};

START_TEST(an_unknown_key_is_named)
{
    json_t *document = parse("{\"a\": 1, \"c\": 2}");
    const struct vmxsim_json root = vmxsim_json_root(document, "f.json", NULL);
    struct vmxsim_error error = {0};
    ck_assert_int_eq(vmxsim_json_only_keys(&root, known_keys, 2, &error), VMXC_BAD_FORMAT);
    ck_assert_str_eq(error.text, "f.json: c: unknown key");
    json_decref(document);
}
END_TEST

START_TEST(a_missing_key_is_named)
{
    json_t *document = parse("{\"a\": 1}");
    const struct vmxsim_json root = vmxsim_json_root(document, NULL, NULL);
    struct vmxsim_json child = {.value = NULL};
    struct vmxsim_error error = {0};
    ck_assert_int_eq(vmxsim_json_only_keys(&root, known_keys, 2, &error), VMXC_OK);
    ck_assert_int_eq(vmxsim_json_member(&root, "b", &child, &error), VMXC_BAD_FORMAT);
    ck_assert_str_eq(error.text, "b: key is missing");
    ck_assert(!vmxsim_json_find(&root, "b", &child));
    ck_assert_ptr_null(child.value);
    json_decref(document);
}
END_TEST

START_TEST(what_is_no_object_has_no_keys)
{
    json_t *document = parse("[1]");
    const struct vmxsim_json root = vmxsim_json_root(document, NULL, NULL);
    struct vmxsim_json child;
    struct vmxsim_error error = {0};
    ck_assert_int_eq(vmxsim_json_only_keys(&root, known_keys, 2, &error), VMXC_BAD_FORMAT);
    ck_assert_str_eq(error.text,
                     "must be an object"); /* the nameless root: nothing to put before it */
    ck_assert_int_eq(vmxsim_json_member(&root, "a", &child, &error), VMXC_BAD_FORMAT);
    ck_assert(!vmxsim_json_find(&root, "a", &child));
    json_decref(document);
}
END_TEST

START_TEST(member_and_value_come_in_one_call)
{
    json_t *document = parse("{\"hex\": \"0x1e\", \"count\": 3, \"flag\": true, \"text\": \"t\"}");
    const struct vmxsim_json root = vmxsim_json_root(document, NULL, NULL);
    uint64_t number = 0;
    bool flag = false;
    const char *text = NULL;
    ck_assert_int_eq(vmxsim_json_get_hex(&root, "hex", 0xff, &number, NULL), VMXC_OK);
    ck_assert_uint_eq(number, 0x1e);
    ck_assert_int_eq(vmxsim_json_get_count(&root, "count", 0, 3, &number, NULL), VMXC_OK);
    ck_assert_uint_eq(number, 3);
    ck_assert_int_eq(vmxsim_json_get_bool(&root, "flag", &flag, NULL), VMXC_OK);
    ck_assert(flag);
    ck_assert_int_eq(vmxsim_json_get_string(&root, "text", &text, NULL), VMXC_OK);
    ck_assert_str_eq(text, "t");

    ck_assert_int_eq(vmxsim_json_get_hex(&root, "no", 0xff, &number, NULL), VMXC_BAD_FORMAT);
    ck_assert_int_eq(vmxsim_json_get_count(&root, "no", 0, 3, &number, NULL), VMXC_BAD_FORMAT);
    ck_assert_int_eq(vmxsim_json_get_bool(&root, "no", &flag, NULL), VMXC_BAD_FORMAT);
    ck_assert_int_eq(vmxsim_json_get_string(&root, "no", &text, NULL), VMXC_BAD_FORMAT);
    json_decref(document);
}
END_TEST

START_TEST(keys_can_be_numbers)
{
    json_t *document = parse("{\"0x1e\": 1, \"30\": 2}");
    const struct vmxsim_json root = vmxsim_json_root(document, NULL, "memory");
    struct vmxsim_json child;
    struct vmxsim_error error = {0};
    uint64_t number = 0;
    ck_assert(vmxsim_json_find(&root, "0x1e", &child));
    ck_assert_int_eq(vmxsim_json_hex_key(&child, 0x1e, &number, &error), VMXC_OK);
    ck_assert_uint_eq(number, 0x1e);
    ck_assert_int_eq(vmxsim_json_hex_key(&child, 0x1d, &number, &error), VMXC_BAD_FORMAT);
    ck_assert(vmxsim_json_find(&root, "30", &child));
    ck_assert_int_eq(vmxsim_json_hex_key(&child, UINT64_MAX, &number, &error), VMXC_BAD_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "memory.30: must be a hexadecimal string"));
    json_decref(document);
}
END_TEST

/* ---- Paths ---- */

START_TEST(a_path_fits_any_buffer)
{
    const struct vmxsim_json root = vmxsim_json_root(NULL, NULL, "root");
    const struct vmxsim_json list = vmxsim_json_child(&root, "list", NULL);
    const struct vmxsim_json element = vmxsim_json_element(&list, 12);
    const struct vmxsim_json key = vmxsim_json_child(&element, "key", NULL);
    static const char whole[] = "root.list[12].key";
    for (size_t size = 1; size <= sizeof whole + 1; size++) {
        char text[32];
        memset(text, '#', sizeof text);
        vmxsim_json_path(&key, text, size);
        const size_t length = size < sizeof whole ? size - 1 : sizeof whole - 1;
        ck_assert_uint_eq(strlen(text), length);
        ck_assert_mem_eq(text, whole, length);
        ck_assert_int_eq(text[size], '#');
    }
    char untouched = '#';
    vmxsim_json_path(&key, &untouched, 0);
    ck_assert_int_eq(untouched, '#');
}
END_TEST

START_TEST(of_a_very_deep_place_the_inner_part_is_shown)
{
    static struct vmxsim_json place[40];
    place[0] = vmxsim_json_root(NULL, NULL, "root");
    for (size_t i = 1; i < 40; i++)
        place[i] = vmxsim_json_child(&place[i - 1], i == 39 ? "last" : "k", NULL);
    char text[256];
    vmxsim_json_path(&place[39], text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, ".k.last"));
    ck_assert_ptr_null(strstr(text, "root"));
}
END_TEST

#define ROWS(table) ((int)(sizeof(table) / sizeof(table)[0]))

static Suite *json_suite(void)
{
    Suite *suite = suite_create("json");
    TCase *documents = tcase_create("documents");
    tcase_add_loop_test(documents, a_malformed_document_is_refused_with_its_line, 0,
                        ROWS(bad_documents));
    tcase_add_test(documents, a_document_nested_without_end_is_refused);
    tcase_add_test(documents, only_length_bytes_are_read);
    tcase_add_test(documents, without_memory_parsing_is_a_status);
    suite_add_tcase(suite, documents);

    TCase *values = tcase_create("values");
    tcase_add_loop_test(values, hexadecimal_has_one_spelling_per_number, 0, ROWS(hex_rows));
    tcase_add_test(values, written_numbers_read_back);
    tcase_add_loop_test(values, a_value_of_the_wrong_kind_is_refused_with_its_place, 0,
                        ROWS(value_rows));
    suite_add_tcase(suite, values);

    TCase *objects = tcase_create("objects");
    tcase_add_test(objects, an_unknown_key_is_named);
    tcase_add_test(objects, a_missing_key_is_named);
    tcase_add_test(objects, what_is_no_object_has_no_keys);
    tcase_add_test(objects, member_and_value_come_in_one_call);
    tcase_add_test(objects, keys_can_be_numbers);
    tcase_add_test(objects, a_path_fits_any_buffer);
    tcase_add_test(objects, of_a_very_deep_place_the_inner_part_is_shown);
    suite_add_tcase(suite, objects);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(json_suite());
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
