"""What the DICOM annotation objects share: opening one, its sequences, its codes, and the images it is about."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from pipeline.errors import AnnotationError, SourceError
from pipeline.sources.annotations.marks import Reference
from pipeline.sources.dicom.header import open_dataset, text
from pipeline.sources.identifiers import uid_digest


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while an object is read into an `AnnotationError`; no header value is quoted."""
    try:
        yield
    except AnnotationError:
        raise
    except SourceError as error:
        raise AnnotationError(str(error)) from error
    except MemoryError as error:
        raise AnnotationError(f"reading the {what} needs more memory than is allowed") from error
    except Exception as error:
        raise AnnotationError(f"the {what} cannot be read ({type(error).__name__}): damaged or incomplete") from error


def open_annotation(path: Path, sop_classes: Iterable[str], what: str, pixels: bool = False) -> FileDataset:
    """The data set of one annotation object.

    Raises:
        AnnotationError: not DICOM, cut, or of another SOP class.
    """
    with reading(what):
        dataset = open_dataset(path, pixels)
        if text(dataset, "SOPClassUID") not in set(sop_classes):
            raise AnnotationError(f"the DICOM object is no {what}: its SOP class is another")
        return dataset


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty where it is missing.

    Raises:
        AnnotationError: the element is no sequence.
    """
    value = dataset.get(keyword)
    if value is None:
        return []
    found = list(value) if not isinstance(value, str | bytes) else []
    if any(not isinstance(item, Dataset) for item in found) or (value and not found):
        raise AnnotationError(f"{keyword} must be a sequence")
    return found


def needed_items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence that must have some."""
    found = items(dataset, keyword)
    if not found:
        raise AnnotationError(f"{keyword} is missing or empty")
    return found


def code(dataset: Dataset, keyword: str) -> tuple[str, str]:
    """``(code value, coding scheme)`` of a code sequence's first item; empty strings where there is none."""
    found = items(dataset, keyword)
    if not found:
        return "", ""
    value = text(found[0], "CodeValue") or text(found[0], "LongCodeValue") or text(found[0], "URNCodeValue")
    return value, text(found[0], "CodingSchemeDesignator")


def meaning(dataset: Dataset, keyword: str) -> str:
    """CodeMeaning of a code sequence's first item; empty where there is none."""
    found = items(dataset, keyword)
    return text(found[0], "CodeMeaning") if found else ""


def instance(item: Dataset) -> str:
    """The digest of an item's ReferencedSOPInstanceUID; empty where it has none."""
    return uid_digest(text(item, "ReferencedSOPInstanceUID")) or ""


def reference_to(instances: Iterable[str], series: str = "") -> Reference:
    """The images by digests of their instances, else of their series.

    Raises:
        AnnotationError: neither is named.
    """
    named = tuple(dict.fromkeys(one for one in instances if one))
    if named:
        return Reference(instances=named)
    if not series:
        raise AnnotationError("it names neither instances nor a series, so its image is unknown")
    return Reference(series=series)


def referenced_series(dataset: Dataset) -> list[tuple[str, tuple[str, ...]]]:
    """``(series, instances)`` by digest of the common instance reference (PS3.3 C.12.2), other studies included."""
    found = items(dataset, "ReferencedSeriesSequence")
    for study in items(dataset, "StudiesContainingOtherReferencedInstancesSequence"):
        found += items(study, "ReferencedSeriesSequence")
    return [
        (
            uid_digest(text(one, "SeriesInstanceUID")) or "",
            tuple(filter(None, map(instance, items(one, "ReferencedInstanceSequence")))),
        )
        for one in found
    ]
