"""Annotations from tables of any columns, in any of three frames."""

import numpy as np
import pytest

from luna.ct.geometry import ras_from_lps
from luna.ct.orient import to_stored_axes
from luna.ct.scan import Provenance, Scan
from luna.data.imports.table import read_points
from luna.run.errors import InputError, UsageError
from luna.run.nodules import UNKNOWN

NAMES = {"1.2.3": "1.2.3", "case1": "1.2.3", "LNDb-0007": "1.2.7"}


def table(tmp_path, text):
    path = tmp_path / "nodules.csv"
    path.write_text(text)
    return path


def test_columns_are_found_by_their_usual_names_or_named(tmp_path):
    path = table(tmp_path, "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,1,2,3,8\n")
    points, patients, notices = read_points(path, {}, "lps", NAMES)
    assert points["1.2.3"].center.tolist() == [[1, 2, 3]]
    assert (patients, notices) == ({}, ())
    path = table(
        tmp_path, "who,file,left,back,up,size,cancer\np1,case1,1,2,3,8,\np1,case1,4,5,6,9,1\n"
    )
    named = {
        "series": "file",
        "x": "left",
        "y": "back",
        "z": "up",
        "diameter": "size",
        "malignant": "cancer",
        "patient": "who",
    }
    points, patients, _ = read_points(path, named, "lps", NAMES)
    assert points["1.2.3"].diameter_mm.tolist() == [8, 9]
    assert points["1.2.3"].malignant.tolist() == [UNKNOWN, 1]
    assert patients == {"1.2.3": "p1"}


def test_a_volume_is_as_good_as_a_diameter(tmp_path):
    ball_mm3 = np.pi * 10**3 / 6
    path = table(tmp_path, f"series,x,y,z,volume\n1.2.3,1,2,3,{ball_mm3}\n")
    points, *_ = read_points(path, {}, "lps", NAMES)
    assert points["1.2.3"].diameter_mm == pytest.approx([10])


def test_lndbs_table_is_read_as_it_is(tmp_path):
    path = table(
        tmp_path,
        "LNDbID,RadID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text\n"
        "7,1,1,1,2,3,2,1,523.6,5\n7,1,2,9,9,9,1,0,0,0\n",
    )
    points, _, notices = read_points(path, {}, "lps", NAMES)
    assert points["1.2.7"].diameter_mm == pytest.approx([10], rel=1e-4)
    assert notices == ()


def test_rows_of_other_scans_and_without_a_size_are_counted(tmp_path):
    path = table(tmp_path, "series,x,y,z,diameter\nother,1,2,3,8\n1.2.3,1,2,3,0\n1.2.3,4,5,6,9\n")
    points, _, notices = read_points(path, {}, "lps", NAMES)
    assert points["1.2.3"].center.tolist() == [[4, 5, 6]]
    assert [str(n) for n in notices] == [
        "nodules.csv: 1 rows of scans that are not in the folder (line 2)",
        "nodules.csv: 1 rows without a size (line 3)",
    ]


@pytest.mark.parametrize(
    ("text", "columns", "error", "words"),
    [
        ("a,b\n1,2\n", {}, UsageError, "no column for series, x, y, z, diameter"),
        ("series,x,y,z\n1.2.3,1,2,3\n", {}, UsageError, "no column for diameter"),
        ("series,x,y,z,d\n1.2.3,1,2,3,4\n", {"diameter": "size"}, UsageError, "no column size"),
        ("series,x,y,z,diameter\n1.2.3,1,2,three,4\n", {}, InputError, "line 2: z is not"),
        ("series,x,y,z,diameter\n,1,2,3,4\n", {}, InputError, "line 2: no series"),
    ],
)
def test_a_table_without_what_is_needed_is_refused(tmp_path, text, columns, error, words):
    with pytest.raises(error, match=words):
        read_points(table(tmp_path, text), columns, "lps", NAMES)


@pytest.mark.parametrize("code", ["LPS", "LPI", "RAS", "LSP"])
def test_every_frame_means_the_same_place(tmp_path, chest, code):
    """Voxels are those of the file, whose axes luna turns when it reads it."""
    scan = chest(slices=10, rows=40, columns=50)
    turned, stored = to_stored_axes(scan.hu, scan.geometry, code)
    scan = Scan(
        hu=scan.hu.copy(),
        geometry=scan.geometry,
        series_uid="1.2.3",
        provenance=Provenance(source="a", format="NIfTI", stored_orientation=code),
    )
    voxel = np.array([7.0, 8.0, 3.0])  # column, row, slice of the file
    assert (voxel < turned.shape[::-1]).all()
    lps = stored.xyz_from_irc(voxel[::-1])
    for frame, place in {"voxel": voxel, "lps": lps, "ras": ras_from_lps(lps)}.items():
        cells = ",".join(map(repr, map(float, place)))
        path = table(tmp_path, f"series,x,y,z,diameter\n1.2.3,{cells},8\n")
        points, *_ = read_points(path, {}, frame, NAMES)
        (nodule,), left = points["1.2.3"].annotate(scan)
        assert np.allclose(nodule.center_xyz, lps)
        assert (nodule.diameter_mm, left) == (8, 0)
