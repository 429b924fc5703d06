/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of guest actions share: a machine whose guest runs in 64-bit mode at CPL 0, and expectations.
 */
#ifndef VMXSIM_TESTS_GUEST_FIXTURE_H
#define VMXSIM_TESTS_GUEST_FIXTURE_H

#include <check.h>
#include <stdlib.h>

#include "support/machine.h"

extern struct machine machine;

void guest_fixture_set_up(void);
void guest_fixture_tear_down(void);

/* Controls of machine.vmcs; secondary controls are activated. */
void set_pin(uint64_t controls);
void set_primary(uint64_t controls);
void set_secondary(uint64_t controls);

/* Writes an MSR as the host. */
void write_msr(uint32_t msr, uint64_t value);

/* Starts the guest from machine.vmcs. */
void load(void);

void expect_guest_complete(const struct vmxsim_outcome *outcome);
void expect_guest_exit(const struct vmxsim_outcome *outcome, unsigned reason);
/* An exception that the guest takes; #GP with error code 0. */
void expect_guest_fault(const struct vmxsim_outcome *outcome, unsigned vector);

#endif
