"""A CT slice with a distinctive value planted in every attribute of the table, and an independent search for them."""

import itertools

import numpy as np
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from pipeline.sources.deidentification.rules import table
from tests.sources.written import oblique_slice

# (text of the value, forms in which it may survive)
Planted = dict[str, list[bytes]]
OVERLAYS = (0x60003000, 0x60004000, 0x60020022, 0x50003000, 0x50022500)
# These say whose file it is and how it is read: a second value is not possible there.
_TAKEN = {0x00080016, 0x00080005}


def value_of(vr: str, number: int) -> tuple[object, str]:
    """A value that no other element has, and its text. Numbers of two bytes hold too little to be searched for."""
    name = f"PLANT{number:05d}Q"
    values: dict[str, object] = {
        "AS": f"{number % 1000:03d}Y",
        "DA": f"1931{1 + number % 12:02d}{1 + number % 28:02d}",
        "DS": f"7{number:05d}.125",
        "DT": f"19310203040506.{number:06d}",
        "FD": 7e7 + number,
        "FL": 7e7 + 8 * number,
        "IS": f"7{number:06d}",
        "OB": f"{name} ".encode(),
        "OW": f"{name} ".encode(),
        "PN": f"{name}^JANE",
        "TM": f"010203.{number:06d}",
        "UI": f"1.2.826.0.77.{number}.9",
        "UL": 70_000_000 + number,
        "UN": f"{name} ".encode(),
        "UR": f"http://{name}.example/",
        "US": 40_000 + number,
        "SS": 20_000 + number,
    }
    value = values.get(vr, name)
    text = value.decode().strip() if isinstance(value, bytes) else str(value)
    return value, f"{name}^JANE".split("^")[0] if vr == "PN" else text


class Planter:
    """Plants values and remembers them."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def plant(self, dataset: Dataset, tag: int, vr: str) -> None:
        number = next(self._numbers)
        if vr == "SQ":
            value: object = Sequence([self._item(), self._item()])
        else:
            value, text = value_of(vr, number)
            if vr not in ("US", "SS", "AS"):
                self.texts[text] = f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {vr}"
        dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)

    def _item(self) -> Dataset:
        """What a sequence of the table may hold: a code, texts, references, another sequence."""
        item = Dataset()
        inner = Dataset()
        for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
            self.plant(inner, tag_for_keyword(keyword), dictionary_VR(keyword))
        keywords = ("TextValue", "PersonName", "Date", "Time", "NumericValue", "ReferencedSOPInstanceUID", "TextString",
                    "ValueType", "ImageComments", "LUTExplanation")  # fmt: skip
        for keyword in keywords:
            self.plant(item, tag_for_keyword(keyword), dictionary_VR(keyword))
        item.ConceptNameCodeSequence = Sequence([inner])
        return item

    def plant_table(self, dataset: Dataset, lowest_group: int = 0x0008) -> None:
        for tag in table():
            if tag >> 16 >= lowest_group and tag not in _TAKEN:
                self.plant(dataset, tag, vr_of(tag))
        for tag in OVERLAYS:
            self.plant(dataset, tag, "OB" if tag & 0xFFFF == 0x3000 else "LO")

    def plant_private(self, dataset: Dataset) -> None:
        block = dataset.private_block(0x0029, "PLANT CREATOR", create=True)
        self.texts["PLANT CREATOR"] = "private creator"
        for offset, vr in enumerate(("LO", "UN", "OB", "PN", "DA", "UI", "IS", "SQ"), start=1):
            self.plant(dataset, block.get_tag(offset), vr)


def vr_of(tag: int) -> str:
    try:
        return dictionary_VR(tag).split(" ")[0]
    except KeyError:
        return "LO"


def planted_slice() -> tuple[FileDataset, dict[str, str]]:
    """Everything planted at the top, one and two levels down in sequences that stay, and in private ones."""
    planter = Planter()
    made = oblique_slice(0, np.arange(64, dtype=np.int16).reshape(8, 8))
    inner, outer = Dataset(), Dataset()
    for dataset, lowest in ((inner, 0x0000), (outer, 0x0000), (made, 0x0008)):
        planter.plant_table(dataset, lowest)
        planter.plant_private(dataset)
    # Tags that no dictionary knows, and bytes whose kind nobody gives.
    planter.plant(made, 0x00186FF0, "UN")
    planter.plant(inner, 0x00186FF0, "LO")
    outer.PixelMeasuresSequence = Sequence([inner])
    made.SharedFunctionalGroupsSequence = Sequence([outer])
    private = Dataset()
    planter.plant_table(private)
    made.private_block(0x0031, "PLANT CREATOR", create=True).add_new(0x10, "SQ", Sequence([private]))
    made.Modality = "CT"
    return made, planter.texts


def survivors(data: bytes, texts: dict[str, str]) -> list[str]:
    """Which planted texts are in ``data``: as they are, in UTF-16, and dates in the forms that people write."""
    lowered = data.lower()
    return [f"{where}: {text}" for text, where in texts.items() if any(form in lowered for form in _forms(text))]


def _forms(text: str) -> list[bytes]:
    forms = [text]
    if len(text) == 8 and text.isdigit():
        year, month, day = text[:4], text[4:6], text[6:]
        forms += [f"{year}-{month}-{day}", f"{year}.{month}.{day}", f"{day}.{month}.{year}", f"{month}/{day}/{year}"]
    return [one.lower().encode(code) for one in forms for code in ("utf-8", "utf-16-le", "utf-16-be")]
