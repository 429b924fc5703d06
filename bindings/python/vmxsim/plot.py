# SPDX-License-Identifier: Apache-2.0
"""Pictures of an address space. Needs matplotlib: ``pip install vmxsim[plot]``."""
from __future__ import annotations

import typing

import matplotlib.pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from vmxsim.addrspace import AddressSpace
from vmxsim.enums import EptPerm

__all__ = ["guest_physical_map"]

_COLOURS = {EptPerm.NONE: "lightgrey", EptPerm.R: "tab:blue", EptPerm.RX: "tab:green", EptPerm.RW: "tab:orange",
            EptPerm.RWX: "tab:red", EptPerm.X: "tab:purple"}
_AREA_ROW, _PAGE_ROW = 1, 0


def _name(address: float) -> str:
    for unit, letter in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if address >= unit:
            return f"{address / unit:g}{letter}"
    return f"{address:g}"


def _colour(perms: EptPerm) -> str:
    return _COLOURS.get(perms & EptPerm.RWX, "tab:brown")


def guest_physical_map(space: AddressSpace, axes: Axes | None = None, *, scale: typing.Literal["index", "bytes"] = "index") -> Axes:
    """Draws areas above, mapped pages by size below; what is white between areas is a hole.

    Parameters
    ----------
    scale
        ``"bytes"``: true to size. ``"index"``: every stretch between two boundaries is as wide as the next, so that a page
        beside a gigabyte can be seen.
    """
    axes = axes if axes is not None else matplotlib.pyplot.subplots(figsize=(10, 2.5))[1]
    areas, mappings = space.areas(), space.mappings()
    edges = sorted({edge for area in areas for edge in (area.base, area.end)}
                   | {edge for run in mappings for edge in (run.gpa, run.gpa + run.size)})
    place = {edge: (index if scale == "index" else edge) for index, edge in enumerate(edges)}
    for area in areas:
        axes.barh(_AREA_ROW, place[area.end] - place[area.base], left=place[area.base], height=0.8, color=_colour(area.perms),
                  edgecolor="black", hatch="//" if area.lazy else "")
    for run in mappings:
        left, width = place[run.gpa], place[run.gpa + run.size] - place[run.gpa]
        axes.barh(_PAGE_ROW, width, left=left, height=0.8, color=_colour(run.perms), edgecolor="black")
        axes.text(left + width / 2, _PAGE_ROW, _name(run.page_size), ha="center", va="center")
    axes.set_yticks([_PAGE_ROW, _AREA_ROW], ["pages", "areas"])
    axes.set_xticks([place[edge] for edge in edges], [_name(edge) for edge in edges], rotation=45)
    axes.set_xlabel("guest-physical address")
    used = sorted({area.perms & EptPerm.RWX for area in areas}, key=int)
    axes.legend(handles=[Patch(color=_colour(perms), label=str(perms) if perms else "none") for perms in used], loc="upper right")
    return axes
