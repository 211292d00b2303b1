"""`import luna`: the names it promises, how little they load, and the README's example."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import SimpleITK as sitk

import luna
from luna.ct.scan import Scan

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

PROMISED = {
    "Candidates",
    "DiagnoseConfig",
    "Finding",
    "Findings",
    "Geometry",
    "LunaError",
    "Measurement",
    "Models",
    "Scan",
    "diagnose",
    "load_models",
    "read_scan",
    "write_report",
}


def test_the_public_names_are_those_promised() -> None:
    assert set(luna.__all__) == PROMISED
    assert set(dir(luna)) >= PROMISED


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_public_name_is_documented_where_it_is_defined(name: str) -> None:
    value = getattr(luna, name)
    assert value.__name__ == name
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'diagnosis'"):
        luna.diagnosis  # noqa: B018


def test_importing_luna_loads_no_library() -> None:
    code = "import sys, luna; print(sorted({'numpy', 'torch', 'SimpleITK'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(luna.__file__).parent / "py.typed").is_file()


def test_the_example_of_the_readme_runs(
    nodule_chest: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there, on a `scan.mhd` in the working folder."""
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(example.splitlines()) <= 10
    image = sitk.GetImageFromArray(nodule_chest.hu)
    image.SetSpacing(nodule_chest.geometry.spacing_xyz)
    sitk.WriteImage(image, str(tmp_path / "scan.mhd"))
    monkeypatch.chdir(tmp_path)
    names = SimpleNamespace()
    exec(compile(example, "README.md", "exec"), vars(names))  # noqa: S102
    assert isinstance(names.findings, luna.Findings)
    assert (tmp_path / "report" / "report.html").is_file()
