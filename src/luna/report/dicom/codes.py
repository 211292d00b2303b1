"""The coded concepts of SEG and SR, and luna's own where the standard has none.

Source: DICOM PS3.16, CID 218, 6141, 7150, 7162, 7464 and TID 1411, 1501; SNOMED CT, UCUM, LOINC.
"""

from __future__ import annotations

from typing import Final

from pydicom.sr.coding import Code

from luna.clinical.nodule import Kind
from luna.detect.findings import Plane, Side, Status
from luna.detect.prior.changes import Verdict

OWN: Final = "99LUNA"
"""luna's private scheme: names that begin with 99 are free (PS3.16, 8.2)."""

ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NODULE = Code("27925004", "SCT", "Nodule")
OPACITY = Code("112001", "DCM", "Opacity")
LUNG = Code("39607008", "SCT", "Lung")
SIDES: dict[Side, Code] = {
    "right": Code("24028007", "SCT", "Right"),
    "left": Code("7771000", "SCT", "Left"),
}
CT = Code("25045-6", "LN", "CT unspecified body region")
"""The one CT of CID 100; the findings tell the region."""

AI = Code("123110", "DCM", "Artificial Intelligence")
DEVICE = Code("121007", "DCM", "Device")
COMMENT = Code("121106", "DCM", "Comment")

VOLUME = Code("118565006", "SCT", "Volume")
DIAMETER = Code("81827009", "SCT", "Diameter")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
HU_MEAN = Code("112181", "DCM", "Mean Attenuation Coefficient")
HU_MIN = Code("112179", "DCM", "Minimum Attenuation Coefficient")
HU_MAX = Code("112180", "DCM", "Maximum Attenuation Coefficient")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
P_CANCER = Code("111047", "DCM", "Probability of cancer")
SOLID_MM = Code("SOLID_MM", OWN, "Mean diameter of the solid part")

PRIOR_VOLUME = Code("PRIOR_VOLUME", OWN, "Volume in the prior scan")
VOLUME_CHANGE = Code("VOLUME_CHANGE", OWN, "Change of volume since the prior scan")
GROWTH_MM = Code("GROWTH_MM", OWN, "Growth of mean diameter")
DOUBLING_DAYS = Code("DOUBLING_DAYS", OWN, "Volume doubling time")

MEAN = Code("373098007", "SCT", "Mean")
MINIMUM = Code("255605001", "SCT", "Minimum")
MAXIMUM = Code("56851009", "SCT", "Maximum")

MM = Code("mm", "UCUM", "millimeter")
MM3 = Code("mm3", "UCUM", "cubic millimeter")
ML = Code("ml", "UCUM", "milliliter")
HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
DAYS = Code("d", "UCUM", "day")
PERCENT = Code("%", "UCUM", "Percent")

METHOD_HALF_WAY = Code("HALF_WAY", OWN, "Each voxel by its share of nodule")
METHOD_VOXELS = Code("VOXELS", OWN, "Voxels of the mask")
METHOD_SOLID = Code("ABOVE_-300_HU", OWN, "Part above -300 HU")
METHOD_NETWORK = Code("NETWORK", OWN, "Output of a neural network")
METHOD_COMPARED = Code("COMPARED", OWN, "Both scans measured by the same software")
METHOD_PLANES: dict[Plane, Code] = {
    "axial": Code("AXIAL", OWN, "In the axial plane of greatest size"),
    "coronal": Code("CORONAL", OWN, "In the coronal plane of greatest size"),
    "sagittal": Code("SAGITTAL", OWN, "In the sagittal plane of greatest size"),
}

KIND = Code("KIND", OWN, "Kind of nodule")
KINDS: dict[Kind | None, Code] = {
    "solid": Code("SOLID", OWN, "Solid"),
    "part-solid": Code("PART_SOLID", OWN, "Part-solid"),
    "ground-glass": Code("112120", "DCM", "Ground glass opacity"),
    None: Code("NO_KIND", OWN, "Too faint and small for the slices"),
}
STATUS = Code("STATUS", OWN, "Outcome of the search for nodules")
STATUSES: dict[Status, Code] = {
    "clear": Code("CLEAR", OWN, "Looked at both lungs and found nothing"),
    "findings": Code("FINDINGS", OWN, "Findings"),
    "opacity": Code("OPACITY", OWN, "Opacity that no network judged"),
    "limited": Code("LIMITED", OWN, "Limited: not all could be judged"),
}
CHANGE = Code("CHANGE", OWN, "Change since the prior scan")
CHANGES: dict[Verdict, Code] = {
    "new": Code("NEW", OWN, "New"),
    "grown": Code("GROWN", OWN, "Grown"),
    "stable": Code("STABLE", OWN, "Stable"),
    "smaller": Code("SMALLER", OWN, "Smaller"),
    "gone": Code("GONE", OWN, "Gone"),
    "not shown": Code("NOT_SHOWN", OWN, "Not shown by the other scan"),
}
