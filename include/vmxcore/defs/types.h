/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address kinds, the page size and the attribute macros that every other header uses.
 *
 * The kind of an address is part of each variable's name as well (`gpa`, `table_hpa`): the types
 * below are documentation for the reader, not protection by the compiler.
 */
#ifndef VMXC_DEFS_TYPES_H
#define VMXC_DEFS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t vmxc_hpa_t; /* host-physical address: what a frame allocator hands out */
typedef uint64_t vmxc_gpa_t; /* guest-physical address: what EPT translates */
typedef uint64_t vmxc_gva_t; /* guest-linear address: what guest paging translates */

#define VMXC_PAGE_SHIFT 12u
#define VMXC_PAGE_SIZE  UINT64_C(0x1000)
#define VMXC_PAGE_MASK  UINT64_C(0xfff) /* the offset within a 4-KByte page */

#define VMXC_PAGE_SIZE_4K UINT64_C(0x1000)
#define VMXC_PAGE_SIZE_2M UINT64_C(0x200000)
#define VMXC_PAGE_SIZE_1G UINT64_C(0x40000000)

/* The widest physical address the paging and EPT entry formats can hold. */
#define VMXC_MAXPHYADDR_LIMIT 52u

#if defined(__GNUC__) || defined(__clang__)
#define VMXC_MUST_CHECK        __attribute__((warn_unused_result))
#define VMXC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VMXC_MUST_CHECK
#define VMXC_PRINTF(fmt, args)
#endif

#endif
