"""XML files of annotations: what is no number is refused with its place, and nothing else is."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.data.imports.xml import MILLIMETRES_MAX, children, millimetres, read_root, whole_number
from luna.run.errors import InputError

NO_NUMBER = ["", "x", "nan", "inf", "-Infinity", "1e999", "1_0", "٣", "0x10", "1,5", "9" * 5000]
IMAGE = range(-1, 513)


def element(text: str) -> ElementTree.Element:
    root = ElementTree.Element("edgeMap")
    ElementTree.SubElement(root, "{http://www.nih.gov}xCoord").text = text
    return root


@given(st.integers(-1, 512), st.sampled_from(["{}", " {} ", "\n{}\t"]))
def test_whole_numbers_of_the_range_are_read(number: int, written: str) -> None:
    assert whole_number(element(written.format(number)), "xCoord", IMAGE, "here") == number


@given(st.floats(-MILLIMETRES_MAX, MILLIMETRES_MAX))
def test_places_are_read_as_python_writes_them(z: float) -> None:
    assert millimetres(element(repr(z)), "xCoord", "here") == z


@pytest.mark.parametrize("text", [*NO_NUMBER, "1.0", "-2", "513"])
def test_what_is_no_pixel_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="xCoord has to be a whole number from -1 to 512") as got:
        whole_number(element(text), "xCoord", IMAGE, "outline 3")
    assert "outline 3" in got.value.why
    assert len(got.value.why) < 80


@pytest.mark.parametrize("text", [*NO_NUMBER, "100000.1", "-1e300"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="has to be a number of at most 100000 mm"):
        millimetres(element(text), "xCoord", "outline 3")


def test_a_missing_element_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as got:
        whole_number(element("1"), "yCoord", IMAGE, "outline 3")
    assert got.value.why == "none in outline 3"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', encoding=encoding)
    with pytest.raises(InputError, match="declares entities"):
        read_root(path)


@pytest.mark.parametrize("encoding", ["no-such-code", "utf-32", "idna"])
def test_an_encoding_that_cannot_be_read_is_the_files_fault(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f'<?xml version="1.0" encoding="{encoding}"?><x/>')
    with pytest.raises(InputError, match="the XML is damaged"):
        read_root(path)


def test_names_are_found_in_every_namespace() -> None:
    root = ElementTree.Element("x")
    for tag in ("{http://n}roi", "roi", "other"):
        ElementTree.SubElement(root, tag)
    assert [child.tag for child in children(root, "roi")] == ["{http://n}roi", "roi"]
