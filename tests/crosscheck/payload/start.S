/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From 32-bit protected mode to C in 64-bit mode; the ways in and out of exceptions and of the guest.
 */
#include "boot.h"

#define CR0_ROOT 0x80000031
#define EFER_MSR 0xc0000080

    .section .start, "ax"
    .code32
    .globl payload_start
payload_start:
    jmp 1f

    .balign 4
    .long 0x1badb002                /* multiboot: modules on page boundaries, memory map */
    .long 3
    .long -(0x1badb002 + 3)

1:  cli
    cld
    mov $stack_top, %esp
    mov %eax, %ebp                  /* magic */
    mov %ebx, %esi                  /* what comes with it */
    mov $payload_bss, %edi
    mov $payload_bss_end, %ecx
    sub %edi, %ecx
    shr $2, %ecx
    xor %eax, %eax
    rep stosl

    mov $0x80000000, %eax           /* is there a 64-bit mode at all? */
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax
    cpuid
    bt $29, %edx
    jnc no_long_mode

    /* Page directories: 2-MByte pages over the first 4 GBytes. */
    mov $page_directories, %edi
    mov $0x83, %eax
    mov $2048, %ecx
2:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    loop 2b
    /* Every entry above them leads there: each canonical address means its lower 32 bits. */
    mov $page_pointers, %edi
    mov $512, %ecx
3:  mov %ecx, %eax
    neg %eax
    and $3, %eax
    shl $12, %eax
    add $(page_directories + 3), %eax
    mov %eax, (%edi)
    add $8, %edi
    loop 3b
    mov $page_root, %edi
    mov $512, %ecx
4:  movl $(page_pointers + 3), (%edi)
    add $8, %edi
    loop 4b

    mov $page_root, %eax
    mov %eax, %cr3
    mov $0x20, %eax
    mov %eax, %cr4
    mov $EFER_MSR, %ecx
    rdmsr
    or $0x100, %eax
    wrmsr
    mov $CR0_ROOT, %eax
    mov %eax, %cr0
    mov $tss, %eax                  /* base of the TSS descriptor */
    mov %ax, gdt + SELECTOR_TSS + 2
    shr $16, %eax
    mov %al, gdt + SELECTOR_TSS + 4
    mov %ah, gdt + SELECTOR_TSS + 7
    lgdt gdt_register
    ljmp $SELECTOR_CODE, $start64

/* The one line, without any of the rest. */
no_long_mode:
    mov $no_long_mode_text, %esi
5:  lodsb
    test %al, %al
    jz 6f
    out %al, $0xe9
    jmp 5b
6:  mov $0x31, %al
    out %al, $0xf4
    hlt
    jmp 6b
no_long_mode_text:
    .asciz "payload: no VMX: the processor has no 64-bit mode\n"

    .code64
start64:
    call load_segments
    mov $SELECTOR_TSS, %ax
    ltr %ax
    mov %ebp, %edi
    mov %esi, %esi
    call payload_main
7:  hlt
    jmp 7b

load_segments:
    mov $SELECTOR_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    ret

    .text
/* ---- Exceptions: each gate pushes its vector; trap_common hands the frame to C ---- */

    .altmacro
    .macro gate number
    .balign 16
    .if (\number == 8) || (\number >= 10 && \number <= 14) || (\number == 17) || (\number == 21) || (\number == 29) || (\number == 30)
    .else
    push $0
    .endif
    push $\number
    jmp trap_common
    .endm

    .globl trap_gates
    .balign 16
trap_gates:
    .set vector, 0
    .rept 32
    gate %vector
    .set vector, vector + 1
    .endr

/* Stack: vector, error code, RIP, CS, RFLAGS, RSP, SS. */
trap_common:
    cmpl $2, (%rsp)                 /* NMI: forget it */
    je 1f
    pop trap_caught
    pop trap_caught + 8
    pop trap_caught + 16
    mov trap_recovery, %rax
    test %rax, %rax
    jz 2f
    mov %rax, %rsp                  /* back to where trap_run was called, which then returns 1 */
    mov $1, %eax
    jmp trap_leave
1:  add $16, %rsp
    iretq
2:  call trap_unexpected

/* int trap_run(void (*body)(void *), void *argument): 0, or 1 if an exception ended body. */
    .globl trap_run
trap_run:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push trap_recovery
    mov %rsp, trap_recovery
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    xor %eax, %eax
trap_leave:
    pop trap_recovery
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

/* ---- The guest ---- */

/*
 * int guest_enter(int resume): VMLAUNCH or VMRESUME with the registers in guest_gprs. 1: VMfailInvalid, 2: VMfailValid,
 * 4: a VM exit, which came back through guest_exit. HOST_RIP and HOST_RSP are whatever the VMCS holds.
 */
    .globl guest_enter
