/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory by guest-physical address: nothing moves unless everything may, and never a byte of anything but the
 * areas named.
 */
#include <string.h>

#include "support/guest_areas.h"
#include "support/rng.h"
#include "support/suite.h"

static uint64_t host_word(vmxc_hpa_t hpa)
{
    return vmxsim_memory_read64(memory, hpa);
}

/* ---- Ranges that must be refused ---- */

static const struct bad_range {
    const char *what;
    uint64_t gpa, length;
    enum vmxc_status read, write;
} bad_ranges[] = {
    {"length 0", LINEAR_GPA, 0, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},
    {"wraps", UINT64_MAX, 2, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},
    {"wraps far", LINEAR_GPA + 2, UINT64_MAX, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},
    {"all that there is", LINEAR_GPA, UINT64_MAX, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},
    {"outside the space", SPACE_SIZE, 1, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},
    {"last byte of everything", UINT64_MAX, 1, VMXC_INVALID_INPUT, VMXC_INVALID_INPUT},
    {"hole", HOLE_GPA, 1, VMXC_NOT_FOUND, VMXC_NOT_FOUND},
    {"runs into a hole", R_O_GPA + 0xfff, 2, VMXC_NOT_FOUND, VMXC_DENIED},
    {"starts in a hole", HOLE_GPA + 0xfff, 2, VMXC_NOT_FOUND, VMXC_NOT_FOUND},
    {"no access", NONE_GPA, 8, VMXC_DENIED, VMXC_DENIED},
    {"execute-only", X_O_GPA, 8, VMXC_DENIED, VMXC_DENIED},
    {"runs into execute-only", NONE_GPA + 0xff8, 16, VMXC_DENIED, VMXC_DENIED},
    {"device without a pointer", DEVICE_GPA + 8, 8, VMXC_NOT_BACKED, VMXC_NOT_BACKED},
    {"long, and then a hole", LONG_GPA, LONG_SIZE + 1, VMXC_NOT_FOUND, VMXC_NOT_FOUND},
    {"17 pages, the last a hole", LONG_GPA + LONG_SIZE - 0x10000 + 1, 0x10000, VMXC_NOT_FOUND,
     VMXC_NOT_FOUND},
};

START_TEST(a_refused_read_touches_nothing)
{
    const struct bad_range *const row = &bad_ranges[_i];

    /* A length the buffer could not hold never gets that far. */
    memset(buffer, 0xa5, sizeof buffer);
    ck_assert_msg(vmxc_guest_mem_read(&space, row->gpa, buffer, row->length) == row->read, "%s",
                  row->what);
    ck_assert_msg(vmxc_guest_mem_probe(&space, row->gpa, row->length, VMXC_MAP_READ) == row->read ||
                      row->read == VMXC_NOT_BACKED,
                  "%s", row->what);
    ck_assert(all_bytes_are(buffer, sizeof buffer, 0xa5));
}
END_TEST

/* Every byte of the areas that hold data is `byte`. */
static void fill_all(uint8_t byte)
{
    uint8_t page[4096];

    memset(page, byte, sizeof page);
    for (uint64_t offset = 0; offset < 0x4000; offset += sizeof page)
        vmxsim_memory_write(memory, LINEAR_HPA + offset, page, sizeof page);
    vmxsim_memory_write(memory, R_O_HPA, page, sizeof page);
    vmxsim_memory_write(memory, X_O_HPA, page, sizeof page);
    ck_assert_int_eq(vmxc_guest_mem_fill(&space, LAZY_GPA, byte, 0x4000), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_fill(&space, LONG_GPA, byte, LONG_SIZE), VMXC_OK);
}

static void check_all(uint8_t byte)
{
    uint8_t page[4096];

    for (uint64_t gpa = LINEAR_GPA; gpa < HOLE_GPA; gpa += sizeof page) {
        ck_assert_int_eq(vmxc_guest_mem_read(&space, gpa, page, sizeof page), VMXC_OK);
        ck_assert(all_bytes_are(page, sizeof page, byte));
    }
    vmxsim_memory_read(memory, X_O_HPA, page, sizeof page);
    ck_assert(all_bytes_are(page, sizeof page, byte));
    ck_assert_int_eq(vmxc_guest_mem_read(&space, LONG_GPA, buffer, LONG_SIZE), VMXC_OK);
    ck_assert(all_bytes_are(buffer, LONG_SIZE, byte));
}

