"""Which files are label maps, and of which image.

- A file in a folder ``label``, ``labels``, ``mask`` or ``masks`` belongs to the image of the same stem below the folder
  above (or, under ``annotations/``, below the archive). Files in ``label(s)`` hold instances, those in ``mask(s)``
  masks (see `pipeline.sources.annotations.label_maps`).
- A file ``lesions`` belongs to the only image beside it; its connected components are the lesions.
- A file named ``mask``, ``label``, ``seg`` belongs to the only image beside it; one whose name begins or ends so
  (``mask_a``, ``a_seg``), to the image ``a`` beside it.
"""

from pathlib import PurePosixPath

from pipeline.sources.annotations.label_maps import LabelRule
from pipeline.sources.annotations.references import Images
from pipeline.sources.walk import stem

_FOLDERS: dict[str, LabelRule] = {"label": "instances", "labels": "instances", "mask": "mask", "masks": "mask"}
_NAMES: dict[str, LabelRule] = {
    "mask": "mask",
    "seg": "mask",
    "segmentation": "mask",
    "label": "instances",
    "labels": "instances",
}


def label_rule(path: str) -> LabelRule | None:
    """How the file at ``path`` is to be taken as a label map, or `None` where its place and name say image."""
    folder = _FOLDERS.get(PurePosixPath(path).parent.name.lower())
    if folder is not None:
        return folder
    name = stem(path).lower()
    if name in ("lesion", "lesions"):
        return "lesions"
    word, _ = _split(name)
    return _NAMES[word] if word else None


def image_of(path: str, images: Images) -> str:
    """The volume that the label map at ``path`` belongs to.

    Raises:
        AnnotationError: no such image, or several.
        MissingImage: the image was refused itself.
    """
    folder = PurePosixPath(path).parent
    if folder.name.lower() in _FOLDERS:
        base = folder.parent.parent if folder.parent.name == "annotations" else folder.parent
        return images.of_reference(stem(path), str(base))
    _, rest = _split(stem(path).lower())
    return images.beside(path, [rest, f"img_{rest}", f"image_{rest}"] if rest else [])


def _split(name: str) -> tuple[str, str]:
    """``mask_a`` or ``a_mask`` → ``("mask", "a")``; an empty word where the name is no label map's."""
    for word in _NAMES:
        if name == word:
            return word, ""
        for joint in "_-":
            if name.startswith(word + joint):
                return word, name[len(word) + 1 :]
            if name.endswith(joint + word):
                return word, name[: -len(word) - 1]
    return "", ""
