"""The options of `luna diagnose` about the patient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from luna.report.guidelines import Guidance

PANEL = "Guidelines"


def _fact(flag: str, words: str) -> object:
    return typer.Option(f"--{flag}/--no-{flag}", help=words, rich_help_panel=PANEL)


Guideline = Annotated[
    Literal["none", "lung-rads", "fleischner", "both"],
    typer.Option(
        "--guideline",
        help="State what a guideline recommends: Lung-RADS for screening, Fleischner for other "
        "scans.",
        rich_help_panel=PANEL,
    ),
]
Age = Annotated[
    int | None,
    typer.Option("--age", help="Age in years; default: from DICOM.", rich_help_panel=PANEL),
]
Sex = Annotated[
    Literal["F", "M"] | None,
    typer.Option("--sex", help="Sex; default: from DICOM.", rich_help_panel=PANEL),
]
Risk = Annotated[
    Literal["low", "high"] | None,
    typer.Option("--risk", help="Risk of lung cancer, for Fleischner.", rich_help_panel=PANEL),
]
Smoker = Annotated[bool | None, _fact("smoker", "Smokes or smoked.")]
FamilyHistory = Annotated[bool | None, _fact("family-history", "Lung cancer in the family.")]
Emphysema = Annotated[bool | None, _fact("emphysema", "Emphysema on CT.")]
Cancer = Annotated[bool | None, _fact("cancer", "A known cancer.")]


def guidance(options: Mapping[str, Any]) -> Guidance | None:
    """Return the guidelines that the options ask for, with the patient's facts, or None.

    Raises UsageError when there are facts about the patient and no guideline to use them.
    """
    from luna.clinical.patient import Patient
    from luna.run.errors import UsageError

    names = {item.name for item in fields(Patient)} & set(options)
    facts = {name: options[name] for name in names if options[name] is not None}
    if options["guideline"] != "none":
        from luna.report.guidelines import Guidance  # with numpy and more: slow to load

        return Guidance(options["guideline"], Patient(**facts))
    if facts:
        first = min(facts).replace("_", "-")
        raise UsageError(
            f"--{first} is used by guidelines only, and no guideline was chosen",
            hint="add --guideline lung-rads, fleischner or both",
        )
    return None


def guideline_lines(out: Path) -> list[str]:
    """Return the guideline statements of the report in a folder, a line each."""
    section = json.loads((out / "report.json").read_text(encoding="utf-8")).get("guidelines", {})
    statements = [_statement_line(s) for s in section.get("statements", ())]
    probabilities = [_probability_line(p) for p in section.get("probabilities", ())]
    return [*statements, *dict.fromkeys(probabilities)]  # what all findings lack stands once


def _statement_line(statement: dict[str, Any]) -> str:
    if statement["category"] is None:
        return f"{statement['guideline']}: no category, since {statement['withheld']}"
    place = f" (finding {statement['nodule']})" if statement["nodule"] else ""
    return f"{statement['guideline']}: {statement['row']}{place}. {statement['management']}"


def _probability_line(p: dict[str, Any]) -> str:
    if p["lowest"] is None:
        return f"{p['model']}: no probability, since {p['withheld']}"
    low, high = f"{p['lowest']:.1%}", f"{p['highest']:.1%}"
    text = f"{p['model']}, finding {p['nodule']}: {low if low == high else f'{low} to {high}'}"
    return f"{text} (not known: {', '.join(p['not_assessed'])})" if p["not_assessed"] else text
