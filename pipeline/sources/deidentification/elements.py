"""Elements as the file holds them: looked at and replaced without decoding what is not touched."""

from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag


def vr_of(dataset: Dataset, tag: BaseTag) -> str:
    """The file's value representation; the dictionary's where the file gives none or UN."""
    vr = dataset.get_item(tag).VR
    if vr not in (None, "UN"):
        return str(vr)
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def put(dataset: Dataset, tag: BaseTag, vr: str, value: Any) -> None:
    """Set an element's value, without a check: it is written by rule."""
    dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def is_empty(dataset: Dataset, tag: BaseTag) -> bool:
    item = dataset.get_item(tag)
    return not item.value if isinstance(item, RawDataElement) else bool(item.is_empty)


def raw(dataset: Dataset, tag: BaseTag) -> bytes:
    """An element's bytes, in the file's encoding where it was not decoded yet, else in UTF-8."""
    item = dataset.get_item(tag)
    if isinstance(item, RawDataElement):
        return item.value or b""
    return item.value if isinstance(item.value, bytes) else "\\".join(texts(dataset, tag)).encode("utf-8", "replace")


def put_text(dataset: Dataset, tag: BaseTag, vr: str, value: bytes) -> None:
    """Set a text's bytes, which are in the encoding in which `raw` gave them."""
    item = dataset.get_item(tag)
    if isinstance(item, RawDataElement):
        padded = value + b" " * (len(value) % 2)
        dataset[tag] = item._replace(value=padded, length=len(padded))
    else:
        put(dataset, tag, vr, value.decode("utf-8", "replace").split("\\"))


def texts(dataset: Dataset, tag: BaseTag) -> list[str]:
    """An element's values as text."""
    value = dataset[tag].value
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip(" \0")
    several = not isinstance(value, str) and hasattr(value, "__iter__") and type(value).__name__ != "PersonName"
    return [str(one) for one in value] if several else [str(value)]


def label(tag: BaseTag) -> tuple[str, str]:
    """Tag and keyword as a report names them: no private element is named beyond its group."""
    if tag.is_private:
        return f"({tag.group:04X},xxxx)", "private"
    if tag.group >> 8 in (0x50, 0x60):
        return f"({tag.group >> 8:02X}xx,{tag.element:04X})", "curve or overlay"
    return f"({tag.group:04X},{tag.element:04X})", keyword_for_tag(tag) or "unknown"
