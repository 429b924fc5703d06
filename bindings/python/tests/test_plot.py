# SPDX-License-Identifier: Apache-2.0
"""The picture has what the space has."""
from __future__ import annotations

import typing

import pytest

from vmxsim import EptPerm, Machine


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", ["index", "bytes"])
def test_areas_and_pages_are_drawn(machine: Machine, scale: typing.Literal["index", "bytes"]) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from vmxsim import plot
    space = machine.address_space()
    space.map_linear(0, 0, "4M", EptPerm.RX)
    space.map_alloc(8 << 20, "1M", EptPerm.RW, lazy=True)
    space.handle_fault(8 << 20)
    axes = plot.guest_physical_map(space, scale=scale)
    assert len(axes.patches) == 4  # two areas, two runs of pages
    assert [text.get_text() for text in axes.texts] == ["2M", "4K"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "4M", "8M", "8.00391M", "9M"]
    matplotlib.pyplot.close("all")
