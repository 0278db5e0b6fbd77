"""What the user may choose about de-identification: the options of DICOM PS3.15 E.3."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

# The edition of PS3.15 that the attribute table follows.
EDITION = "2026c"
# Raised whenever the rules change, so that what older ones made is made again.
RULES = 1
_BASIC = "113100"
_DATES = {"remove": None, "keep": "113106", "shift": "113107"}


@dataclass(frozen=True)
class DeidentifyOptions:
    """The Basic Application Level Confidentiality Profile (all off), and what is retained or cleaned instead.

    ``dates``: taken away (the profile), shifted by one secret number of days for each patient (Retain Longitudinal
    Temporal Information, Modified Dates; times of day stay), or kept (… Full Dates).
    ``clean_…``: texts keep the words of a medical vocabulary and lose every other, instead of going as a whole.
    ``accept_burned_in``: take images on whose pixels text may be burned; somebody has looked at them.
    """

    dates: Literal["remove", "shift", "keep"] = "remove"
    retain_uids: bool = False
    retain_device: bool = False
    retain_institution: bool = False
    retain_patient_characteristics: bool = False
    retain_safe_private: bool = False
    clean_descriptors: bool = False
    clean_structured_content: bool = False
    clean_graphics: bool = False
    accept_burned_in: bool = False

    @property
    def codes(self) -> tuple[str, ...]:
        """Code values of CID 7050 (PS3.16), coding scheme DCM, in ascending order."""
        chosen = {
            "113103": self.clean_graphics,
            "113104": self.clean_structured_content,
            "113105": self.clean_descriptors,
            "113108": self.retain_patient_characteristics,
            "113109": self.retain_device,
            "113110": self.retain_uids,
            "113111": self.retain_safe_private,
            "113112": self.retain_institution,
        }
        dates = _DATES[self.dates]
        return tuple(sorted([_BASIC, *(code for code, on in chosen.items() if on), *([dates] if dates else [])]))

    def to_json(self) -> dict[str, Any]:
        """The options, with what they are carried out by."""
        return {**asdict(self), "table": f"DICOM PS3.15 {EDITION} Table E.1-1", "rules": RULES}

    @property
    def digest(self) -> str:
        """Names these options with these rules."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]
