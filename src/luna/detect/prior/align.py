"""Align the lungs of two scans of one patient: rigid, then affine, on lung masks and vessels.

Source: the registration framework of ITK (mean squares of attenuation, regular steps).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from luna.ct.geometry import FloatArray, Geometry
from luna.ct.lungs.find import Lungs
from luna.ct.scan import Scan

LUNG_HU = (-950.0, 0.0)
"""Attenuation is clipped to this range in the lungs, where vessels stand out; the rest is 0."""

SHRINKS, BLURS_MM = (4, 2, 1), (6.0, 3.0, 0.0)
"""By how much the coarse images are reduced and blurred, from the first pass to the last."""

SAMPLED = 0.25
"""Share of the voxels that each step uses; there are about 2 million of them."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where a point of the scan lies in the prior, both in LPS mm: matrix · point + offset.

    `overlap` is how much of both lungs coincides then (Dice, 0 to 1).
    """

    matrix: FloatArray
    offset: FloatArray
    overlap: float

    def to_prior(self, xyz: ArrayLike) -> FloatArray:
        """Points (..., 3) of the scan in the prior."""
        points = np.asarray(xyz, dtype=np.float64)
        return np.asarray(points @ self.matrix.T + self.offset, dtype=np.float64)

    def reversed(self) -> Alignment:
        """The alignment of the prior with the scan."""
        back = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        return Alignment(back, -back @ self.offset, self.overlap)


def align(scan: Scan, lungs: Lungs, prior: Scan, prior_lungs: Lungs) -> Alignment:
    """Find the affine movement that takes the lungs of a scan onto those of a prior one."""
    fixed, moving = _image(scan, lungs), _image(prior, prior_lungs)
    rigid = _itk().Euler3DTransform(_start(fixed, moving))
    _optimise(fixed, moving, rigid)
    affine = _itk().AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    _optimise(fixed, moving, affine)
    matrix = np.array(affine.GetMatrix()).reshape(3, 3)
    center, shift = np.array(affine.GetCenter()), np.array(affine.GetTranslation())
    offset = shift + center - matrix @ center
    found = Alignment(matrix, offset, 0.0)
    return Alignment(matrix, offset, _overlap(scan, lungs, prior, prior_lungs, found))


def coarse_geometry(scan: Scan, lungs: Lungs) -> Geometry:
    """Where the grid of the lungs lies in the patient; its voxels cover whole ones of the scan."""
    half = [(f - 1) / 2 for f in lungs.factor_irc]
    x, y, z = scan.geometry.xyz_from_irc(half).tolist()
    k, j, i = lungs.spacing_irc
    return Geometry((x, y, z), (i, j, k), scan.geometry.direction)


def _image(scan: Scan, lungs: Lungs) -> Any:
    values = np.where(lungs.labels > 0, np.clip(lungs.hu, *LUNG_HU), LUNG_HU[1])
    image = _itk().GetImageFromArray(values.astype(np.float32))
    geometry = coarse_geometry(scan, lungs)
    image.SetOrigin(geometry.origin_xyz)
    image.SetSpacing(geometry.spacing_xyz)
    image.SetDirection(geometry.direction)
    return image


def _itk() -> Any:
    """Load SimpleITK, which is slow to load and seldom needed; its methods carry no types."""
    import SimpleITK as sitk

    return sitk


def _start(fixed: Any, moving: Any) -> Any:
    """A shift that puts the middle of one pair of lungs onto that of the other."""
    inverted = [_itk().Cast(LUNG_HU[1] - image, _itk().sitkFloat32) for image in (fixed, moving)]
    return _itk().CenteredTransformInitializer(
        *inverted, _itk().Euler3DTransform(), _itk().CenteredTransformInitializerFilter.MOMENTS
    )


def _optimise(fixed: Any, moving: Any, transform: Any) -> None:
    """Improve a transform in place, from coarse to fine."""
    method = _itk().ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLED, seed=1)
    method.SetInterpolator(_itk().sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=120, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINKS)
    method.SetSmoothingSigmasPerLevel(BLURS_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)


def _overlap(scan: Scan, lungs: Lungs, prior: Scan, prior_lungs: Lungs, found: Alignment) -> float:
    """Dice of the two lung masks, counted in voxels of the scan's."""
    geometry = coarse_geometry(scan, lungs)
    own = lungs.labels > 0
    low, high = (f(np.argwhere(own), axis=0) for f in (np.min, np.max))
    box = np.stack(np.meshgrid(*map(np.arange, low - 8, high + 9), indexing="ij"), axis=-1)
    there = prior.geometry.irc_from_xyz(found.to_prior(geometry.xyz_from_irc(box)))
    other = prior_lungs.label_at(there) > 0
    inside = ((box >= 0) & (box < own.shape)).all(axis=-1)
    i, r, c = np.moveaxis(np.clip(box, 0, np.array(own.shape) - 1), -1, 0)
    mine: NDArray[np.bool_] = own[i, r, c] & inside
    return float(2 * (mine & other).sum() / max(mine.sum() + other.sum(), 1))
