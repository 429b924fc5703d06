/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per instruction, x86-64. VMX instructions report in the flags: CF is VMfailInvalid, ZF is VMfailValid.
 */
#include "vmxcore/insn_native.h"

#include "vmxcore/defs/segments.h"
#include "vmxcore/defs/vmcs.h"

/* Outputs for the two flags, and what they mean. */
#define VMX_FLAGS(invalid, valid) "=@ccc"(invalid), "=@ccz"(valid)

static enum vmxc_insn_result result_of(bool fail_invalid, bool fail_valid)
{
    if (fail_invalid)
        return VMXC_INSN_FAIL_INVALID;
    return fail_valid ? VMXC_INSN_FAIL_VALID : VMXC_INSN_SUCCEEDED;
}

/* ---- Regions and fields ---- */

static enum vmxc_insn_result native_vmxon(void *context, vmxc_hpa_t region_hpa)
{
    bool invalid, valid;

    (void)context;
    __asm__ volatile("vmxon %2" : VMX_FLAGS(invalid, valid) : "m"(region_hpa) : "memory");
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_vmxoff(void *context)
{
    bool invalid, valid;

    (void)context;
    __asm__ volatile("vmxoff" : VMX_FLAGS(invalid, valid) : : "memory");
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_vmclear(void *context, vmxc_hpa_t region_hpa)
{
    bool invalid, valid;

    (void)context;
    __asm__ volatile("vmclear %2" : VMX_FLAGS(invalid, valid) : "m"(region_hpa) : "memory");
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_vmptrld(void *context, vmxc_hpa_t region_hpa)
{
    bool invalid, valid;

    (void)context;
    __asm__ volatile("vmptrld %2" : VMX_FLAGS(invalid, valid) : "m"(region_hpa) : "memory");
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_vmptrst(void *context, vmxc_hpa_t *region_hpa)
{
    bool invalid, valid;
    vmxc_hpa_t current_hpa = 0;

    (void)context;
    __asm__ volatile("vmptrst %2" : VMX_FLAGS(invalid, valid), "+m"(current_hpa) : : "memory");
    if (!invalid && !valid)
        *region_hpa = current_hpa;
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_vmread(void *context, uint32_t field, uint64_t *value)
{
    const uint64_t encoding = field;
    bool invalid, valid;
    uint64_t read = 0;

    (void)context;
    __asm__ volatile("vmread %3, %2" : VMX_FLAGS(invalid, valid), "+r"(read) : "r"(encoding));
    if (!invalid && !valid)
        *value = read;
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_vmwrite(void *context, uint32_t field, uint64_t value)
{
    const uint64_t encoding = field;
    bool invalid, valid;

    (void)context;
    __asm__ volatile("vmwrite %2, %3"
                     : VMX_FLAGS(invalid, valid)
                     : "r"(value), "r"(encoding)
                     : "memory");
    return result_of(invalid, valid);
}

/* ---- Invalidation ---- */

struct descriptor {
    uint64_t low, high;
};

static enum vmxc_insn_result native_invept(void *context, uint64_t type, uint64_t eptp)
{
    const struct descriptor descriptor = {eptp, 0};
    bool invalid, valid;

    (void)context;
    __asm__ volatile("invept %2, %3"
                     : VMX_FLAGS(invalid, valid)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    return result_of(invalid, valid);
}

static enum vmxc_insn_result native_invvpid(void *context, uint64_t type, uint16_t vpid,
                                            vmxc_gva_t linear)
{
    const struct descriptor descriptor = {vpid, linear};
    bool invalid, valid;

    (void)context;
    __asm__ volatile("invvpid %2, %3"
                     : VMX_FLAGS(invalid, valid)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    return result_of(invalid, valid);
}

/* ---- VM entry ---- */

/*
 * rdi: the guest's registers; esi: 0 VMLAUNCH, otherwise VMRESUME.
 *
 *     HOST_RSP ->  address of the guest's registers       A VM exit continues at 3 with this stack and the guest's
 *                  r15 r14 r13 r12 rbp rbx                registers; a failure continues behind the instruction.
 *                  return address
 *
 * The test comes before the registers are loaded because MOV leaves the flags alone.
 */
enum vmxc_insn_result vmxc_native_enter(struct vmxc_gprs *gprs, uint32_t resume);

#define HOST_RSP_FIELD "0x6c14"
#define HOST_RIP_FIELD "0x6c16"
_Static_assert(VMXC_VMCS_HOST_RSP == 0x6c14 && VMXC_VMCS_HOST_RIP == 0x6c16, "fields of the stub");
_Static_assert(VMXC_GPR_RBP == 5 && VMXC_GPR_RDI == 7 && VMXC_GPR_R15 == 15, "offsets of the stub");
_Static_assert(VMXC_INSN_FAIL_INVALID == 1 && VMXC_INSN_FAIL_VALID == 2 && VMXC_INSN_VM_EXIT == 4,
               "results of the stub");

/* clang-format off */
__asm__(".text\n"
        ".globl vmxc_native_enter\n"
        ".hidden vmxc_native_enter\n"
        ".type vmxc_native_enter, @function\n"
        "vmxc_native_enter:\n"
        "    push %rbx\n"
        "    push %rbp\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    push %rdi\n"
        "    mov $" HOST_RSP_FIELD ", %eax\n"
        "    vmwrite %rsp, %rax\n"
        "    jbe 2f\n"
        "    mov $" HOST_RIP_FIELD ", %eax\n"
        "    lea 3f(%rip), %rcx\n"
        "    vmwrite %rcx, %rax\n"
        "    jbe 2f\n"
        "    test %esi, %esi\n"
        "    mov 0(%rdi), %rax\n"
        "    mov 8(%rdi), %rcx\n"
        "    mov 16(%rdi), %rdx\n"
        "    mov 24(%rdi), %rbx\n"
        "    mov 40(%rdi), %rbp\n"
        "    mov 48(%rdi), %rsi\n"
        "    mov 64(%rdi), %r8\n"
        "    mov 72(%rdi), %r9\n"
        "    mov 80(%rdi), %r10\n"
        "    mov 88(%rdi), %r11\n"
        "    mov 96(%rdi), %r12\n"
        "    mov 104(%rdi), %r13\n"
        "    mov 112(%rdi), %r14\n"
        "    mov 120(%rdi), %r15\n"
        "    mov 56(%rdi), %rdi\n"
        "    jnz 1f\n"
        "    vmlaunch\n"
        "    jmp 2f\n"
        "1:  vmresume\n"
        /* VMfail: ZF tells which. */
        "2:  mov $1, %eax\n"
        "    mov $2, %ecx\n"
        "    cmovz %ecx, %eax\n"
        "    pop %rdi\n"
        "    jmp 4f\n"
        /* VM exit. */
        "3:  xchg %rdi, (%rsp)\n"
        "    mov %rax, 0(%rdi)\n"
        "    mov %rcx, 8(%rdi)\n"
        "    mov %rdx, 16(%rdi)\n"
        "    mov %rbx, 24(%rdi)\n"
        "    mov %rbp, 40(%rdi)\n"
        "    mov %rsi, 48(%rdi)\n"
        "    mov %r8, 64(%rdi)\n"
        "    mov %r9, 72(%rdi)\n"
        "    mov %r10, 80(%rdi)\n"
        "    mov %r11, 88(%rdi)\n"
        "    mov %r12, 96(%rdi)\n"
        "    mov %r13, 104(%rdi)\n"
        "    mov %r14, 112(%rdi)\n"
        "    mov %r15, 120(%rdi)\n"
        "    pop %rax\n"
        "    mov %rax, 56(%rdi)\n"
        "    mov $4, %eax\n"
        "4:  pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbp\n"
        "    pop %rbx\n"
        "    ret\n"
        ".size vmxc_native_enter, . - vmxc_native_enter\n");
/* clang-format on */

static enum vmxc_insn_result native_vmlaunch(void *context, struct vmxc_gprs *gprs)
{
    (void)context;
    return vmxc_native_enter(gprs, 0);
}

static enum vmxc_insn_result native_vmresume(void *context, struct vmxc_gprs *gprs)
{
    (void)context;
    return vmxc_native_enter(gprs, 1);
}

/* ---- Registers ---- */

static enum vmxc_insn_result native_rdmsr(void *context, uint32_t msr, uint64_t *value)
{
    uint32_t low, high;

    (void)context;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    *value = (uint64_t)high << 32 | low;
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result native_wrmsr(void *context, uint32_t msr, uint64_t value)
{
    (void)context;
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return VMXC_INSN_SUCCEEDED;
}

static uint64_t native_read_cr0(void *context)
{
    uint64_t value;

    (void)context;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static uint64_t native_read_cr3(void *context)
{
    uint64_t value;

    (void)context;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

static uint64_t native_read_cr4(void *context)
{
    uint64_t value;

    (void)context;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static enum vmxc_insn_result native_write_cr0(void *context, uint64_t value)
{
    (void)context;
    __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result native_write_cr3(void *context, uint64_t value)
{
    (void)context;
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
    return VMXC_INSN_SUCCEEDED;
}

static enum vmxc_insn_result native_write_cr4(void *context, uint64_t value)
{
    (void)context;
    __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
    return VMXC_INSN_SUCCEEDED;
}

static void native_cpuid(void *context, uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    (void)context;
    __asm__ volatile("cpuid"
                     : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]),
                       "=d"(registers[3])
                     : "a"(leaf), "c"(subleaf));
}

/* ---- Segments ---- */

/* What SGDT and SIDT store: a limit of 16 bits, then the base, not aligned. */
struct table_register {
    uint16_t limit;
    uint16_t base[4];
};

static uint64_t table_base(const struct table_register *table)
{
    return table->base[0] | (uint64_t)table->base[1] << 16 | (uint64_t)table->base[2] << 32 |
           (uint64_t)table->base[3] << 48;
}

/* Base of a 16-byte system descriptor: bits 39:16 and 63:56 of the first quadword, then 31:0 of the second. */
static uint64_t system_segment_base(uint64_t gdt_base, uint16_t selector)
{
    const uint64_t *const descriptor =
        (const uint64_t *)(uintptr_t)(gdt_base + (selector & VMXC_SELECTOR_INDEX));

    return VMXC_FIELD_GET(descriptor[0], VMXC_BITS(39, 16)) |
           VMXC_FIELD_GET(descriptor[0], VMXC_BITS(63, 56)) << 24 | descriptor[1] << 32;
}

static void native_segments(void *context, struct vmxc_host_segments *segments)
{
    struct table_register gdtr, idtr;

    (void)context;
    __asm__ volatile("mov %%es, %0" : "=r"(segments->es));
    __asm__ volatile("mov %%cs, %0" : "=r"(segments->cs));
    __asm__ volatile("mov %%ss, %0" : "=r"(segments->ss));
    __asm__ volatile("mov %%ds, %0" : "=r"(segments->ds));
    __asm__ volatile("mov %%fs, %0" : "=r"(segments->fs));
    __asm__ volatile("mov %%gs, %0" : "=r"(segments->gs));
    __asm__ volatile("str %0" : "=r"(segments->tr));
    __asm__ volatile("sgdt %0" : "=m"(gdtr));
    __asm__ volatile("sidt %0" : "=m"(idtr));
    segments->gdtr_base = table_base(&gdtr);
    segments->idtr_base = table_base(&idtr);
    segments->tr_base = system_segment_base(segments->gdtr_base, segments->tr);
}

/* ---- The instance ---- */

const struct vmxc_insn_ops vmxc_insn_native = {
    .context = NULL,
    .vmxon = native_vmxon,
    .vmxoff = native_vmxoff,
    .vmclear = native_vmclear,
    .vmptrld = native_vmptrld,
    .vmptrst = native_vmptrst,
    .vmread = native_vmread,
    .vmwrite = native_vmwrite,
    .vmlaunch = native_vmlaunch,
    .vmresume = native_vmresume,
    .invept = native_invept,
    .invvpid = native_invvpid,
    .rdmsr = native_rdmsr,
    .wrmsr = native_wrmsr,
    .read_cr0 = native_read_cr0,
    .read_cr3 = native_read_cr3,
    .read_cr4 = native_read_cr4,
    .write_cr0 = native_write_cr0,
    .write_cr3 = native_write_cr3,
    .write_cr4 = native_write_cr4,
    .cpuid = native_cpuid,
    .segments = native_segments,
};
