"""Which files are label maps, and which image a file means by its own name and place.

- A file in a folder ``label``, ``labels``, ``mask`` or ``masks`` belongs to the image of the same stem below the folder
  above (or, under ``annotations/``, below the archive). Files in ``label(s)`` hold instances, those in ``mask(s)``
  masks (see `pipeline.sources.annotations.label_maps`).
- A file ``lesions`` belongs to the only image beside it; its connected components are the lesions.
- A file named ``mask``, ``label``, ``seg`` belongs to the only image beside it; one whose name begins or ends so
  (``mask_a``, ``a_seg``, ``mask3d``), to the image ``a`` beside it.
- A segmentation ``a.seg.nrrd`` and Slicer's markups belong to the image ``a``, beside it or below its archive, else
  to the only image beside them. Other files of marks (GeoJSON) must have their image's name.
"""

from pathlib import PurePosixPath

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.label_maps import LabelRule
from pipeline.sources.annotations.references import Images, MissingImage, base_of
from pipeline.sources.walk import stem

_FOLDERS: dict[str, LabelRule] = {"label": "instances", "labels": "instances", "mask": "mask", "masks": "mask"}
_NAMES: dict[str, LabelRule] = {
    "mask": "mask",
    "seg": "mask",
    "segmentation": "mask",
    "label": "instances",
    "labels": "instances",
}
_SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
_OF_SLICER = (*_SEGMENTATIONS, ".mrk.json", ".fcsv")
_OF_MARKS = (".mrk.json", ".fcsv", ".geojson", ".json", ".xml")


def label_rule(path: str) -> LabelRule | None:
    """How the file at ``path`` is to be taken as a label map, or `None` where its place and name say image."""
    folder = _FOLDERS.get(PurePosixPath(path).parent.name.lower())
    if path.lower().endswith(_SEGMENTATIONS):
        return "instances"
    if folder is not None:
        return folder
    name = stem(path).lower()
    if name in ("lesion", "lesions"):
        return "lesions"
    word, _ = _split(name)
    return _NAMES[word] if word else None


def header_of(path: str) -> str:
    """The header of a NIfTI pair whose data file is ``path``, as it would be called; else an empty text."""
    for data, header in ((".img", ".hdr"), (".img.gz", ".hdr.gz")):
        if path.lower().endswith(data):
            return path[: -len(data)] + header
    return ""


def image_of(path: str, images: Images) -> tuple[str, ...]:
    """The volumes of the one image that the file at ``path`` belongs to.

    Raises:
        AnnotationError: no such image, or several.
        MissingImage: the image was refused itself.
    """
    folder = PurePosixPath(path).parent
    if path.lower().endswith(_OF_MARKS) or path.lower().endswith(_SEGMENTATIONS):
        return _named(path, images)
    if folder.name.lower() in _FOLDERS:
        base = folder.parent.parent if folder.parent.name == "annotations" else folder.parent
        return images.of_file(stem(path), str(base))
    _, rest = _split(stem(path).lower())
    return images.beside(
        path, [rest, *(f"{word}{rest}" for word in ("img_", "image_", "img", "image"))] if rest else []
    )


def _named(path: str, images: Images) -> tuple[str, ...]:
    name = _own_name(path)
    base = base_of(path)
    folder = PurePosixPath(path).parent
    if folder.name.lower() in _FOLDERS and base == str(folder):
        base = str(folder.parent)
    for find in (lambda: images.beside(path, [name, stem(name)]), lambda: images.of_file(name, base)):
        try:
            return find()
        except MissingImage:
            raise
        except AnnotationError as error:
            reason = error
    if path.lower().endswith(_OF_SLICER):
        return images.beside(path, [])
    raise reason


def _own_name(path: str) -> str:
    """The file's name without what says that it is an annotation: ``a.png.geojson`` → ``a.png``."""
    name = PurePosixPath(path).name
    suffix = next(one for one in (*_SEGMENTATIONS, *_OF_MARKS) if name.lower().endswith(one))
    return name[: -len(suffix)]


def _split(name: str) -> tuple[str, str]:
    """``mask_a`` or ``a_mask`` → ``("mask", "a")``, ``mask3d`` → ``("mask", "3d")``.

    The word is empty where the name is no label map's.
    """
    for word in _NAMES:
        if name == word:
            return word, ""
        if name.startswith(word) and name[len(word)].isdigit():
            return word, name[len(word) :]
        for joint in "_-":
            if name.startswith(word + joint):
                return word, name[len(word) + 1 :]
            if name.endswith(joint + word):
                return word, name[: -len(word) - 1]
    return "", ""
