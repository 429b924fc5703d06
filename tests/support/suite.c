/* SPDX-License-Identifier: Apache-2.0 */
#include "support/suite.h"

#include <stdlib.h>

TCase *suite_case(Suite *suite, const char *name, void (*set_up)(void), void (*tear_down)(void))
{
    TCase *const tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int run_suite(Suite *suite)
{
    SRunner *const runner = srunner_create(suite);

    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
