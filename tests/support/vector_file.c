/* SPDX-License-Identifier: Apache-2.0 */
#include "support/vector_file.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIRECTORY_PATTERN "/tmp/vmxsim-replay-XXXXXX"

static const char header_format[] =
    "{\"format\":\"vmx-vectors\",\"version\":1,\"source\":{\"engine\":\"model\",\"seed\":7},"
    "\"cpu\":%s,\"ram\":[[\"0x0\",\"0x100000\"]],\"vmxon_pointer\":\"0x90000\","
    "\"vmcs_pointer\":\"0x91000\","
    "\"vmcs\":{\"flat\":{"
    /* controls: bitmaps at 60000H and 62000H, EPT, unrestricted guest */
    "\"0x4000\":\"0x56\",\"0x4002\":\"0x96006172\",\"0x401e\":\"0x82\",\"0x400c\":\"0x336ffb\","
    "\"0x4012\":\"0x91fb\",\"0x2000\":\"0x60000\",\"0x2002\":\"0x61000\",\"0x2004\":\"0x62000\","
    "\"0x2012\":\"0x63000\",\"0x201a\":\"0x101e\","
    /* host: 64-bit */
    "\"0x6c00\":\"0x80000031\",\"0x6c02\":\"0x64000\",\"0x6c04\":\"0x2020\",\"0x2c00\":"
    "\"0x7040600070406\",\"0x2c02\":\"0x500\",\"0x6c16\":\"0x5000\","
    "\"0xc00\":\"0x10\",\"0xc02\":\"0x8\",\"0xc04\":\"0x10\",\"0xc06\":\"0x10\",\"0xc08\":\"0x10\","
    "\"0xc0a\":\"0x10\",\"0xc0c\":\"0x18\","
    /* guest: flat 32-bit segments, no paging */
    "\"0x6800\":\"0x31\",\"0x6804\":\"0x2000\",\"0x6820\":\"0x2\",\"0x681a\":\"0x400\","
    "\"0x681e\":\"0x3000\",\"0x2800\":\"0xffffffffffffffff\",\"0x2804\":\"0x7040600070406\","
    "\"0x800\":\"0x10\",\"0x802\":\"0x8\",\"0x804\":\"0x10\",\"0x806\":\"0x10\",\"0x808\":\"0x10\","
    "\"0x80a\":\"0x10\",\"0x80e\":\"0x18\","
    "\"0x4800\":\"0xffffffff\",\"0x4802\":\"0xffffffff\",\"0x4804\":\"0xffffffff\","
    "\"0x4806\":\"0xffffffff\",\"0x4808\":\"0xffffffff\",\"0x480a\":\"0xffffffff\","
    "\"0x480c\":\"0xffff\",\"0x480e\":\"0x67\","
    "\"0x4814\":\"0xc093\",\"0x4816\":\"0xc09b\",\"0x4818\":\"0xc093\",\"0x481a\":\"0xc093\","
    "\"0x481c\":\"0xc093\",\"0x481e\":\"0xc093\",\"0x4820\":\"0x10000\",\"0x4822\":\"0x8b\"}},"
    "\"memory\":{\"base\":{\"0x1000\":\"0x2007\",\"0x2000\":\"0xb7\",\"0x3000\":"
    "\"0x1122334455667788\","
    "\"0x90000\":\"0x4\"}},"
    "\"root\":{\"default\":{\"cr0\":\"0x80000031\",\"cr4\":\"0x2020\",\"efer\":\"0x500\"}}}\n";

