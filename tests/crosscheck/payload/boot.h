/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the boot code, the payload and the maker of images agree on. For C and for assembly.
 */
#ifndef PAYLOAD_BOOT_H
#define PAYLOAD_BOOT_H

#define BOOT_SECTORS        4
#define BOOT_REGIONS_OFFSET 0x180
#define BOOT_REGION_COUNT   2          /* the payload, the batch */
#define BOOT_MAGIC_RAW      0x77617276 /* in EAX: started from the raw image */
#define BOOT_MAGIC_LOADER   0x2badb002 /* in EAX: started by a multiboot loader */

/* Bit 20 is clear in all of the payload: it survives a guest that switches A20 off. */
#define PAYLOAD_ADDRESS 0x200000
#define PAYLOAD_END     0x300000

/* The batch, then what the payload allocates. */
#define BATCH_ADDRESS 0x60000000
#define HEAP_END      0x7f000000

/* Selectors. */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

#endif