guest_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, guest_stack
    test %edi, %edi
    mov guest_gprs + 8, %rcx
    mov guest_gprs + 16, %rdx
    mov guest_gprs + 24, %rbx
    mov guest_gprs + 40, %rbp
    mov guest_gprs + 48, %rsi
    mov guest_gprs + 56, %rdi
    mov guest_gprs + 64, %r8
    mov guest_gprs + 72, %r9
    mov guest_gprs + 80, %r10
    mov guest_gprs + 88, %r11
    mov guest_gprs + 96, %r12
    mov guest_gprs + 104, %r13
    mov guest_gprs + 112, %r14
    mov guest_gprs + 120, %r15
    mov guest_gprs, %rax
    jnz 1f
    vmlaunch
    jmp 2f
1:  vmresume
2:  mov $1, %eax
    mov $2, %ecx
    cmovz %ecx, %eax
3:  mov guest_stack, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

/*
 * Where each VM exit arrives, by way of a jump at the HOST_RIP of the experiment. Nothing can be relied on but CR3: RSP
 * is anything, control registers and tables are those of the host-state area.
 */
    .globl guest_exit
guest_exit:
    mov %rax, guest_gprs
    mov %rcx, guest_gprs + 8
    mov %rdx, guest_gprs + 16
    mov %rbx, guest_gprs + 24
    mov %rbp, guest_gprs + 40
    mov %rsi, guest_gprs + 48
    mov %rdi, guest_gprs + 56
    mov %r8, guest_gprs + 64
    mov %r9, guest_gprs + 72
    mov %r10, guest_gprs + 80
    mov %r11, guest_gprs + 88
    mov %r12, guest_gprs + 96
    mov %r13, guest_gprs + 104
    mov %r14, guest_gprs + 112
    mov %r15, guest_gprs + 120
    in $0x92, %al                   /* A guest's OUT may have switched A20 off. */
    test $2, %al
    jnz 4f
    or $2, %al
    and $0xfe, %al
    out %al, $0x92
4:  mov root_cr4, %rax
    mov %rax, %cr4
    mov root_cr0, %rax
    mov %rax, %cr0
    mov $page_root, %eax
    mov %rax, %cr3
    mov guest_stack, %rsp
    lgdt gdt_register
    lidt idt_register
    pushq $SELECTOR_DATA            /* IRET, because it ends blocking by NMI as well */
    pushq guest_stack
    pushq $2
    pushq $SELECTOR_CODE
    pushq $5f
    iretq
5:  call load_segments
    andb $0xfd, gdt + SELECTOR_TSS + 5
    mov $SELECTOR_TSS, %eax
    ltr %ax
    mov $4, %eax
    jmp 3b

/*
 * int page_differs(const void *left, const void *right): whether two pages differ. Eight times 16 bytes per turn; the
 * caller has set CR4.OSFXSR.
 */
    .globl page_differs
page_differs:
    pxor %xmm0, %xmm0
    mov $32, %ecx
6:
    .irp offset, 0, 16, 32, 48, 64, 80, 96, 112
    movdqa \offset(%rdi), %xmm1
    pxor \offset(%rsi), %xmm1
    por %xmm1, %xmm0
    .endr
    add $128, %rdi
    add $128, %rsi
    dec %ecx
    jnz 6b
    packsswb %xmm0, %xmm0
    movq %xmm0, %rcx
    xor %eax, %eax
    test %rcx, %rcx
    setnz %al
    ret

/* What is copied to the address in HOST_RIP. */
    .globl landing_code, landing_code_end
landing_code:
    endbr64
    jmp *landing_target
landing_code_end:

/* A guest that does nothing but leave. */
    .globl idle_guest
idle_guest:
    vmcall

    .section .rodata
    .balign 8
landing_target:
    .quad guest_exit

    .data
    .balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x0000890000000067        /* TSS; the base is filled in */
    .quad 0
    .globl gdt_register
gdt_register:
    .word gdt_register - gdt - 1
    .quad gdt
    .globl root_cr0, root_cr4
    .balign 8
root_cr0:
    .quad CR0_ROOT
root_cr4:
    .quad 0x20

    .bss
    .balign 4096
    .globl page_root
page_root:
    .skip 4096
page_pointers:
    .skip 4096
page_directories:
    .skip 4 * 4096
    .skip 32768
stack_top:
    .balign 16
tss:
    .skip 0x68
    .globl guest_gprs, trap_caught, idt_register
guest_gprs:
    .skip 128
guest_stack:
    .skip 8
trap_caught:
    .skip 24
trap_recovery:
    .skip 8
idt_register:
    .skip 16