START_TEST(a_refused_store_touches_nothing)
{
    const struct bad_range *const row = &bad_ranges[_i];

    fill_all(0x5a);
    memset(buffer, 0xa5, sizeof buffer);
    memset(&dirty, 0, sizeof dirty);
    ck_assert_msg(vmxc_guest_mem_write(&space, row->gpa, buffer, row->length) == row->write, "%s",
                  row->what);
    ck_assert_int_eq(vmxc_guest_mem_fill(&space, row->gpa, 0xff, row->length), row->write);
    ck_assert_uint_eq(dirty.calls, 0);
    check_all(0x5a);
}
END_TEST

START_TEST(a_refused_copy_touches_nothing)
{
    static const struct {
        uint64_t to, from, length;
        enum vmxc_status status;
    } cases[] = {
        {LINEAR_GPA, LAZY_GPA, 0, VMXC_INVALID_INPUT},
        {LINEAR_GPA, UINT64_MAX, 2, VMXC_INVALID_INPUT},
        {UINT64_MAX, LINEAR_GPA, 2, VMXC_INVALID_INPUT},
        {LINEAR_GPA, HOLE_GPA - 8, 16, VMXC_NOT_FOUND},
        {R_O_GPA - 8, LINEAR_GPA, 16, VMXC_DENIED},
        {LINEAR_GPA, NONE_GPA, 16, VMXC_DENIED},
        {DEVICE_GPA, LINEAR_GPA, 16, VMXC_NOT_BACKED},
        {LINEAR_GPA, DEVICE_GPA, 16, VMXC_NOT_BACKED},
        {LONG_GPA + 8, LONG_GPA, LONG_SIZE, VMXC_NOT_FOUND},
    };

    fill_all(0x5a);
    memset(&dirty, 0, sizeof dirty);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_int_eq(vmxc_guest_mem_copy(&space, cases[i].to, cases[i].from, cases[i].length),
                         cases[i].status);
    ck_assert_uint_eq(dirty.calls, 0);
    check_all(0x5a);
}
END_TEST

START_TEST(a_copy_needs_no_more_than_it_does)
{
    uint64_t value = 0;

    vmxsim_memory_write64(memory, LINEAR_HPA, 0x1122334455667788);
    ck_assert_int_eq(vmxc_guest_mem_copy(&space, LINEAR_GPA, R_O_GPA, 8), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_read_u64(&space, LINEAR_GPA, &value), VMXC_OK);
    ck_assert_uint_ne(value, 0x1122334455667788);
    ck_assert_int_eq(vmxc_guest_mem_copy(&space, R_O_GPA, LINEAR_GPA, 8), VMXC_DENIED);
}
END_TEST

START_TEST(an_uninitialized_space_is_a_status)
{
    struct vmxc_addrspace none = {0};
    uint64_t value = 7;
    bool exchanged;

    ck_assert_int_eq(vmxc_guest_mem_read_u64(&none, 0, &value), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_guest_mem_write_u64(&none, 0, 1), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u64(&none, 0, &value), VMXC_BAD_STATE);
    ck_assert_int_eq(vmxc_guest_mem_compare_exchange_u64(&none, 0, 1, 2, &exchanged),
                     VMXC_BAD_STATE);
    ck_assert_uint_eq(value, 7);
}
END_TEST

START_TEST(no_memory_on_the_last_page_leaves_the_first_alone)
{
    /* From the linear area into the lazy one. */
    memset(buffer, 0xa5, 0x8000);
    for (uint64_t n = 1; n <= 4; n++) {
        teardown();
        setup();
        vmxsim_memory_write64(memory, LINEAR_HPA + 0x3000, 0x1111);
        const uint64_t before = hal->requests - hal->allocations;
        hal->fail_at = n;
        ck_assert_int_eq(vmxc_guest_mem_write(&space, 0x3000, buffer, 0x5000), VMXC_NO_MEMORY);
        hal->fail_at = 0;
        ck_assert_uint_eq(hal->requests - hal->allocations, before + 1);
        ck_assert_uint_eq(host_word(LINEAR_HPA + 0x3000), 0x1111);
    }
}
END_TEST

/* ---- Areas and pages ---- */

