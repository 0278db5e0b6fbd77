"""Colours of a slide: what stands where no tile is, and which stain gave them."""

import numpy as np
from pydicom.dataset import Dataset

from pipeline.sources.dicom.header import numbers

# CIELab → XYZ at D50, the profile connection space that DICOM's CIELab values are in (PS3.3 C.10.7.1.1) → linear sRGB.
_WHITE_D50 = np.array([0.9642, 1.0, 0.8249])
_XYZ_D50_TO_RGB = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)
_USING_SUBSTANCE = ("424361007", "G-C350")
# SNOMED CT and SRT codes of the common stains: codes, for the words beside them are free text.
_STAINS = {
    **dict.fromkeys(("12710003", "C-22968"), "hematoxylin"),
    **dict.fromkeys(("36879007", "C-22919"), "eosin"),
}


def absent_colour(dataset: Dataset, channels: int, white: int) -> tuple[int, ...]:
    """What to show where a tile is absent, one value a channel, ``white`` the largest.

    RecommendedAbsentPixelCIELabValue as sRGB; without it white, but 0 (no light) in a grey picture.
    """
    stated = numbers(dataset, "RecommendedAbsentPixelCIELabValue", 3)
    if stated is None:
        return (white,) * 3 if channels == 3 else (0,)
    lightness, a, b = stated[0] / 65535 * 100, stated[1] / 257 - 128, stated[2] / 257 - 128
    if channels == 1:
        a = b = 0.0
    share = _srgb(lightness, a, b)
    return tuple(round(float(one) * white) for one in share[:channels])


def _srgb(lightness: float, a: float, b: float) -> np.ndarray:
    """sRGB in 0 … 1 of a CIELab colour; colours outside of sRGB take its nearest edge."""
    y = (lightness + 16) / 116
    roots = np.array([y + a / 500, y, y - b / 200])
    edge = 6 / 29
    xyz = np.where(roots > edge, roots**3, 3 * edge**2 * (roots - 4 / 29)) * _WHITE_D50
    linear = np.clip(_XYZ_D50_TO_RGB @ xyz, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def stain(dataset: Dataset) -> dict[str, str]:
    """``{"stain": "hematoxylin, eosin"}`` where the specimen's preparation names stains by a known code."""
    found = []
    for specimen in dataset.get("SpecimenDescriptionSequence") or []:
        for step in specimen.get("SpecimenPreparationSequence") or []:
            for item in step.get("SpecimenPreparationStepContentItemSequence") or []:
                if _code(item, "ConceptNameCodeSequence") in _USING_SUBSTANCE:
                    found.append(_STAINS.get(_code(item, "ConceptCodeSequence"), ""))
    known = list(dict.fromkeys(one for one in found if one))
    return {"stain": ", ".join(known)} if known else {}


def _code(item: Dataset, sequence: str) -> str:
    codes = item.get(sequence) or []
    return str(codes[0].get("CodeValue", "")) if codes else ""
