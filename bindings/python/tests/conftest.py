# SPDX-License-Identifier: Apache-2.0
"""Profiles of Hypothesis; the machine that most tests use."""
from __future__ import annotations

import os
import typing

import hypothesis
import pytest

import vmxsim


hypothesis.settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", max_examples=2000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("VMXSIM_HYPOTHESIS", "quick"))


@pytest.fixture
def machine() -> typing.Iterator[vmxsim.Machine]:
    """A machine whose frames must all have been given back once its children are closed."""
    with vmxsim.Machine(ram="64M", profile="icelake") as made:
        yield made
        for child in sorted(made._children, key=lambda each: -each._order):
            child.close()
        assert made.frames.leak_report() == ""