START_TEST(a_read_at_the_end_of_an_area_goes_on_in_the_next_area)
{
    /* What lies behind the linear area in host memory is none of the guest's business. */
    vmxsim_memory_write64(memory, LINEAR_HPA + 0x4000, UINT64_C(0xdeaddeaddeaddead));
    vmxsim_memory_write64(memory, LINEAR_HPA + 0x3ff8, UINT64_C(0x1122334455667788));
    ck_assert_int_eq(vmxc_guest_mem_write_u64(&space, LAZY_GPA, UINT64_C(0x99aabbccddeeff00)),
                     VMXC_OK);

    uint64_t value = 0;
    ck_assert_int_eq(vmxc_guest_mem_read_u64(&space, LAZY_GPA - 4, &value), VMXC_OK);
    ck_assert_uint_eq(value, UINT64_C(0xddeeff0011223344));

    /* ... and a store there stays in the area too. */
    ck_assert_int_eq(vmxc_guest_mem_fill(&space, LAZY_GPA - 4, 0, 8), VMXC_OK);
    ck_assert_uint_eq(host_word(LINEAR_HPA + 0x3ff8), UINT64_C(0x55667788));
    ck_assert_uint_eq(host_word(LINEAR_HPA + 0x4000), UINT64_C(0xdeaddeaddeaddead));
}
END_TEST

START_TEST(an_untouched_lazy_page_reads_as_zero)
{
    memset(buffer, 0xa5, 0x4000);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, LAZY_GPA, buffer, 0x4000), VMXC_OK);
    ck_assert(all_bytes_are(buffer, 0x4000, 0));
}
END_TEST

START_TEST(a_store_stops_at_a_read_only_area_before_it_starts)
{
    memset(buffer, 0xa5, 32);
    ck_assert_int_eq(vmxc_guest_mem_write(&space, R_O_GPA - 16, buffer, 32), VMXC_DENIED);
    uint64_t value = 1;
    ck_assert_int_eq(vmxc_guest_mem_read_u64(&space, R_O_GPA - 16, &value), VMXC_OK);
    ck_assert_uint_eq(value, 0);
    ck_assert_int_eq(vmxc_guest_mem_write(&space, R_O_GPA - 16, buffer, 16), VMXC_OK);
}
END_TEST

START_TEST(execute_is_a_right_of_its_own)
{
    ck_assert_int_eq(vmxc_guest_mem_probe(&space, X_O_GPA, 0x1000, VMXC_MAP_EXECUTE), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_probe(&space, X_O_GPA, 0x1000, VMXC_MAP_USER), VMXC_DENIED);
    ck_assert_int_eq(vmxc_guest_mem_probe(&space, LINEAR_GPA, 0x1000, VMXC_MAP_EXECUTE),
                     VMXC_DENIED);
}
END_TEST

START_TEST(stores_are_announced_before_they_are_made)
{
    vmxsim_memory_write64(memory, LINEAR_HPA, 0x1111);
    memset(&dirty, 0, sizeof dirty);
    ck_assert_int_eq(vmxc_guest_mem_write_u32(&space, 0, 0x2222), VMXC_OK);
    ck_assert_uint_eq(dirty.calls, 1);
    ck_assert_uint_eq(dirty.bytes, 4);
    ck_assert_uint_eq(dirty.hpa, LINEAR_HPA);
    ck_assert_uint_eq(dirty.first_word, 0x1111);
    ck_assert_int_eq(vmxc_guest_mem_write_volatile_u32(&space, 0, 0x3333), VMXC_OK);
    ck_assert_uint_eq(dirty.calls, 2);
    ck_assert_uint_eq(dirty.first_word, 0x2222);
    ck_assert_int_eq(vmxc_guest_mem_fill(&space, 0, 0x44, 8), VMXC_OK);
    ck_assert_uint_eq(dirty.first_word, 0x3333);
    ck_assert_int_eq(vmxc_guest_mem_copy(&space, 0, 0x2000, 8), VMXC_OK);
    ck_assert_uint_eq(dirty.first_word, UINT64_C(0x4444444444444444));
    ck_assert_uint_eq(dirty.bytes, 4 + 4 + 8 + 8);

    /* Reading announces nothing. */
    uint64_t value;
    dirty.calls = 0;
    ck_assert_int_eq(vmxc_guest_mem_read_u64(&space, 0, &value), VMXC_OK);
    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u64(&space, 0, &value), VMXC_OK);
    ck_assert_uint_eq(dirty.calls, 0);
}
END_TEST

/* ---- Objects ---- */

