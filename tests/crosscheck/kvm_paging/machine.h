/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine without nested VMX, made through the KVM API: memory, one processor, and its CPUID.
 * Source: Linux, "The Definitive KVM (Kernel-based Virtual Machine) API Documentation".
 */
#ifndef KVM_PAGING_MACHINE_H
#define KVM_PAGING_MACHINE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE       4096u
#define MAX_RAM_RANGES  8u
#define MAX_CPUID       256u
#define MAX_REASON_TEXT 160u

/* Ordinary memory: sparse, so that the pages that exist are those that somebody has touched. */
struct ram_range {
    uint64_t gpa, size;
    int file;
    uint8_t *bytes;
};

struct machine {
    int kvm, vm, vcpu;
    struct kvm_run *run;
    size_t run_size;
    struct kvm_sregs2 reset; /* system registers of the new processor */
    struct ram_range ram[MAX_RAM_RANGES];
    size_t ram_count;
    uint8_t *harness; /* harness_size bytes at harness_gpa */
    uint64_t harness_gpa;
    size_t harness_size;
    uint32_t cpuid_count;
    struct kvm_cpuid_entry2 cpuid[MAX_CPUID];
};

/* Why something cannot be done; one line. */
struct reason {
    char text[MAX_REASON_TEXT];
};
bool refuse(struct reason *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Opens KVM at `device` and creates a virtual machine with one processor, which is given every feature that KVM supports.
 * False: this machine cannot, and `why` says so. machine_close in any case.
 */
bool machine_open(struct machine *machine, const char *device, struct reason *why);
void machine_close(struct machine *machine);

/* Adds memory. Neither range may overlap another. */
bool machine_add_ram(struct machine *machine, uint64_t gpa, uint64_t size, struct reason *why);
bool machine_add_harness(struct machine *machine, uint64_t gpa, size_t size, struct reason *why);

/* The `size` bytes at `gpa`, which do not cross a page; NULL: not RAM. */
uint8_t *machine_ram(struct machine *machine, uint64_t gpa, size_t size);

/* All RAM becomes zero, and KVM forgets every translation it keeps. */
bool machine_clear(struct machine *machine, struct reason *why);

typedef bool page_visit(void *context, uint64_t gpa, const uint8_t *bytes);
/* Visits, ascending by address within each range, every page of RAM that was touched. */
bool machine_touched_pages(struct machine *machine, page_visit *visit, void *context);

bool machine_set_state(struct machine *machine, const struct kvm_regs *regs,
                       const struct kvm_sregs2 *sregs, struct reason *why);
bool machine_get_state(struct machine *machine, struct kvm_regs *regs, struct kvm_sregs2 *sregs,
                       struct reason *why);

bool machine_set_xmm0(struct machine *machine, const uint8_t bytes[16], struct reason *why);
bool machine_get_xmm0(struct machine *machine, uint8_t bytes[16], struct reason *why);

/* Runs the processor until it halts; any other end is refused. */
bool machine_run(struct machine *machine, struct reason *why);

const struct kvm_cpuid_entry2 *machine_cpuid(const struct machine *machine, uint32_t leaf,
                                             uint32_t subleaf);
unsigned machine_maxphyaddr(const struct machine *machine);

#endif
