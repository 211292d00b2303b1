"""Errors say what, which file, why; the file is attached in one place."""

import pytest

from luna.run.errors import InputError, UsageError, naming


def test_a_file_is_attached_to_an_error_that_names_none() -> None:
    with pytest.raises(InputError) as caught, naming("scan.nii"):
        raise InputError("the orientation is singular", why="zero", hint="export it again")
    assert str(caught.value) == "scan.nii: the orientation is singular (zero)"
    assert caught.value.hint == "export it again"


def test_a_file_that_an_error_names_stays() -> None:
    with pytest.raises(UsageError) as caught, naming("outer"), naming("inner"):
        raise UsageError("no such file", file="innermost")
    assert caught.value.file == "innermost"
    with pytest.raises(UsageError) as caught, naming(None):
        raise UsageError("no such file")
    assert caught.value.file is None
