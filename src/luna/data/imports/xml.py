"""XML files of annotations: elements by name in any namespace, and numbers that are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from luna.run.errors import InputError
from luna.run.text import for_message

XML_BYTES_MAX = 1 << 26
"""The largest file of LIDC-IDRI has 2 MB."""

WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
"""`int` also takes "1_0" and the digits of other scripts."""

DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
"""`float` also takes "nan" and "inf"."""

MILLIMETRES_MAX = 1e5
"""No scanner's table reaches 100 m from the origin."""

SHOWN = 40
"""Characters of a wrong value that a message quotes."""


def read_root(path: Path) -> Element:
    """Read an XML file; return its outermost element.

    Raises InputError for a file that is damaged, too large, or declares entities.
    """
    if not path.is_file() or path.stat().st_size > XML_BYTES_MAX:
        raise InputError("not an XML file of LIDC-IDRI", file=path)
    data = path.read_bytes()
    plain = data.replace(b"\0", b"")  # UTF-16 has a zero byte beside each of these letters
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise InputError("the XML declares entities, which luna does not expand", file=path)
    try:
        return ElementTree.fromstring(data)  # noqa: S314
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # The last two for an encoding that Python does not have, or that the parser cannot use.
        raise InputError("the XML is damaged", file=path, why=str(error)) from error


def children(element: Element, name: str) -> Iterator[Element]:
    """Yield the children of a name, in any namespace."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def text_of(element: Element, name: str) -> str:
    """Return the text of the first element of a name below this one; empty without one."""
    found = (e.text or "" for e in element.iter() if e.tag.rpartition("}")[2] == name)
    return next(found, "").strip()


def whole_number(element: Element, name: str, allowed: range, place: str) -> int:
    """Read a whole number; messages name `place`, where the element stands in the file.

    Raises InputError when it is missing, not a whole number, or not in the range.
    """
    text = text_of(element, name)
    if WHOLE.fullmatch(text) and int(text) in allowed:
        return int(text)
    raise _wrong(name, text, f"a whole number from {allowed[0]} to {allowed[-1]}", place)


def millimetres(element: Element, name: str, place: str) -> float:
    """Read a coordinate in mm; messages name `place`, where the element stands in the file.

    Raises InputError when it is missing, not a finite number, or farther than any scanner.
    """
    text = text_of(element, name)
    if DECIMAL.fullmatch(text) and abs(float(text)) <= MILLIMETRES_MAX:
        return float(text)
    raise _wrong(name, text, f"a number of at most {MILLIMETRES_MAX:.0f} mm", place)


def _wrong(name: str, text: str, wanted: str, place: str) -> InputError:
    """Return the error for a wrong value; its way out is in `what`, as batches drop hints."""
    return InputError(
        f"{name} has to be {wanted}; correct the file or remove it",
        why=f"it is '{for_message(text, most=SHOWN)}' in {place}" if text else f"none in {place}",
    )