static const char *const case_lines[LINE_COUNT] = {
    [LINE_READ] =
        "{\"id\":\"read\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"fetch\",\"linear\":\"0x3001\",\"size\":1},"
        "{\"type\":\"read\",\"linear\":\"0x3000\",\"size\":4}],"
        "\"expect\":{\"result\":\"complete\",\"values\":[null,\"0x55667788\"],\"memory\":{}},"
        "\"note\":\"two accesses\"}\n",
    [LINE_VIOLATION] =
        "{\"id\":\"violation\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],"
        "\"memory\":[\"base\",{\"0x2000\":\"0xb5\"}],"
        "\"accesses\":[{\"type\":\"write\",\"linear\":\"0x3008\",\"size\":8,\"value\":\"0xabcd\"}],"
        "\"expect\":{\"result\":\"exit\",\"exit_reason\":48,\"qualification\":\"0x1aa\","
        "\"guest_physical\":\"0x3008\",\"guest_linear\":\"0x3008\",\"memory\":{}}}\n",
    [LINE_FAULT] =
        "{\"id\":\"fault\",\"kind\":\"access\",\"vmcs\":[\"flat\",{" VECTOR_LONG_MODE "}],"
        "\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"rmw\",\"linear\":\"0x5000\",\"size\":2,\"value\":\"0x1\"}],"
        "\"expect\":{\"result\":\"guest_exception\",\"vector\":14,\"error_code\":\"0x2\","
        "\"cr2\":\"0x5000\",\"memory\":{}}}\n",
    [LINE_EVENT] =
        "{\"id\":\"event\",\"kind\":\"access\",\"vmcs\":[\"flat\",{" VECTOR_LONG_MODE
        ",\"0x4004\":\"0x4000\"}],\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"write\",\"linear\":\"0x5000\",\"size\":2,\"value\":\"0x1\"}],"
        "\"expect\":{\"result\":\"exit\",\"exit_reason\":0,\"qualification\":\"0x5000\","
        "\"intr_info\":\"0x80000b0e\",\"intr_error_code\":\"0x2\",\"memory\":{}}}\n",
    [LINE_LOGGED] =
        "{\"id\":\"logged\",\"kind\":\"access\",\"vmcs\":[\"flat\",{\"0x201a\":\"0x105e\","
        "\"0x401e\":\"0x20082\",\"0x812\":\"0x1ff\",\"0x200e\":\"0x8000\"}],"
        "\"memory\":[\"base\",{}],"
        "\"accesses\":[{\"type\":\"write\",\"linear\":\"0x3004\",\"size\":2,\"value\":\"0xbeef\"}],"
        "\"expect\":{\"result\":\"complete\",\"pml_index\":510,\"memory\":{\"0x1000\":\"0x2107\","
        "\"0x2000\":\"0x3b7\",\"0x3000\":\"0x1122beef55667788\",\"0x8ff8\":\"0x3000\"}}}\n",
    [LINE_MISCONFIG] = "{\"id\":\"misconfig\",\"kind\":\"access\",\"vmcs\":[\"flat\",{}],"
                       "\"memory\":[\"base\",{\"0x2000\":\"0xb6\"}],"
                       "\"accesses\":[{\"type\":\"read\",\"linear\":\"0x3008\",\"size\":1}],"
                       "\"expect\":{\"result\":\"exit\",\"exit_reason\":49,\"guest_physical\":"
                       "\"0x3008\",\"memory\":{}}}\n",
};

char *vector_lines[LINE_COUNT];
char vector_directory[sizeof DIRECTORY_PATTERN];
char vector_path[64], vector_deviations_path[64];

/* ---- Lines ---- */

static char *copy(const char *text)
{
    char *const duplicate = strdup(text);
    ck_assert_ptr_nonnull(duplicate);
    return duplicate;
}

/* The header with a built-in processor. */
static char *make_header(const char *profile)
{
    char *const cpu = vmxsim_profile_to_json(vmxsim_profile_builtin(profile));
    ck_assert_ptr_nonnull(cpu);
    for (char *byte = cpu; *byte != '\0'; byte++) {
        if (*byte == '\n')
            *byte = ' ';
    }
    const size_t size = sizeof header_format + strlen(cpu);
    char *const header = malloc(size);
    ck_assert_ptr_nonnull(header);
    (void)snprintf(header, size, header_format, cpu);
    free(cpu);
    return header;
}

/* Its VMCS revision identifier is another one, and EPT violations tell the rights of the linear address too. */
void vector_file_use_everything(void)
{
    free(vector_lines[LINE_HEADER]);
    vector_lines[LINE_HEADER] = make_header("everything");
    vector_line_replace(LINE_HEADER, "\"0x90000\":\"0x4\"", "\"0x90000\":\"0x1\"");
    vector_line_replace(LINE_VIOLATION, "\"0x1aa\"", "\"0x7aa\"");
}

void vector_line_set(unsigned line, const char *text)
{
    free(vector_lines[line]);
    vector_lines[line] = copy(text);
}

