"""The arteries, veins and bronchi of a phantom's lungs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from luna.phantom.anatomy import Anatomy
from luna.phantom.field import STEP_MM, Points
from luna.phantom.tree import Branches, airways_along, grow, join

BRONCHUS_FROM_MM = 1.0
"""Thinner arteries run beside bronchi that are too small to be visible."""

PLEURA_MM = 1.5
"""Vessels end this far under the pleura."""

CROWDING_MM = 6.0
"""Half as many vessels end at this depth as under the pleura."""

HILUM_MM = 6.0
"""How far outside the lung bronchi are still drawn."""

GATE_OF_LOBE = ((12, 0, 20), (16, -16, -14), (10, 20, -24), (12, -8, 14), (12, 22, -26))
"""First fork of each lobe's vessels in mm from the hilum: away from the midline, to the
back, to the head."""

SIDE_OF_LOBE = ("right", "right", "right", "left", "left")


@dataclass(frozen=True)
class Vessels:
    """Branches in body mm; `blood` is arteries and veins together."""

    arteries: Branches
    veins: Branches
    blood: Branches
    walls: Branches
    lumens: Branches


def build_vessels(rng: np.random.Generator, anatomy: Anatomy) -> Vessels:
    """Grow two trees per lobe, bronchi beside the arteries, and the windpipe."""
    ends = anatomy.grid.positions(anatomy.lung < -PLEURA_MM)
    ends = ends + rng.uniform(-STEP_MM / 2, STEP_MM / 2, ends.shape)
    lobes = anatomy.lobe(ends)
    trees: dict[str, list[Branches]] = {"artery": [], "vein": []}
    for lobe, side in enumerate(SIDE_OF_LOBE):
        room = ends[lobes == lobe]
        crowd = 1 + np.maximum(-anatomy.grid.at(anatomy.lung, room), 0) / CROWDING_MM
        for name, kept in trees.items():
            volume_ml = len(room) * STEP_MM**3 / 1000
            count = int(volume_ml * anatomy.patient.terminals_per_ml)
            chosen = room[np.argsort(rng.random(len(room)) * crowd, kind="stable")[:count]]
            hilum = anatomy.hila[f"{name}-{side}"]
            kept.append(_lobar_tree(rng, anatomy, lobe, hilum, chosen))
    arteries, veins = join(trees["artery"]), join(trees["vein"])
    lean = np.array([0.3, 0.8, -0.5])
    large = _shown(anatomy, arteries.thicker_than(BRONCHUS_FROM_MM))
    walls, lumens = airways_along(large, lean)
    pipe_walls, pipe_lumens = _windpipe(anatomy)
    return Vessels(
        arteries=arteries,
        veins=veins,
        blood=join([arteries, veins]),
        walls=join([walls, pipe_walls]),
        lumens=join([lumens, pipe_lumens]),
    )


def _lobar_tree(
    rng: np.random.Generator, anatomy: Anatomy, lobe: int, hilum: Points, ends: Points
) -> Branches:
    """Grow a tree that leaves the hilum on the lobe's own way round the heart."""
    terminal_mm = anatomy.patient.terminal_radius_mm
    mirror = 1 if SIDE_OF_LOBE[lobe] == "left" else -1
    gate = np.array(GATE_OF_LOBE[lobe]) * (mirror, 1, 1) + rng.normal(0, 2, 3)
    tree = grow(rng, hilum + gate, ends, terminal_mm)
    if not len(tree.start):
        return tree
    thick = tree.start_mm[:1]
    return join([Branches(hilum[None], tree.start[:1], thick * 1.05, thick), tree])


def _shown(anatomy: Anatomy, branches: Branches) -> Branches:
    """Keep the branches that run in the lung, or in the fat of the hilum."""
    middle = (branches.start + branches.end) / 2
    keep = anatomy.grid.at(anatomy.lung, middle) < HILUM_MM
    return Branches(
        branches.start[keep], branches.end[keep], branches.start_mm[keep], branches.end_mm[keep]
    )


def _windpipe(anatomy: Anatomy) -> tuple[Branches, Branches]:
    """Walls and lumens of the trachea and of the two main bronchi."""
    hila = anatomy.hila
    start = np.stack([hila["trachea"], hila["carina"], hila["carina"]])
    end = np.stack([hila["carina"], hila["bronchus-right"], hila["bronchus-left"]])
    lumen_start, lumen_end = np.array([8.5, 7.0, 6.2]), np.array([8.2, 5.4, 4.8])
    return (
        Branches(start, end, lumen_start + 1.6, lumen_end + 1.3),
        Branches(start, end, lumen_start, lumen_end),
    )


def forks(branches: Branches, from_mm: float, to_mm: float) -> Points:
    """Points (M, 3) where branches of a radius between two bounds divide."""
    return branches.end[(branches.end_mm > from_mm) & (branches.end_mm < to_mm)]
