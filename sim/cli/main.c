/* SPDX-License-Identifier: Apache-2.0 */
/* The command `vmxsim`: makes sure that output which is lost is not success. */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    opterr = 0; /* complaints are ours */
    enum cli_status status = cli_run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = cli_complain("cannot write to standard output: %s", strerror(errno));
    return (int)status;
}
