"""Move the tissue of a phantom as breathing does: the base of the lungs most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from luna.phantom.field import Points

APEX, BASE = 0.45, -0.66
"""Heights of the ends of the lungs in a patient, as shares of its `height`."""

SHALLOWER_PER_MM = 0.002
"""The chest is shallower, front to back, by this share for each mm that the base rises."""

FURTHEST = 1.3
"""What lies this many lung heights below the apex or deeper moves as one piece."""

TABLE_MM = 0.5
"""Step of the table that undoes the movement along z."""


@dataclass(frozen=True, slots=True)
class Breath:
    """The movement of a patient of a `height` whose base of the lungs rises by `rise_mm`.

    No axis moves another: x stays, y is scaled, and z rises the more, the lower it lies.
    """

    height: float = 1.0
    rise_mm: float = 0.0

    def moved(self, points_xyz: Points) -> Points:
        """Where points (..., 3) of the patient as drawn stand in the scan, both in body mm."""
        out = np.array(points_xyz, dtype=np.float64)
        out[..., 1] *= self._depth
        out[..., 2] = self._risen(out[..., 2])
        return out

    def at_rest(self, axis: int, places_mm: Points) -> Points:
        """Undo `moved` for coordinates along one axis, where 0 is x."""
        if axis == 0 or self.rise_mm == 0:
            return places_mm
        if axis == 1:
            return places_mm / self._depth
        rest = np.arange(-3 * self.height, 3 * self.height, TABLE_MM)
        return np.asarray(np.interp(places_mm, self._risen(rest), rest), dtype=np.float64)

    @property
    def _depth(self) -> float:
        return 1 - SHALLOWER_PER_MM * self.rise_mm

    def _risen(self, z_mm: Points) -> Points:
        below = (APEX * self.height - z_mm) / ((APEX - BASE) * self.height)
        below = np.clip(below, 0, FURTHEST)
        return np.asarray(z_mm + self.rise_mm * below * np.sqrt(below), dtype=np.float64)


STILL = Breath()
"""The breath in which a patient is drawn."""
