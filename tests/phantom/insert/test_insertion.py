"""Nodules placed into a scan: where they lie, what they change, and what they leave alone."""

import re

import numpy as np
import pytest

from luna.ct.lungs.find import find_lungs
from luna.phantom.config import PhantomConfig
from luna.phantom.insert.insertion import Known, insert_nodules, patient_key
from luna.phantom.insert.room import map_room, place

from .conftest import NODULES, PER_SCAN, SEED


def boxes(inserted, shape):
    """True in the boxes of the nodules."""
    inside = np.zeros(shape, bool)
    for nodule in inserted.nodules:
        start, size = nodule.start_irc, nodule.voxels.shape
        inside[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return inside


def test_outside_the_boxes_no_voxel_changes(background, inserted):
    inside = boxes(inserted, background.shape_irc)
    assert 0.001 < inside.mean() < 0.2
    assert (inserted.scan.hu[~inside] == background.hu[~inside]).all()
    assert inserted.scan.geometry == background.geometry


def test_every_nodule_shows_where_its_table_says(background, inserted):
    assert len(inserted.nodules) >= PER_SCAN - 1
    for nodule in inserted.nodules:
        irc = background.geometry.irc_from_xyz(nodule.center_xyz)
        filled = np.argwhere(nodule.voxels) + nodule.start_irc
        gap_mm = (filled.mean(axis=0) - irc) * background.geometry.spacing_irc
        assert np.linalg.norm(gap_mm) < 1.5
        change = inserted.scan.hu.astype(int) - background.hu
        assert change[tuple(filled.T)].mean() > 50


def test_they_lie_in_the_lungs_and_not_on_vessels(background, inserted, background_lungs):
    room = map_room(background, background_lungs)
    for nodule in inserted.nodules:
        irc = background.geometry.irc_from_xyz(nodule.center_xyz)
        assert background_lungs.label_at(irc) > 0
        center = (irc * background.geometry.spacing_irc)[::-1]
        # The dents of a shape move its centre a little from where it was placed.
        assert room.vessel_share(center, nodule.diameter_mm / 2) <= 0.08


def test_they_keep_apart_from_each_other_and_from_known_nodules(background, inserted):
    known = tuple(Known(n.center_xyz, n.diameter_mm) for n in inserted.nodules)
    again = insert_nodules(background, SEED + 1, NODULES, PER_SCAN, known)
    assert again.nodules
    everyone = [Known(n.center_xyz, n.diameter_mm) for n in again.nodules] + list(known)
    for k, one in enumerate(everyone):
        for other in everyone[k + 1 :]:
            gap = np.linalg.norm(np.subtract(one.center_xyz, other.center_xyz))
            assert gap > (one.diameter_mm + other.diameter_mm) / 2


def test_the_same_seed_gives_the_same_bytes(background, inserted):
    again = insert_nodules(background, SEED, NODULES, PER_SCAN)
    assert again.scan.fingerprint() == inserted.scan.fingerprint()
    assert again.scan.series_uid == inserted.scan.series_uid
    other = insert_nodules(background, SEED + 1, NODULES, PER_SCAN)
    assert other.scan.fingerprint() != inserted.scan.fingerprint()
    assert other.scan.series_uid != inserted.scan.series_uid


def test_nothing_of_the_patient_comes_along(background, inserted):
    uid = inserted.scan.series_uid
    assert re.fullmatch(r"2\.25\.\d{1,39}", uid)
    assert len(uid) <= 64
    assert inserted.scan.provenance.phi == {}
    assert background.series_uid not in repr(inserted.scan.provenance)
    assert background.series_uid not in patient_key(background.fingerprint())


def test_vessels_are_covered_only_where_that_is_asked_for(background, background_lungs):
    room = map_room(background, background_lungs)

    def shares(on_vessels: bool) -> list[float]:
        config = PhantomConfig(on_vessels=on_vessels, juxtavascular_share=0.5)
        rng = np.random.default_rng(0)
        centers = [place(rng, config, room, 4.0, []) for _ in range(60)]
        return [room.vessel_share(c, 4.0) for c in centers if c is not None]

    assert len(shares(False)) > 50
    assert max(shares(False)) <= 0.05
    assert max(shares(True)) > 0.05


@pytest.mark.parametrize("step", [1, 16])
def test_values_keep_the_steps_of_the_file(background, step):
    from dataclasses import replace

    hu = (background.hu // step * step).astype(np.int16)
    coarse = replace(background, hu=hu)
    made = insert_nodules(coarse, SEED, NODULES, 2)
    changed = made.scan.hu[made.scan.hu != hu]
    assert changed.size
    assert ((changed - hu.min()) % step == 0).all()


def test_the_map_of_a_lung_tells_depth_from_the_wall(background, background_lungs):
    room = map_room(background, background_lungs)
    assert 0.2 < room.lung.mean() < 0.8
    assert room.dense.sum() < 0.3 * room.lung.sum()
    deepest = np.unravel_index(room.depth.argmax(), room.depth.shape)
    center = room.low_xyz + np.array(deepest)[::-1] * room.step_xyz
    irc = (center / background.geometry.spacing_xyz)[::-1]
    assert find_lungs(background).label_at(irc) > 0
    assert (room.index(center) == deepest).all()
