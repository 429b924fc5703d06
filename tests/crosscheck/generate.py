# SPDX-License-Identifier: Apache-2.0
"""Experiments of all kinds, from a seed. The same seed, processor and kinds give the same experiments."""
import random

import generate_access
import generate_entry
import generate_event
import generate_guest_code
import generate_instructions
import generate_intercept
import generate_stale

KINDS = ("access", "stale", "entry", "intercept", "code", "event", "instructions")
ONE_BY_ONE = {"access": generate_access, "stale": generate_stale, "intercept": generate_intercept, "code": generate_guest_code,
              "event": generate_event, "instructions": generate_instructions}


def generate(header, seed, kind, count, entry_states):
    """`count` cases of a kind. `entry_states` is the program of that name."""
    source = random.Random(f"{kind}-{seed}")
    if kind == "entry":
        return generate_entry.generate_all(entry_states, header, source, count, f"entry-{seed}-")
    module = ONE_BY_ONE[kind]
    names = [f"{kind}-{seed}-{index:06}" for index in range(count)]
    always = [{"id": name, **case} for name, case in zip(names, getattr(module, "ALWAYS", []))]
    return always + [module.generate(header, source, name) for name in names[len(always):]]
