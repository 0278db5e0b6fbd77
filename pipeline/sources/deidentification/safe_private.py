"""Private attributes that are known to hold no identity (PS3.15 Table E.3.10-1): creator → group → elements.

Of the table, what volumes and projections need: ultrasound's private volumes and the makers' message texts are left
out. An element is its lower byte; the upper one is the block that the file gave to the creator (PS3.5 7.8.1).
"""


def _elements(text: str) -> frozenset[int]:
    return frozenset(int(element, 16) for element in text.split())


SAFE_PRIVATE: dict[tuple[str, int], frozenset[int]] = {
    ("ELSCINT1", 0x00E1): _elements("21"),
    ("ELSCINT1", 0x01E1): _elements("26 50"),
    ("ELSCINT1", 0x01F1): _elements("01 07 26 27"),
    ("GEIIS PACS", 0x0903): _elements("10 11 12"),
    ("GEMS_ACQU_01", 0x0019): _elements("23 24 27 9E"),
    ("GEMS_HELIOS_01", 0x0045): _elements("01 02"),
    ("GEMS_PARM_01", 0x0043): _elements("27 39 6F"),
    ("GEMS_SENO_02", 0x0045): _elements("06 1B 20 27 29 2A 2B 49 58 59 60 61 64 71 72 90 A0 A1 A2 A4 A7 A8"),
    ("GEMS_SERS_01", 0x0025): _elements("07"),
    ("NQLeft", 0x0199): frozenset(range(0x01, 0x17)),
    ("NQRight", 0x0299): frozenset(range(0x01, 0x17)),
    ("Philips Imaging DD 001", 0x2001): _elements("03 04"),
    ("Philips MR Imaging DD 001", 0x2005): _elements("0D 0E"),
    ("Philips PET Private Group", 0x7053): _elements("00 09"),
    ("SIEMENS MR HEADER", 0x0019): _elements("0C 0D 0E 27"),
}


def is_safe(creator: str, group: int, element: int) -> bool:
    """Whether private element (``group``, ``element``) of this creator's block may stay."""
    return element & 0xFF in SAFE_PRIVATE.get((creator.strip(), group), frozenset())
