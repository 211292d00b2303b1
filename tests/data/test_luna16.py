"""LUNA16 folders: sound, partial, odd and damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from luna.data.luna16.annotated import add_annotations
from luna.data.luna16.folder import read_luna16
from luna.phantom.cohort import write_cohort
from luna.phantom.config import PhantomConfig
from luna.run.errors import InputError, UsageError

HEAD = "seriesuid,coordX,coordY,coordZ"


def folder(
    root: Path,
    *,
    scans=("subset0/a", "subset1/b", "subset3/c"),
    annotations=("a,0,0,0,10", "b,5,5,5,6"),
    candidates=("a,1,0,0,1", "a,50,0,0,0", "b,5,5,5,1", "c,9,9,9,0"),
    name="candidates_V2.csv",
    **more: str,
) -> Path:
    for scan in scans:
        path = root / f"{scan}.mhd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write(root / "annotations.csv", f"{HEAD},diameter_mm", annotations)
    write(root / name, f"{HEAD},class", candidates)
    for stem, text in more.items():
        (root / f"{stem}.csv").write_text(text)
    return root


def write(path: Path, head: str, rows) -> None:
    path.write_text("\n".join([head, *rows]) + "\n")


def said(data) -> list[str]:
    return [str(n) for n in data.notices]


def test_a_sound_folder(tmp_path):
    data = read_luna16(folder(tmp_path))
    assert data.series == ("a", "b", "c")
    assert data.fold_of == {"a": 0, "b": 1, "c": 3}
    assert data.notices == ()
    assert data.nodules.diameter_mm.tolist() == [10, 6]
    assert data.candidates.nodule.tolist() == [0, -1, 1, -1]
    assert data.candidates.line.tolist() == [2, 3, 4, 5]
    assert data.candidates_of("a") == slice(0, 2)
    assert data.nodules_of("c") == slice(2, 2)


def test_any_part_of_the_scans_may_be_there(tmp_path):
    data = read_luna16(folder(tmp_path, scans=("subset1/b",)))
    assert data.series == ("a", "b", "c")
    assert data.nodules.diameter_mm.tolist() == [6]
    assert data.candidates.nodule.tolist() == [0]
    assert said(data) == [
        "annotations.csv: 1 annotations of scans that are not on disk (line 2)",
        "candidates_V2.csv: 3 candidates of scans that are not on disk (lines 2, 3 and 5)",
    ]


@pytest.mark.parametrize("listed", [{}, {"seriesuids": "a\nb\nc\n"}])
def test_what_macos_leaves_beside_a_copied_scan_is_no_scan(tmp_path, listed):
    data = read_luna16(folder(tmp_path, scans=("subset0/a", "subset0/._a"), **listed))
    assert data.series == ("a", "b", "c")
    assert list(data.files) == ["a"]


def test_old_candidates_are_read_when_alone_and_said(tmp_path):
    data = read_luna16(folder(tmp_path, name="candidates.csv"))
    assert len(data.candidates.line) == 4
    assert "candidates_V2.csv" in said(data)[0]


def test_new_candidates_win(tmp_path):
    folder(tmp_path, name="candidates.csv", candidates=("a,0,0,0,1",))
    data = read_luna16(folder(tmp_path))
    assert len(data.candidates.line) == 4
    assert data.notices == ()


def test_odd_rows_are_skipped_and_named(tmp_path):
    data = read_luna16(
        folder(
            tmp_path,
            annotations=("b,5,5,5,6", "a,0,0,0,10", "a,0,0,0,10", "a,90,0,0,0", "a,91,0,0,-1"),
            candidates=(
                "a,50,0,0,0",
                "a,50,0,0,0",
                "a,4,0,0,0",  # inside the nodule of a
                "a,0,1,0,1",
                "a,0,2,0,1",
                "a,60,0,0,1",  # in no nodule
                "b,5,5,6,0",
                "b,5,5,6,0",
                "b,5,5,5,0",  # the same place as positive: that one stays
                "b,5,5,5,1",
                "b,5,5,5,1",
            ),
            patients="seriesuid,patient\na,p\nb,q\na,p\n",
        )
    )
    assert said(data) == [
        "annotations.csv: 2 annotations without a diameter (lines 5 and 6)",
        "annotations.csv: 1 annotations that repeat another (line 4)",
        "candidates_V2.csv: 4 candidates that repeat another (lines 3, 9, 10 and 12)",
        "candidates_V2.csv: 1 positive candidates outside all annotated nodules (line 7)",
        "candidates_V2.csv: 2 negative candidates inside a nodule (lines 4 and 8)",
        "patients.csv: 1 rows that repeat another (line 4)",
    ]
    assert data.nodules.diameter_mm.tolist() == [10, 6]
    assert data.candidates.nodule.tolist() == [-1, 0, 0, 1]  # two marks joined to one nodule


def test_a_candidate_is_of_the_nodule_whose_border_is_nearest(tmp_path):
    data = read_luna16(
        folder(
            tmp_path,
            annotations=("a,0,0,0,30", "a,20,0,0,6"),
            candidates=(
                "a,14,0,0,1",  # in the large one, nearer to the centre of the small one
                "a,13.5,0,0,0",  # there too, said to be none
                "a,16,0,0,1",  # between the two
                "a,18,0,0,1",  # in the small one
            ),
        )
    )
    assert data.candidates.nodule.tolist() == [0, 1]
    assert [s for s in said(data) if "annotat" not in s.split(":")[1]] == [
        "candidates_V2.csv: 1 negative candidates inside a nodule (line 3)",
    ]


def test_unknown_malignancy_stays_a_nodule(tmp_path):
    verdicts = f"{HEAD},diameter_mm,mal_bool\na,0.0000001,0,0,10,True\nz,1,1,1,5,False\n"
    data = read_luna16(folder(tmp_path, annotations_with_malignancy=verdicts))
    assert data.nodules.malignant.tolist() == [1, -1]
    verdicts = f"{HEAD},diameter_mm,mal_bool\nb,5,5,5,6,False\na,3,0,0,10,True\n"
    data = read_luna16(folder(tmp_path, annotations_with_malignancy=verdicts))
    assert data.nodules.malignant.tolist() == [-1, 0]
    assert said(data) == [
        "annotations_with_malignancy.csv: 1 verdicts that belong to no annotated nodule (line 3)"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": ("a,0,0,0,10", "b,5,x,5,6")}, "line 3: coordY is not a finite number"),
        ({"annotations": ("a,0,0,nan,10",)}, "line 2: coordZ is not a finite number"),
        ({"annotations": ("a,0,0,0",)}, "line 2: 4 cells where the header has 5"),
        ({"candidates": ("a,0,0,0,1", "", "a,0,0,0,2", "a,0,0,0,yes")}, "line 4: class.*line: 5"),
        ({"candidates": (",0,0,0,1",)}, "line 2: no seriesuid"),
        ({"seriesuids": "a\nb\n"}, "1 series are not in the full list.*candidates_V2.csv, line 5"),
        (
            {"scans": ("subset0/a", "subset1/x"), "seriesuids": "a\nb\nc\n"},
            "1 scans on disk are not in the full list.*subset1/x.mhd",
        ),
        ({"scans": ()}, "no scans here"),
        ({"annotations": ("a,0,0,0,10", "b,5,5,5,6", "a,0,0,0,9")}, "line 4: diameter_mm differs"),
        ({"annotations": ("a,0,0,0,0", "a,0,0,0,9")}, "line 3: diameter_mm differs"),
        (
            {"annotations_with_malignancy": f"{HEAD},mal_bool\na,0,0,0,True\na,0,0,0,False\n"},
            "line 2: mal_bool differs",
        ),
        ({"patients": "seriesuid,patient\na,p\nb,q\na,q\n"}, "line 4: patient differs"),
        ({"patients": "seriesuid\na\n"}, "no column patient"),
    ],
)
def test_damaged_folders_are_refused_by_line(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_luna16(folder(tmp_path, **change))


def test_a_series_on_both_sides_of_a_split_is_refused(tmp_path):
    with pytest.raises(UsageError, match="two subsets"):
        read_luna16(folder(tmp_path, scans=("subset0/a", "subset4/a")))


def test_a_missing_or_binary_table_is_refused(tmp_path):
    folder(tmp_path)
    (tmp_path / "annotations.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read_luna16(tmp_path)


def test_missing_annotations_say_where_they_come_from(tmp_path):
    (folder(tmp_path) / "annotations.csv").unlink()
    with pytest.raises(InputError, match=r"annotations\.csv: this table is missing") as caught:
        read_luna16(tmp_path)
    assert "zenodo.org/records/3723295" in caught.value.hint


def test_without_candidates_every_nodule_is_one_and_the_notice_says_so(tmp_path):
    (folder(tmp_path) / "candidates_V2.csv").unlink()
    data = read_luna16(tmp_path)
    assert not data.has_candidates
    assert data.candidates.nodule.tolist() == [0, 1]
    (notice,) = said(data)
    assert notice.startswith("candidates_V2.csv: there is no such table")
    assert "zenodo.org/records/3723295" in notice


def test_a_class_that_a_spreadsheet_wrote_is_read(tmp_path):
    data = read_luna16(folder(tmp_path, candidates=("a,0,0,0,1.0", "a,9,0,0,0.0")))
    assert data.candidates.is_nodule.tolist() == [True, False]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("cohort")
    config = PhantomConfig(size=64, slab_mm=36, slice_mm=(2.5, 2.5), without_nodules=0)
    write_cohort(out, 3, 4, config)
    return out


def test_a_phantom_cohort_reads_without_a_notice(cohort):
    data = read_luna16(cohort)
    assert data.notices == ()
    assert len(data.nodules.line) >= 3
    assert (data.nodules.malignant >= 0).all()
    assert set(data.candidates.nodule[data.candidates.is_nodule]) == set(
        range(len(data.nodules.line))
    )


@pytest.mark.shared_data
def test_the_challenge_itself(shared, tmp_path):
    for name in ("annotations.csv", "annotations_with_malignancy.csv", "seriesuids.csv"):
        shutil.copyfile(shared / "luna16" / name, tmp_path / name)
    (tmp_path / "subset0").mkdir()
    for uid in (tmp_path / "seriesuids.csv").read_text().split():
        (tmp_path / "subset0" / f"{uid}.mhd").touch()
    rows = (shared / "luna16" / "annotations.csv").read_text().splitlines()[1:]
    marks = [row.rsplit(",", 1)[0] + ",1" for row in rows]
    write(tmp_path / "candidates_V2.csv", f"{HEAD},class", marks)
    data = read_luna16(tmp_path)
    assert len(data.series) == 888
    assert len(data.nodules.line) == 1186
    assert np.bincount(data.nodules.malignant + 1).tolist() == [4, 804, 378]
    assert data.candidates.nodule.tolist() == list(range(1186))
    assert data.notices == ()


@pytest.mark.parametrize(
    "scans",
    [("subset0/subset0/a", "subset1/b", "subset3/subset3/c"), ("subset0/a", "subset1/subset1/b")],
)
def test_scans_unpacked_twice_are_found(tmp_path, scans):
    data = read_luna16(folder(tmp_path, scans=scans))
    assert [data.fold_of[Path(scan).name] for scan in scans] == [int(scan[6]) for scan in scans]
    assert sorted(data.files) == sorted(Path(scan).name for scan in scans)


def test_the_folder_above_is_taken_for_the_one_in_it(tmp_path):
    folder(tmp_path / "LUNA16")
    assert read_luna16(tmp_path).root == tmp_path / "LUNA16"
    folder(tmp_path / "another")
    with pytest.raises(UsageError, match=r"2 folders with scans here \(LUNA16, another\)"):
        read_luna16(tmp_path)


def test_nodules_that_no_candidate_lies_in_are_told_and_added_on_demand(tmp_path):
    data = read_luna16(folder(tmp_path, candidates=("a,1,0,0,1", "c,9,9,9,0", "c,8,8,8,0")))
    (told,) = said(data)
    assert told.startswith("annotations.csv: 1 annotated nodules contain no candidate")
    assert told.endswith("from_annotations=true (line 3)")
    more = add_annotations(data)
    assert more.notices == ()
    assert more.candidates.series.tolist() == [0, 1, 2, 2]
    assert more.candidates.center_xyz[1].tolist() == [5, 5, 5]
    assert more.candidates.nodule.tolist() == [0, 1, -1, -1]
    again = add_annotations(more)
    assert len(again.candidates) == len(more.candidates)
