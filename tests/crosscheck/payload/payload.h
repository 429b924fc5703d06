/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The payload's own interfaces: console, exceptions, memory under experiment, batch, experiments.
 *
 *     payload_main -> batch_run -> guest_case_run          kinds access, entry, intercept
 *                               -> instructions_case_run   kind instructions
 *                               -> capture_run             the machine's capabilities
 *                               -> example_run             the hypervisor of examples/
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot.h"
#include "vmxcore/hal.h"
#include "vmxcore/insn_ops.h"

/* ---- Console: one line per experiment, to port E9H and, where there is one, to the first serial port ---- */

void console_init(void);
void console_text(const char *text);
void console_hex(uint64_t value);
void console_number(uint64_t value);
void console_key(const char *key, uint64_t value); /* " key=value", hexadecimal; 0: nothing */
void console_show(void);                           /* sends what there is of the line */
void console_flush(void);                          /* ends the line */
void console_print(const char *format, ...) VMXC_PRINTF(1, 2);

/* Ends the machine: Bochs, then QEMU, then HLT. */
_Noreturn void machine_end(uint8_t code);

/* ---- Ports, and the watchdog over guests ---- */

void out8(uint16_t port, uint8_t value);
uint8_t in8(uint16_t port);
void watchdog_init(void);
void watchdog_start(void);
void watchdog_stop(void);

/* ---- Exceptions ---- */

/* The last exception that trap_run caught. */
extern struct trap {
    uint64_t vector, error_code, rip;
} trap_caught;

int trap_run(void (*body)(void *), void *argument); /* 0, or 1 if an exception ended body */
void trap_init(void);
_Noreturn void trap_unexpected(void);
bool trap_has_error_code(uint64_t vector);

/* ---- Processor ---- */

extern uint64_t root_cr0, root_cr4; /* what guest_exit loads */
extern struct vmxc_gprs guest_gprs;
extern uint8_t page_root[], idle_guest[];

enum vmxc_insn_result guest_enter(int resume);
void landing_keep(uint64_t host_rip, uint64_t host_cr3);
bool landing_is_kept(uint64_t host_rip, uint64_t host_cr3);
void landing_place(uint64_t host_rip, uint64_t host_cr3);
void landing_remove(uint64_t host_rip, uint64_t host_cr3);

struct root_state {
    uint64_t cr0, cr4, efer;
};
void root_state_set(const struct root_state *state);
void saved_msrs_read(void);
void saved_msrs_restore(void);
bool msr_read(uint32_t msr, uint64_t *value);
bool msr_write(uint32_t msr, uint64_t value);
bool cpu_has_pku(void);

/* ---- Reading the batch ---- */

struct cursor {
    const uint8_t *next, *end;
};
uint8_t take_u8(struct cursor *cursor);
uint16_t take_u16(struct cursor *cursor);
uint32_t take_u32(struct cursor *cursor);
uint64_t take_u64(struct cursor *cursor);
const uint8_t *take_bytes(struct cursor *cursor, size_t length);

struct batch {
    uint64_t vmxon_hpa, vmcs_hpa;
    uint32_t field_count, vmcs_count, page_count, memory_count, root_count;
    const uint8_t *fields;      /* u32 each: the fields that a template gives */
    const uint8_t *vmcs_values; /* u64 each: template by template, in the order of `fields` */
    const uint8_t *pages;       /* u64 each: the pages that experiments use */
    struct cursor memory[32];   /* templates: u32 page and word, u64 value */
    struct root_state roots[16];
    struct cursor cases;
    uint32_t case_count;
};
void batch_run(const uint8_t *bytes, size_t length);

/* ---- Memory under experiment: what is there, and beside it what the vector says should be ---- */

void heap_init(uint64_t start);
void *heap_take(uint64_t size); /* aligned to a page */
const struct vmxc_hal *heap_hal(void);

void memory_init(const struct batch *batch);
void memory_use_template(uint32_t number);
void memory_apply(struct cursor *cursor, uint32_t count); /* changes of one case */
void memory_undo(void);
int page_differs(const void *left, const void *right);
void memory_report(struct cursor *pages, uint32_t count); /* what differs; and puts it back */
void memory_restore(struct cursor *pages, uint32_t count);

/* ---- Experiments ---- */

enum vmxc_insn_result raw_invept(uint64_t type, uint64_t low, uint64_t high);
enum vmxc_insn_result raw_invvpid(uint64_t type, uint64_t low, uint64_t high);
void vmx_leave(void);
bool vmcs_load(const struct batch *batch);
/* VMWRITE of `count` fields, each an encoding and a value. */
void vmcs_write_fields(struct cursor *fields, uint32_t count);
void guest_case_run(const struct batch *batch, uint32_t number, struct cursor *cursor);
void instructions_case_run(const struct batch *batch, uint32_t number, struct cursor *cursor);
void capture_run(const struct batch *batch);
void example_run(void);

#endif