void vector_line_replace(unsigned line, const char *find, const char *with)
{
    char *const text = vector_lines[line];
    char *const at = strstr(text, find);
    ck_assert_msg(at != NULL, "%s has no %s", text, find);
    ck_assert_msg(strstr(at + 1, find) == NULL, "%s has %s twice", text, find);
    const size_t size = strlen(text) + strlen(with) + 1;
    char *const changed = malloc(size);
    ck_assert_ptr_nonnull(changed);
    (void)snprintf(changed, size, "%.*s%s%s", (int)(at - text), text, with, at + strlen(find));
    free(text);
    vector_lines[line] = changed;
}

/* ---- Files ---- */

void vector_file_setup(void)
{
    vector_lines[LINE_HEADER] = make_header("icelake");
    for (unsigned i = LINE_READ; i < LINE_COUNT; i++)
        vector_lines[i] = copy(case_lines[i]);
    (void)strcpy(vector_directory, DIRECTORY_PATTERN);
    ck_assert_ptr_nonnull(mkdtemp(vector_directory));
    (void)snprintf(vector_path, sizeof vector_path, "%s/v.jsonl", vector_directory);
    (void)snprintf(vector_deviations_path, sizeof vector_deviations_path, "%s/deviations.json",
                   vector_directory);
}

void vector_file_teardown(void)
{
    for (unsigned i = 0; i < LINE_COUNT; i++) {
        free(vector_lines[i]);
        vector_lines[i] = NULL;
    }
    (void)unlink(vector_path);
    (void)unlink(vector_deviations_path);
    (void)rmdir(vector_directory);
}

void vector_text_write(const char *path, const char *text, size_t length)
{
    FILE *const stream = fopen(path, "w");
    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(text, 1, length, stream), length);
    ck_assert_int_eq(fclose(stream), 0);
}

void vector_file_write(void)
{
    FILE *const stream = fopen(vector_path, "w");
    ck_assert_ptr_nonnull(stream);
    for (unsigned i = 0; i < LINE_COUNT; i++)
        ck_assert_int_ge(fputs(vector_lines[i], stream), 0);
    ck_assert_int_eq(fclose(stream), 0);
}

/* ---- Replay ---- */

static void see(void *context, const struct vmxsim_case_result *result)
{
    struct vector_seen *const seen = context;
    ck_assert_uint_lt(seen->count, VECTOR_SEEN_MAX);
    ck_assert_str_eq(result->file, vector_path);
    ck_assert_uint_ge(result->line, 2);
    (void)snprintf(seen->id[seen->count], sizeof seen->id[0], "%s", result->id);
    (void)snprintf(seen->reason[seen->count], sizeof seen->reason[0], "%s", result->reason);
    (void)snprintf(seen->deviates[seen->count], sizeof seen->deviates[0], "%s",
                   result->deviates != NULL ? result->deviates : "");
    seen->verdict[seen->count++] = result->verdict;
}

enum vmxc_status vector_file_replay(struct vector_seen *seen, struct vmxsim_error *error)
{
    struct vmxsim_replay_summary summary = {0};
    uint64_t cases = 0;

    memset(seen, 0, sizeof *seen);
    const enum vmxc_status status = vmxsim_replay_file(vector_path, see, seen, &summary, error);
    for (unsigned kind = 0; kind < VMXSIM_CASE_KIND_COUNT; kind++)
        cases += summary.kind[kind].cases;
    ck_assert_uint_eq(cases, seen->count);
    return status;
}

void vector_file_decide(struct vector_seen *seen)
{
    struct vmxsim_error error = {0};
    const enum vmxc_status status = vector_file_replay(seen, &error);
    ck_assert_msg(status == VMXC_OK, "%s", error.text);
    ck_assert_uint_eq(seen->count, LINE_COUNT - 1);
}

void vector_file_expect_refusal(unsigned line, const char *key, const char *why)
{
    static struct vector_seen seen;
    struct vmxsim_error error = {0};
    char place[96];
    (void)snprintf(place, sizeof place, "%s:%u: ", vector_path, line);
    ck_assert_msg(vector_file_replay(&seen, &error) == VMXC_BAD_FORMAT, "accepted, although %s: %s",
                  key, why);
    ck_assert_int_eq(error.status, VMXC_BAD_FORMAT);
    ck_assert_msg(strncmp(error.text, place, strlen(place)) == 0, "%s does not start with %s",
                  error.text, place);
    ck_assert_msg(strstr(error.text + strlen(place), key) != NULL, "%s names no %s", error.text,
                  key);
    ck_assert_msg(strstr(error.text, why) != NULL, "%s does not say %s", error.text, why);
}
