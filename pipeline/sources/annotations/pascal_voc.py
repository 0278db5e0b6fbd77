"""Pascal VOC's XML (http://host.robots.ox.ac.uk/pascal/VOC): one file an image, boxes in pixels.

Pixels count from 1 and the last one belongs to the box (VOC devkit, "top-left pixel has coordinates (1,1)"), so a box
``xmin … xmax`` covers the edges ``xmin − 1 … xmax``: one pixel has ``xmin == xmax``. ``difficult`` objects are to be
ignored. A document type or an entity is refused: the format has none, and they can be made to fill the memory.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.documents import numbers, read_text
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference, Refused

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_pascal_voc(path: Path) -> bool:
    """Whether the document's outermost element is VOC's ``annotation``, with a file's name or objects inside."""
    try:
        root = _root(path)
    except AnnotationError:
        return False
    return root.tag == "annotation" and (root.find("filename") is not None or root.find("object") is not None)


def read_pascal_voc(path: Path) -> list[MarkSet | LabelMapSet | Refused]:
    """One set, of the image that ``filename`` names.

    Raises:
        AnnotationError: not well-formed, no file name, or an object without a whole box.
    """
    root = _root(path)
    name = _text(root, "filename")
    size = root.find("size")
    shape: tuple[int, ...] = ()
    if size is not None:
        width, height = numbers((_text(size, "width"), _text(size, "height")), "width, height", 2)
        shape = (int(width), int(height)) if width > 0 and height > 0 else ()  # some tools write 0 for not known
    marks = tuple(_mark(one) for one in root.findall("object"))
    return [MarkSet(Reference(file=name), "edge_px", marks, shape=shape)]


def _mark(one: ElementTree.Element) -> Mark:
    box = one.find("bndbox")
    if box is None:
        raise AnnotationError("an object has no 'bndbox'")
    left, top, right, bottom = numbers([_text(box, name) for name in _CORNERS], ", ".join(_CORNERS), 4)
    if right < left or bottom < top:
        raise AnnotationError(f"a box ends before it starts: x {left} … {right}, y {top} … {bottom}")
    ignore = _text(one, "difficult") == "1"
    return Mark(_text(one, "name"), np.array([[left - 1, top - 1], [right, bottom]]), "box", ignore=ignore)


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


class _NoDocumentType(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise AnnotationError("the XML has a document type: entities are not read")


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(read_text(path), ElementTree.XMLParser(target=_NoDocumentType()))
    except (ElementTree.ParseError, ValueError) as error:
        raise AnnotationError("the file is not well-formed XML") from error