#define CHECK_OBJECT(suffix, type, number)                                                      \
    do {                                                                                        \
        type read = 0;                                                                          \
        ck_assert_int_eq(vmxc_guest_mem_write_##suffix(&space, gpa, (type)(number)), VMXC_OK);  \
        ck_assert_int_eq(vmxc_guest_mem_read_##suffix(&space, gpa, &read), VMXC_OK);            \
        ck_assert_uint_eq(read, (type)(number));                                                \
        uint8_t byte = 0;                                                                       \
        ck_assert_int_eq(vmxc_guest_mem_read_u8(&space, gpa, &byte), VMXC_OK);                  \
        ck_assert_uint_eq(byte, (uint8_t)(number)); /* little-endian */                         \
        const bool aligned = gpa % sizeof(type) == 0;                                           \
        read = 1;                                                                               \
        ck_assert_int_eq(vmxc_guest_mem_read_volatile_##suffix(&space, gpa, &read),             \
                         aligned ? VMXC_OK : VMXC_INVALID_INPUT);                               \
        ck_assert_uint_eq(read, aligned ? (type)(number) : 1);                                  \
        ck_assert_int_eq(vmxc_guest_mem_write_volatile_##suffix(&space, gpa, (type) ~(number)), \
                         aligned ? VMXC_OK : VMXC_INVALID_INPUT);                               \
        ck_assert_int_eq(vmxc_guest_mem_read_##suffix(&space, gpa, &read), VMXC_OK);            \
        ck_assert_uint_eq(read, aligned ? (type) ~(number) : (type)(number));                   \
    } while (0)

START_TEST(objects_at_every_alignment)
{
    const uint64_t number = UINT64_C(0xf1e2d3c4b5a69788);

    for (uint64_t gpa = LAZY_GPA - 16; gpa < LAZY_GPA + 16; gpa++) {
        CHECK_OBJECT(u8, uint8_t, number);
        CHECK_OBJECT(u16, uint16_t, number);
        CHECK_OBJECT(u32, uint32_t, number);
        CHECK_OBJECT(u64, uint64_t, number);
    }
}
END_TEST

START_TEST(volatile_objects_respect_areas)
{
    uint32_t value = 7;

    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u32(&space, HOLE_GPA, &value), VMXC_NOT_FOUND);
    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u32(&space, NONE_GPA, &value), VMXC_DENIED);
    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u32(&space, DEVICE_GPA, &value), VMXC_NOT_BACKED);
    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u32(&space, SPACE_SIZE, &value),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_guest_mem_write_volatile_u32(&space, R_O_GPA, 1), VMXC_DENIED);
    ck_assert_int_eq(vmxc_guest_mem_write_volatile_u32(&space, DEVICE_GPA, 1), VMXC_NOT_BACKED);
    ck_assert_uint_eq(value, 7);
    ck_assert_int_eq(vmxc_guest_mem_read_volatile_u32(&space, R_O_GPA, &value), VMXC_OK);
}
END_TEST

START_TEST(compare_and_exchange)
{
    bool exchanged = true;
    uint64_t value;

    ck_assert_int_eq(vmxc_guest_mem_compare_exchange_u64(&space, 4, 0, 1, &exchanged),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_guest_mem_compare_exchange_u32(&space, 2, 0, 1, &exchanged),
                     VMXC_INVALID_INPUT);
    ck_assert_int_eq(vmxc_guest_mem_compare_exchange_u64(&space, R_O_GPA, 0, 1, &exchanged),
                     VMXC_DENIED);
    ck_assert_int_eq(vmxc_guest_mem_compare_exchange_u32(&space, HOLE_GPA, 0, 1, &exchanged),
                     VMXC_NOT_FOUND);
    ck_assert(exchanged);

    ck_assert_int_eq(
        vmxc_guest_mem_compare_exchange_u64(&space, LAZY_GPA, 0, UINT64_MAX, &exchanged), VMXC_OK);
    ck_assert(exchanged);
    ck_assert_int_eq(vmxc_guest_mem_compare_exchange_u64(&space, LAZY_GPA, 0, 5, &exchanged),
                     VMXC_OK);
    ck_assert(!exchanged);
    ck_assert_int_eq(
        vmxc_guest_mem_compare_exchange_u32(&space, LAZY_GPA + 4, UINT32_MAX, 6, &exchanged),
        VMXC_OK);
    ck_assert(exchanged);
    ck_assert_int_eq(vmxc_guest_mem_read_u64(&space, LAZY_GPA, &value), VMXC_OK);
    ck_assert_uint_eq(value, UINT64_C(0x6ffffffff));
}
END_TEST

