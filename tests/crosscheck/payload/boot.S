/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot sector and loader of the raw image. The BIOS loads the first sector to 7C00H; that loads the sectors behind it,
 * and then with INT 13H extensions whatever the table of regions names, to addresses above 1 MByte.
 *
 *     sector 0        boot sector, table of regions at its offset 180H
 *     sectors 1 - 3   the rest of this file
 *     from sector 4   the payload, then the batch
 *
 * Ends in 32-bit protected mode at the payload's first byte, EAX = BOOT_MAGIC_RAW, EBX = address of the table.
 */
#include "boot.h"

    .code16
    .section .text
    .globl boot
boot:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    ljmp $0, $1f
1:  sti
    cld
    mov %dl, drive
    mov $0x41, %ah                  /* are there INT 13H extensions? */
    mov $0x55aa, %bx
    int $0x13
    jc no_extensions
    cmp $0xaa55, %bx
    jne no_extensions
    movw $3, packet_count
    movw $0x7e00, packet_offset
    movw $0, packet_segment
    movl $1, packet_lba
    call read_sectors
    jmp loader

no_extensions:
    mov $no_extensions_text, %si
    jmp fail

read_sectors:                       /* as the packet says; does not return from an error */
    mov $packet, %si
    mov drive, %dl
    mov $0x42, %ah
    int $0x13
    jc 1f
    ret
1:  mov $read_error_text, %si
fail:
    lodsb
    test %al, %al
    jz 2f
    out %al, $0xe9
    mov $0x0e, %ah
    mov $7, %bx
    int $0x10
    jmp fail
2:  hlt
    jmp 2b

no_extensions_text:
    .asciz "payload: this BIOS has no INT 13H extensions\r\n"
read_error_text:
    .asciz "payload: the disk cannot be read\r\n"
drive:
    .byte 0

    .balign 4
packet:
    .word 16
packet_count:
    .word 0
packet_offset:
    .word 0
packet_segment:
    .word 0
packet_lba:
    .quad 0

    .org BOOT_REGIONS_OFFSET
regions:                            /* filled in when the image is made: first sector, sectors, address */
    .fill BOOT_REGION_COUNT * 3, 4, 0

    .org 510
    .word 0xaa55

/* ---- The loader ---- */

#define BUFFER_SEGMENT 0x1000
#define BUFFER_SECTORS 64

loader:
    in $0x92, %al                   /* A20 */
    or $2, %al
    and $0xfe, %al
    out %al, $0x92
    mov $regions, %bp
next_region:
    cmp $(regions + BOOT_REGION_COUNT * 12), %bp
    je enter_payload
    mov 8(%bp), %edi
next_piece:
    mov 4(%bp), %ecx
    test %ecx, %ecx
    jz region_done
    cmp $BUFFER_SECTORS, %ecx
    jbe 1f
    mov $BUFFER_SECTORS, %ecx
1:  mov %cx, packet_count
    movw $0, packet_offset
    movw $BUFFER_SEGMENT, packet_segment
    mov 0(%bp), %eax
    mov %eax, packet_lba
    push %ecx
    push %edi
    push %bp
    call read_sectors
    pop %bp
    pop %edi
    pop %ecx
    add %ecx, 0(%bp)
    sub %ecx, 4(%bp)
    shl $7, %ecx                    /* doublewords */
    call copy_up
    jmp next_piece
region_done:
    add $12, %bp
    jmp next_region

/* ECX doublewords from the buffer to linear EDI, which moves on. Segments with 4 GBytes for the time of the copy. */
copy_up:
    cli
    lgdt gdt_register
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    jmp 1f
1:  mov $0x10, %bx
    mov %bx, %ds
    mov %bx, %es
    and $0xfe, %al
    mov %eax, %cr0
    jmp 2f
2:  xor %bx, %bx
    mov %bx, %ds
    mov %bx, %es
    mov $(BUFFER_SEGMENT * 16), %esi
    .byte 0x67                      /* 32-bit addresses */
    rep movsl
    sti
    ret

enter_payload:
    cli
    lgdt gdt_register
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $protected

    .code32
protected:
    mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $BOOT_MAGIC_RAW, %eax
    mov $regions, %ebx
    mov $PAYLOAD_ADDRESS, %ecx
    jmp *%ecx

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
gdt_register:
    .word gdt_register - gdt - 1
    .long gdt

    .org BOOT_SECTORS * 512
