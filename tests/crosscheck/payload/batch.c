/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batch: what batch.py makes of a header and its cases. Little-endian, without padding.
 *
 *     u64 magic, u32 version
 *     u64 VMXON region, VMCS region
 *     u32 fields, u32 encoding of each
 *     u32 VMCS templates, for each a u64 per field
 *     u32 pages, u64 address of each
 *     u32 memory templates, for each u32 words, for each word u32 page << 9 | word, u64 value
 *     u32 root states, for each u64 CR0, CR4, EFER
 *     u32 landings, for each u64 HOST_RIP, HOST_CR3
 *     u32 cases, for each u32 length, u32 number, u8 kind, the rest by kind
 */
#include "payload.h"

#define BATCH_MAGIC   UINT64_C(0x6863746162786d76)
#define BATCH_VERSION 2

enum case_kind {
    KIND_GUEST,
    KIND_INSTRUCTIONS,
    KIND_CAPTURE,
    KIND_EXAMPLE,
};

static _Noreturn void refuse(const char *text)
{
    console_text("payload: ");
    console_text(text);
    console_flush();
    machine_end(4);
}

const uint8_t *take_bytes(struct cursor *cursor, size_t length)
{
    const uint8_t *const bytes = cursor->next;

    if (length > (size_t)(cursor->end - cursor->next))
        refuse("the batch is cut off");
    cursor->next += length;
    return bytes;
}

/* x86 loads need no alignment. */
uint8_t take_u8(struct cursor *cursor)
{
    return *take_bytes(cursor, 1);
}

uint16_t take_u16(struct cursor *cursor)
{
    uint16_t value;

    __builtin_memcpy(&value, take_bytes(cursor, sizeof(value)), sizeof(value));
    return value;
}

uint32_t take_u32(struct cursor *cursor)
{
    uint32_t value;

    __builtin_memcpy(&value, take_bytes(cursor, sizeof(value)), sizeof(value));
    return value;
}

uint64_t take_u64(struct cursor *cursor)
{
    uint64_t value;

    __builtin_memcpy(&value, take_bytes(cursor, sizeof(value)), sizeof(value));
    return value;
}

static void parse_memory(struct batch *batch, struct cursor *cursor)
{
    batch->memory_count = take_u32(cursor);
    if (batch->memory_count > sizeof(batch->memory) / sizeof(batch->memory[0]))
        refuse("too many memory templates");
    for (uint32_t i = 0; i < batch->memory_count; i++) {
        const size_t length = 12 * (size_t)take_u32(cursor);
        const uint8_t *const words = take_bytes(cursor, length);
        batch->memory[i] = (struct cursor){words, words + length};
    }
}

static void parse_roots(struct batch *batch, struct cursor *cursor)
{
    batch->root_count = take_u32(cursor);
    if (batch->root_count > sizeof(batch->roots) / sizeof(batch->roots[0]))
        refuse("too many root states");
    for (uint32_t i = 0; i < batch->root_count; i++) {
        batch->roots[i].cr0 = take_u64(cursor);
        batch->roots[i].cr4 = take_u64(cursor);
        batch->roots[i].efer = take_u64(cursor);
    }
}

static void parse(struct batch *batch, struct cursor *cursor)
{
    if (take_u64(cursor) != BATCH_MAGIC || take_u32(cursor) != BATCH_VERSION)
        refuse("there is no batch, or one of another version");
    batch->vmxon_hpa = take_u64(cursor);
    batch->vmcs_hpa = take_u64(cursor);
    batch->field_count = take_u32(cursor);
    batch->fields = take_bytes(cursor, 4 * (size_t)batch->field_count);
    batch->vmcs_count = take_u32(cursor);
    batch->vmcs_values = take_bytes(cursor, 8 * (size_t)batch->field_count * batch->vmcs_count);
    batch->page_count = take_u32(cursor);
    batch->pages = take_bytes(cursor, 8 * (size_t)batch->page_count);
    parse_memory(batch, cursor);
    parse_roots(batch, cursor);
    memory_init(batch);
    for (uint32_t i = take_u32(cursor); i != 0; i--) {
        const uint64_t host_rip = take_u64(cursor);
        landing_keep(host_rip, take_u64(cursor));
    }
    batch->case_count = take_u32(cursor);
    batch->cases = *cursor;
}

static void run_case(const struct batch *batch, struct cursor *cases)
{
    const size_t length = take_u32(cases);
    const uint8_t *const bytes = take_bytes(cases, length);
    struct cursor cursor = {bytes, bytes + length};
    const uint32_t number = take_u32(&cursor);
    const enum case_kind kind = take_u8(&cursor);

    console_number(number);
    if (kind == KIND_GUEST)
        guest_case_run(batch, number, &cursor);
    else if (kind == KIND_INSTRUCTIONS)
        instructions_case_run(batch, number, &cursor);
    else if (kind == KIND_CAPTURE)
        capture_run(batch);
    else if (kind == KIND_EXAMPLE)
        example_run();
    else
        console_text(" unknown");
    console_flush();
}

void batch_run(const uint8_t *bytes, size_t length)
{
    struct cursor cursor = {bytes, bytes + length};
    static struct batch batch;

    parse(&batch, &cursor);
    saved_msrs_read();
    for (uint32_t i = 0; i < batch.case_count; i++)
        run_case(&batch, &batch.cases);
}
