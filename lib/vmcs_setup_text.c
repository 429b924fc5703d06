/* SPDX-License-Identifier: Apache-2.0 */
#include "internal/text.h"
#include "vmxcore/caps.h"
#include "vmxcore/defs/controls.h"
#include "vmxcore/vmcs.h"
#include "vmxcore/vmcs_setup.h"

static const struct {
    enum vmxc_control_word word;
    uint8_t bit;
    const char *name;
} control_names[] = {
#define VMXC_CONTROL(word, bit, name, manual_name) {VMXC_CONTROL_WORD_##word, bit, manual_name},
#include "vmxcore/defs/controls.def"
};

/* The names of the bits that have one, separated by commas. */
static void append_names(struct vmxc_text *text, const struct vmxc_vmcs_missing *missing)
{
    const char *separator = " (";

    for (size_t i = 0; i < sizeof(control_names) / sizeof(control_names[0]); i++) {
        if (vmxc_caps_control_word(control_names[i].word)->encoding != missing->field ||
            !(missing->bits & VMXC_BIT(control_names[i].bit)))
            continue;
        vmxc_text_string(text, separator);
        vmxc_text_string(text, control_names[i].name);
        separator = ", ";
    }
    if (separator[0] == ',')
        vmxc_text_char(text, ')');
}

size_t vmxc_vmcs_missing_format(const struct vmxc_vmcs_missing *missing, char *buffer, size_t size)
{
    const char *const name = vmxc_vmcs_field_name(missing->field);
    struct vmxc_text text = vmxc_text_begin(buffer, size);

    vmxc_text_string(&text, name != NULL ? name : "?");
    vmxc_text_string(&text, ": ");
    vmxc_text_hex(&text, missing->bits);
    append_names(&text, missing);
    return vmxc_text_end(&text);
}
