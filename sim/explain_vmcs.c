/* SPDX-License-Identifier: Apache-2.0 */
/* Two VMCSs side by side, field by field and by the names of the bits that differ. */
#include "internal/explain.h"
#include "internal/words.h"

#include <inttypes.h>
#include <stdlib.h>

struct side {
    const struct vmxsim_vmcs *vmcs;
    const uint64_t *known; /* NULL: all are */
};

struct pair {
    struct side a, b;
};

enum difference { SAME, VALUES_DIFFER, ONLY_IN_A, ONLY_IN_B };

static bool is_known(const struct side *side, size_t ordinal)
{
    return side->known == NULL || (side->known[ordinal / 64] >> (ordinal % 64) & 1) != 0;
}

static enum difference compare(const struct pair *pair, size_t ordinal)
{
    const bool in_a = is_known(&pair->a, ordinal), in_b = is_known(&pair->b, ordinal);

    if (in_a != in_b)
        return in_a ? ONLY_IN_A : ONLY_IN_B;
    return in_a && pair->a.vmcs->value[ordinal] != pair->b.vmcs->value[ordinal] ? VALUES_DIFFER
                                                                                : SAME;
}

static uint32_t count(const struct pair *pair, enum difference wanted)
{
    uint32_t found = 0;

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++)
        found += compare(pair, i) == wanted;
    return found;
}

/* ---- Text ---- */

static void add_difference(struct vmxsim_text *text, const struct pair *pair, size_t ordinal)
{
    const uint64_t a = pair->a.vmcs->value[ordinal], b = pair->b.vmcs->value[ordinal];

    vmxsim_text_add(text, "%s", vmxsim_vmcs_name(ordinal));
    vmxsim_text_pad(text, 40);
    vmxsim_text_add(text, " 0x%" PRIx64 " -> 0x%" PRIx64 "\n", a, b);
    if (!vmxsim_field_has_names(ordinal))
        return;
    vmxsim_text_add(text, "    ");
    vmxsim_phrase_field_change(text, ordinal, a, b);
    vmxsim_text_add(text, "\n");
}

static void add_only(struct vmxsim_text *text, const struct pair *pair, enum difference wanted)
{
    const struct side *const side = wanted == ONLY_IN_A ? &pair->a : &pair->b;

    if (count(pair, wanted) == 0)
        return;
    vmxsim_text_add(text, "known in the %s only:\n", wanted == ONLY_IN_A ? "first" : "second");
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (compare(pair, i) != wanted)
            continue;
        vmxsim_text_add(text, "  %s", vmxsim_vmcs_name(i));
        vmxsim_text_pad(text, 40);
        vmxsim_text_add(text, " 0x%" PRIx64 "\n", side->vmcs->value[i]);
    }
}

char *vmxsim_explain_vmcs_difference(const struct vmxsim_vmcs *a, const uint64_t *known_a,
                                     const struct vmxsim_vmcs *b, const uint64_t *known_b,
                                     uint32_t *different)
{
    const struct pair pair = {.a = {a, known_a}, .b = {b, known_b}};
    struct vmxsim_text text = {.failed = false};

    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (compare(&pair, i) == VALUES_DIFFER)
            add_difference(&text, &pair, i);
    }
    add_only(&text, &pair, ONLY_IN_A);
    add_only(&text, &pair, ONLY_IN_B);
    *different = count(&pair, VALUES_DIFFER);
    vmxsim_text_add(&text,
                    "%" PRIu32 " fields differ, %" PRIu32 " known in the first only, %" PRIu32
                    " in the second only\n",
                    *different, count(&pair, ONLY_IN_A), count(&pair, ONLY_IN_B));
    return vmxsim_text_take(&text);
}

/* ---- JSON ---- */

static void write_difference(struct vmxsim_writer *writer, const struct pair *pair, size_t ordinal)
{
    const uint64_t a = pair->a.vmcs->value[ordinal], b = pair->b.vmcs->value[ordinal];
    struct vmxsim_text change = {.failed = false};

    vmxsim_write_begin(writer, NULL, '{');
    vmxsim_write_string(writer, "name", vmxsim_vmcs_name(ordinal));
    vmxsim_write_hex(writer, "encoding", vmxsim_vmcs_encoding(ordinal));
    vmxsim_write_hex(writer, "first", a);
    vmxsim_write_hex(writer, "second", b);
    if (vmxsim_field_has_names(ordinal)) {
        vmxsim_phrase_field_change(&change, ordinal, a, b);
        char *const bytes = vmxsim_text_take(&change);
        vmxsim_write_string(writer, "change", bytes != NULL ? bytes : "");
        writer->text.failed = writer->text.failed || bytes == NULL;
        free(bytes);
    }
    vmxsim_write_end(writer, '}');
}

static void write_only(struct vmxsim_writer *writer, const char *key, const struct pair *pair,
                       enum difference wanted)
{
    const struct side *const side = wanted == ONLY_IN_A ? &pair->a : &pair->b;

    vmxsim_write_begin(writer, key, '{');
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (compare(pair, i) == wanted)
            vmxsim_write_hex(writer, vmxsim_vmcs_name(i), side->vmcs->value[i]);
    }
    vmxsim_write_end(writer, '}');
}

char *vmxsim_explain_vmcs_difference_json(const struct vmxsim_vmcs *a, const uint64_t *known_a,
                                          const struct vmxsim_vmcs *b, const uint64_t *known_b,
                                          uint32_t *different)
{
    const struct pair pair = {.a = {a, known_a}, .b = {b, known_b}};
    struct vmxsim_writer writer = {.depth = 0};

    vmxsim_write_begin(&writer, NULL, '{');
    vmxsim_write_begin(&writer, "differences", '[');
    for (size_t i = 0; i < VMXC_VMCS_FIELD_COUNT; i++) {
        if (compare(&pair, i) == VALUES_DIFFER)
            write_difference(&writer, &pair, i);
    }
    vmxsim_write_end(&writer, ']');
    write_only(&writer, "only_in_first", &pair, ONLY_IN_A);
    write_only(&writer, "only_in_second", &pair, ONLY_IN_B);
    vmxsim_write_end(&writer, '}');
    *different = count(&pair, VALUES_DIFFER);
    return vmxsim_text_take(&writer.text);
}
