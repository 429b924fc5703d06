/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define HARNESS_SLOT   0u
#define FIRST_RAM_SLOT 1u
#define TICK_SECONDS   1
#define TICKS_TO_HANG  10 /* an experiment takes microseconds */

bool refuse(struct reason *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(why->text, sizeof why->text, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- Creation ---- */

/* KVM lists the APIC ID of the processor that it happens to run on; the guest's own is 0. */
static void set_apic_id(struct kvm_cpuid_entry2 *entry)
{
    switch (entry->function) {
    case 0x1:
        entry->ebx &= 0x00ffffff;
        break;
    case 0xb:
    case 0x1f:
        entry->edx = 0;
        break;
    case 0x8000001e:
        entry->eax = 0;
        break;
    default:
        break;
    }
}

static bool exchange_cpuid(struct machine *machine, struct kvm_cpuid2 *list, struct reason *why)
{
    list->nent = MAX_CPUID;
    if (ioctl(machine->kvm, KVM_GET_SUPPORTED_CPUID, list) != 0)
        return refuse(why, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
    for (uint32_t i = 0; i < list->nent; i++)
        set_apic_id(&list->entries[i]);
    if (ioctl(machine->vcpu, KVM_SET_CPUID2, list) != 0)
        return refuse(why, "KVM_SET_CPUID2: %s", strerror(errno));
    machine->cpuid_count = list->nent;
    memcpy(machine->cpuid, list->entries, list->nent * sizeof *list->entries);
    return true;
}

static bool find_cpuid(struct machine *machine, struct reason *why)
{
    struct kvm_cpuid2 *const list = calloc(1, sizeof *list + sizeof machine->cpuid);

    if (!list)
        return refuse(why, "no host memory left");
    const bool done = exchange_cpuid(machine, list, why);
    free(list);
    return done;
}

static bool create_processor(struct machine *machine, struct reason *why)
{
    const int size = ioctl(machine->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (size < (int)sizeof *machine->run)
        return refuse(why, "KVM_GET_VCPU_MMAP_SIZE: %s", strerror(errno));
    machine->vcpu = ioctl(machine->vm, KVM_CREATE_VCPU, 0);
    if (machine->vcpu < 0)
        return refuse(why, "KVM_CREATE_VCPU: %s", strerror(errno));
    void *const run =
        mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, machine->vcpu, 0);
    if (run == MAP_FAILED)
        return refuse(why, "mapping the processor: %s", strerror(errno));
    machine->run = run;
    machine->run_size = (size_t)size;
    if (ioctl(machine->vcpu, KVM_GET_SREGS2, &machine->reset) != 0)
        return refuse(why, "KVM_GET_SREGS2: %s", strerror(errno));
    return find_cpuid(machine, why);
}

static void on_tick(int signal)
{
    (void)signal; /* its arrival ends KVM_RUN with EINTR */
}

static bool start_ticks(struct reason *why)
{
    const struct sigaction action = {.sa_handler = on_tick};
    const struct itimerval interval = {{TICK_SECONDS, 0}, {TICK_SECONDS, 0}};

    if (sigaction(SIGALRM, &action, NULL) != 0 || setitimer(ITIMER_REAL, &interval, NULL) != 0)
        return refuse(why, "starting a timer: %s", strerror(errno));
    return true;
}

bool machine_open(struct machine *machine, const char *device, struct reason *why)
{
    *machine = (struct machine){.kvm = -1, .vm = -1, .vcpu = -1};
    machine->kvm = open(device, O_RDWR | O_CLOEXEC);
    if (machine->kvm < 0)
        return refuse(why, "%s: %s", device, strerror(errno));
    if (ioctl(machine->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return refuse(why, "%s is not KVM with API version %d", device, KVM_API_VERSION);
    if (ioctl(machine->kvm, KVM_CHECK_EXTENSION, KVM_CAP_SREGS2) <= 0)
        return refuse(why, "KVM has no KVM_SET_SREGS2");
    machine->vm = ioctl(machine->kvm, KVM_CREATE_VM, 0);
    if (machine->vm < 0)
        return refuse(why, "KVM_CREATE_VM: %s", strerror(errno));
    return create_processor(machine, why) && start_ticks(why);
}

void machine_close(struct machine *machine)
{
    if (machine->run)
        (void)munmap(machine->run, machine->run_size);
    if (machine->vcpu >= 0)
        (void)close(machine->vcpu);
    if (machine->vm >= 0)
        (void)close(machine->vm);
    if (machine->kvm >= 0)
        (void)close(machine->kvm);
    if (machine->harness)
        (void)munmap(machine->harness, machine->harness_size);
    for (size_t i = 0; i < machine->ram_count; i++) {
        (void)munmap(machine->ram[i].bytes, machine->ram[i].size);
        (void)close(machine->ram[i].file);
    }
}

/* ---- Memory ---- */

static bool set_slot(struct machine *machine, uint32_t slot, uint64_t gpa, uint64_t size,
                     uint8_t *bytes, struct reason *why)
{
    const struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = gpa,
        .memory_size = size,
        .userspace_addr = (uint64_t)(uintptr_t)bytes,
    };

    if (ioctl(machine->vm, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return refuse(why, "KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
    return true;
}

bool machine_add_ram(struct machine *machine, uint64_t gpa, uint64_t size, struct reason *why)
{
    if (machine->ram_count == MAX_RAM_RANGES)
        return refuse(why, "more than %u ranges of RAM", MAX_RAM_RANGES);
    const int file = memfd_create("ram", MFD_CLOEXEC);
    if (file < 0)
        return refuse(why, "memfd_create: %s", strerror(errno));
    void *bytes = MAP_FAILED;
    if (ftruncate(file, (off_t)size) == 0)
        bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (bytes == MAP_FAILED) {
        (void)close(file);
        return refuse(why, "RAM of 0x%llx bytes: %s", (unsigned long long)size, strerror(errno));
    }
    machine->ram[machine->ram_count] = (struct ram_range){gpa, size, file, bytes};
    machine->ram_count++;
    return set_slot(machine, FIRST_RAM_SLOT + (uint32_t)machine->ram_count - 1, gpa, size, bytes,
                    why);
}

bool machine_add_harness(struct machine *machine, uint64_t gpa, size_t size, struct reason *why)
{
    void *const bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (bytes == MAP_FAILED)
        return refuse(why, "harness: %s", strerror(errno));
    machine->harness = bytes;
    machine->harness_gpa = gpa;
    machine->harness_size = size;
    return set_slot(machine, HARNESS_SLOT, gpa, size, bytes, why);
}

uint8_t *machine_ram(struct machine *machine, uint64_t gpa, size_t size)
{
    for (size_t i = 0; i < machine->ram_count; i++) {
        const struct ram_range *const range = &machine->ram[i];
        if (gpa >= range->gpa && gpa - range->gpa < range->size &&
            range->size - (gpa - range->gpa) >= size)
            return range->bytes + (gpa - range->gpa);
    }
    return NULL;
}

/* Only what was touched: KVM looks at every page of the hole. */
static bool clear_range(const struct ram_range *range, struct reason *why)
{
    off_t at = 0;

    while ((at = lseek(range->file, at, SEEK_DATA)) >= 0) {
        const off_t end = lseek(range->file, at, SEEK_HOLE);
        if (end < 0 ||
            fallocate(range->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, end - at) != 0)
            return refuse(why, "clearing RAM: %s", strerror(errno));
        at = end;
    }
    return true;
}

/*
 * KVM with shadow paging keeps translations by guest table, and does not see this program write to one. Deleting
 * any memory slot drops all of them (KVM_X86_QUIRK_SLOT_ZAP_ALL, which is on unless disabled).
 */
bool machine_clear(struct machine *machine, struct reason *why)
{
    const uint64_t gpa = machine->harness_gpa;

    if (!set_slot(machine, HARNESS_SLOT, gpa, 0, machine->harness, why))
        return false;
    for (size_t i = 0; i < machine->ram_count; i++) {
        if (!clear_range(&machine->ram[i], why))
            return false;
    }
    return set_slot(machine, HARNESS_SLOT, gpa, machine->harness_size, machine->harness, why);
}

static bool visit_range(const struct ram_range *range, page_visit *visit, void *context)
{
    off_t at = 0;

    while ((at = lseek(range->file, at, SEEK_DATA)) >= 0) {
        const off_t end = lseek(range->file, at, SEEK_HOLE);
        for (; at < end; at += PAGE_SIZE) {
            if (!visit(context, range->gpa + (uint64_t)at, range->bytes + at))
                return false;
        }
    }
    return true;
}

bool machine_touched_pages(struct machine *machine, page_visit *visit, void *context)
{
    for (size_t i = 0; i < machine->ram_count; i++) {
        if (!visit_range(&machine->ram[i], visit, context))
            return false;
    }
    return true;
}

/* ---- Processor ---- */

bool machine_set_state(struct machine *machine, const struct kvm_regs *regs,
                       const struct kvm_sregs2 *sregs, struct reason *why)
{
    if (ioctl(machine->vcpu, KVM_SET_SREGS2, sregs) != 0)
        return refuse(why, "KVM does not take this state (KVM_SET_SREGS2: %s)", strerror(errno));
    if (ioctl(machine->vcpu, KVM_SET_REGS, regs) != 0)
        return refuse(why, "KVM_SET_REGS: %s", strerror(errno));
    return true;
}

bool machine_get_state(struct machine *machine, struct kvm_regs *regs, struct kvm_sregs2 *sregs,
                       struct reason *why)
{
    if (ioctl(machine->vcpu, KVM_GET_SREGS2, sregs) != 0 ||
        ioctl(machine->vcpu, KVM_GET_REGS, regs) != 0)
        return refuse(why, "reading the registers: %s", strerror(errno));
    return true;
}

/* ---- The XSAVE area. Source: SDM volume 1, "XSAVE Area". ---- */

#define XSAVE_XMM0 160u
#define XSAVE_BV   512u /* of the header: which state components are not in their initial state */
#define XSAVE_SSE  0x2u
#define XMM_SIZE   16u

static bool get_xsave(struct machine *machine, struct kvm_xsave *area, struct reason *why)
{
    return ioctl(machine->vcpu, KVM_GET_XSAVE, area) == 0 ||
           refuse(why, "KVM_GET_XSAVE: %s", strerror(errno));
}

/* KVM_SET_FPU does not say that the registers are not in their initial state. */
bool machine_set_xmm0(struct machine *machine, const uint8_t bytes[16], struct reason *why)
{
    struct kvm_xsave area;

    if (!get_xsave(machine, &area, why))
        return false;
    memcpy((uint8_t *)area.region + XSAVE_XMM0, bytes, XMM_SIZE);
    ((uint8_t *)area.region)[XSAVE_BV] |= XSAVE_SSE;
    return ioctl(machine->vcpu, KVM_SET_XSAVE, &area) == 0 ||
           refuse(why, "KVM_SET_XSAVE: %s", strerror(errno));
}

bool machine_get_xmm0(struct machine *machine, uint8_t bytes[16], struct reason *why)
{
    struct kvm_xsave area;

    if (!get_xsave(machine, &area, why))
        return false;
    memcpy(bytes, (const uint8_t *)area.region + XSAVE_XMM0, XMM_SIZE);
    return true;
}

/* ---- Running ---- */

/* What was pending when an experiment went wrong must not reach the next one. */
static void forget_events(struct machine *machine)
{
    const struct kvm_vcpu_events none = {.flags = 0};
    const struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

    (void)ioctl(machine->vcpu, KVM_SET_VCPU_EVENTS, &none);
    (void)ioctl(machine->vcpu, KVM_SET_MP_STATE, &runnable);
}

static bool refuse_exit(struct machine *machine, struct reason *why)
{
    const struct kvm_run *const run = machine->run;

    forget_events(machine);
    switch (run->exit_reason) {
    case KVM_EXIT_SHUTDOWN:
        return refuse(why, "the guest shut down");
    case KVM_EXIT_MMIO:
        return refuse(why, "the guest accessed 0x%llx, which is not memory",
                      (unsigned long long)run->mmio.phys_addr);
    case KVM_EXIT_INTERNAL_ERROR:
        return refuse(why, "KVM internal error %u", run->internal.suberror);
    default:
        return refuse(why, "KVM exit %u", run->exit_reason);
    }
}

bool machine_run(struct machine *machine, struct reason *why)
{
    for (int ticks = 0; ticks < TICKS_TO_HANG; ticks++) {
        if (ioctl(machine->vcpu, KVM_RUN, 0) == 0)
            return machine->run->exit_reason == KVM_EXIT_HLT || refuse_exit(machine, why);
        if (errno != EINTR && errno != EAGAIN) {
            forget_events(machine);
            return refuse(why, "KVM_RUN: %s", strerror(errno));
        }
    }
    forget_events(machine);
    return refuse(why, "the guest hangs");
}

/* ---- CPUID ---- */

const struct kvm_cpuid_entry2 *machine_cpuid(const struct machine *machine, uint32_t leaf,
                                             uint32_t subleaf)
{
    for (uint32_t i = 0; i < machine->cpuid_count; i++) {
        const struct kvm_cpuid_entry2 *const entry = &machine->cpuid[i];
        if (entry->function == leaf && entry->index == subleaf)
            return entry;
    }
    return NULL;
}

unsigned machine_maxphyaddr(const struct machine *machine)
{
    const struct kvm_cpuid_entry2 *const sizes = machine_cpuid(machine, 0x80000008, 0);

    return sizes ? sizes->eax & 0xff : 36;
}