/* ---- Against a plain array ---- */

#define SHADOW_GPA  (LONG_GPA + 0x20000)
#define SHADOW_SIZE 0x28000u /* forty pages: more than two chunks */
#define SEED        UINT64_C(20240607)

static uint8_t shadow[SHADOW_SIZE];

static void random_operation(struct rng *rng)
{
    const uint64_t length =
        rng_chance(rng, 70) ? 1 + rng_below(rng, 100) : 1 + rng_below(rng, SHADOW_SIZE);
    const uint64_t at = rng_below(rng, SHADOW_SIZE - length + 1);
    const uint64_t other = rng_below(rng, SHADOW_SIZE - length + 1);
    const uint8_t byte = (uint8_t)rng_next(rng);

    switch (rng_below(rng, 4)) {
    case 0:
        for (uint64_t i = 0; i < length; i++)
            shadow[at + i] = buffer[i] = (uint8_t)rng_next(rng);
        ck_assert_int_eq(vmxc_guest_mem_write(&space, SHADOW_GPA + at, buffer, length), VMXC_OK);
        break;
    case 1:
        memset(shadow + at, byte, length);
        ck_assert_int_eq(vmxc_guest_mem_fill(&space, SHADOW_GPA + at, byte, length), VMXC_OK);
        break;
    case 2:
        memmove(shadow + at, shadow + other, length);
        ck_assert_int_eq(vmxc_guest_mem_copy(&space, SHADOW_GPA + at, SHADOW_GPA + other, length),
                         VMXC_OK);
        break;
    default:
        ck_assert_int_eq(vmxc_guest_mem_read(&space, SHADOW_GPA + at, buffer, length), VMXC_OK);
        ck_assert_mem_eq(buffer, shadow + at, length);
    }
}

START_TEST(random_operations_match_a_plain_array)
{
    struct rng rng = rng_seeded(SEED);

    memset(shadow, 0, sizeof shadow);
    for (int i = 0; i < 3000; i++)
        random_operation(&rng);
    ck_assert_int_eq(vmxc_guest_mem_read(&space, SHADOW_GPA, buffer, SHADOW_SIZE), VMXC_OK);
    ck_assert_mem_eq(buffer, shadow, SHADOW_SIZE);
    /* Nothing beside the array was touched. */
    ck_assert_int_eq(vmxc_guest_mem_read(&space, SHADOW_GPA - 0x1000, buffer, 0x1000), VMXC_OK);
    ck_assert(all_bytes_are(buffer, 0x1000, 0));
    ck_assert_int_eq(vmxc_guest_mem_read(&space, SHADOW_GPA + SHADOW_SIZE, buffer, 0x1000),
                     VMXC_OK);
    ck_assert(all_bytes_are(buffer, 0x1000, 0));
}
END_TEST

static Suite *suite(void)
{
    Suite *const s = suite_create("guest_mem");
    TCase *const t = tcase_create("guest_mem");
    const int ranges = sizeof bad_ranges / sizeof bad_ranges[0];

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_refused_read_touches_nothing, 0, ranges);
    tcase_add_loop_test(t, a_refused_store_touches_nothing, 0, ranges);
    tcase_add_test(t, a_refused_copy_touches_nothing);
    tcase_add_test(t, a_copy_needs_no_more_than_it_does);
    tcase_add_test(t, an_uninitialized_space_is_a_status);
    tcase_add_test(t, no_memory_on_the_last_page_leaves_the_first_alone);
    tcase_add_test(t, a_read_at_the_end_of_an_area_goes_on_in_the_next_area);
    tcase_add_test(t, an_untouched_lazy_page_reads_as_zero);
    tcase_add_test(t, a_store_stops_at_a_read_only_area_before_it_starts);
    tcase_add_test(t, execute_is_a_right_of_its_own);
    tcase_add_test(t, stores_are_announced_before_they_are_made);
    tcase_add_test(t, objects_at_every_alignment);
    tcase_add_test(t, volatile_objects_respect_areas);
    tcase_add_test(t, compare_and_exchange);
    tcase_add_test(t, random_operations_match_a_plain_array);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return run_suite(suite());
}
