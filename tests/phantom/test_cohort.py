"""A written cohort is LUNA16's layout, byte for byte the same in any number of processes."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from luna.ct.geometry import Geometry
from luna.ct.read import read_scan
from luna.ct.scan import Provenance, Scan
from luna.phantom.cohort import TABLES, stored, write_cohort, write_metaimage
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan, series_uid
from luna.run.errors import UsageError

TINY = PhantomConfig(
    size=64, slab_mm=36, slice_mm=(2.5, 2.5), without_nodules=0, negatives=(5, 5),
    flipped_share=0.5, oblique_share=0.5, circle_share=0.5,
)  # fmt: skip


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    uids = write_cohort(out, 3, 11, TINY)
    return out, uids


def test_layout(cohort):
    out, uids = cohort
    assert set(files_of(out)) == {
        *TABLES,
        "seriesuids.csv",
        *(f"subset{k}/{uid}{end}" for k, uid in enumerate(uids) for end in (".mhd", ".zraw")),
    }
    assert (out / "seriesuids.csv").read_text().split() == uids
    for name, columns in TABLES.items():
        with (out / name).open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert tuple(rows[0]) == columns
        assert {row["seriesuid"] for row in rows} <= set(uids)


def test_any_number_of_processes_writes_the_same_bytes(cohort, tmp_path):
    out, _ = cohort
    steps: list[tuple[object, ...]] = []

    def watch(*step: object) -> None:
        steps.append(step)
        done = {path.stem for path in tmp_path.glob("subset*/*.zraw")}
        assert set(step[3:]) <= done

    uids = write_cohort(tmp_path, 3, 11, TINY, processes=2, progress=watch)
    assert files_of(tmp_path) == files_of(out)
    assert steps == [("scan", 0, 3), *(("scan", k, 3, uid) for k, uid in enumerate(uids, 1))]


def test_itk_reads_the_file_as_the_scan_it_was(cohort):
    out, uids = cohort
    for number, uid in enumerate(uids):
        image = SimpleITK.ReadImage(str(out / f"subset{number}" / f"{uid}.mhd"))
        phantom = make_scan(11, TINY, number)
        for nodule in phantom.nodules:
            c, r, i = image.TransformPhysicalPointToIndex(nodule.center_xyz)
            ours = np.rint(phantom.scan.geometry.irc_from_xyz(nodule.center_xyz)).astype(int)
            assert SimpleITK.GetArrayViewFromImage(image)[i, r, c] == phantom.scan.hu[tuple(ours)]
        if phantom.scan.provenance.padding_voxels:
            assert SimpleITK.GetArrayViewFromImage(image)[:, 0, 0].max() == -2048


def test_luna_reads_the_file_as_the_scan_it_was(cohort):
    out, uids = cohort
    turned = 0
    for number, uid in enumerate(uids):
        made = make_scan(11, TINY, number).scan
        read = read_scan(out / f"subset{number}" / f"{uid}.mhd")
        assert read.series_uid == uid
        assert read.geometry.origin_xyz == pytest.approx(made.geometry.origin_xyz, abs=1e-6)
        assert read.geometry.direction == pytest.approx(made.geometry.direction, abs=1e-9)
        assert (read.hu == made.hu).all()
        assert read.provenance.padding_voxels == made.provenance.padding_voxels
        turned += made.provenance.stored_orientation != "LPS"
    assert turned


@pytest.mark.parametrize("letters", ["LPS", "RAS", "LAI", "RPS"])
def test_a_flip_moves_no_voxel(letters, tmp_path):
    rng = np.random.default_rng(0)
    turn = (0.6, -0.8, 0.0, 0.8, 0.6, 0.0, 0.0, 0.0, 1.0)
    scan = Scan(
        hu=rng.integers(-1000, 1000, (4, 5, 6)).astype(np.int16),
        geometry=Geometry((10.0, -20.0, 30.0), (0.5, 0.7, 2.0), turn),
        series_uid="1.2",
        provenance=Provenance(source="test", format="test", stored_orientation=letters),
    )
    hu, geometry = stored(scan)
    write_metaimage(tmp_path / "a.mhd", hu, geometry)
    image = SimpleITK.ReadImage(str(tmp_path / "a.mhd"))
    for irc in np.ndindex(scan.hu.shape):
        place = scan.geometry.xyz_from_irc(irc)
        c, r, i = image.TransformPhysicalPointToIndex(place.tolist())
        assert SimpleITK.GetArrayViewFromImage(image)[i, r, c] == scan.hu[irc]
    straight = replace(scan, geometry=Geometry((0, 0, 0), (1, 1, 1)))
    write_metaimage(tmp_path / "b.mhd", *stored(straight))
    code = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(
        SimpleITK.ReadImage(str(tmp_path / "b.mhd")).GetDirection()
    )
    assert code == letters


def test_scans_that_an_interrupted_cohort_left_join_no_other(tmp_path):
    (tmp_path / "subset0").mkdir()
    left = tmp_path / "subset0" / f"{series_uid(7, 3)}.mhd"
    left.write_bytes(b"")
    with pytest.raises(UsageError, match="a scan of another cohort") as caught:
        write_cohort(tmp_path, 3, 7, PhantomConfig())
    assert caught.value.file == str(left)
    assert [path.name for path in tmp_path.iterdir()] == ["subset0"]


def test_an_existing_cohort_is_not_overwritten(cohort):
    with pytest.raises(UsageError, match="already holds"):
        write_cohort(cohort[0], 1, 1, TINY)


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(UsageError):
        write_cohort(tmp_path, 0, 1, TINY)
