"""What the decoding child does for a de-identification: a few files, each with its own end."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.deidentification.dicom_file import Refused, deidentify_dicom
from pipeline.sources.deidentification.nifti_file import deidentify_nifti
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.rules import Rules

NIFTI_STUDY = "nifti"


def deidentify_files(job: dict[str, Any]) -> dict[str, Any]:
    """``{"files": […]}``: one entry for each of ``job["paths"]``, in their order.

    ``job``: ``out`` (folder), ``options`` (of `DeidentifyOptions`), ``key`` (hex), ``names`` (relative, as the user
    calls the files) and ``kinds`` ("dicom" or "nifti") beside ``paths``.
    """
    options = DeidentifyOptions(**job["options"])
    rules, pseudonyms = Rules(options), Pseudonyms(bytes.fromhex(job["key"]))
    out = Path(job["out"])
    entries = []
    for path, name, kind in zip(job["paths"], job["names"], job["kinds"], strict=True):
        try:
            if kind == "nifti":
                entries.append(_nifti(Path(path), name, out, pseudonyms))
            else:
                entries.append(_dicom(Path(path), out, rules, options, pseudonyms))
        except Refused as refusal:
            entries.append({"reason": str(refusal), "study": refusal.study})
        except SourceError as error:
            entries.append({"reason": str(error)})
        except (MemoryError, RecursionError):
            entries.append({"reason": "the file needs more memory or depth than is allowed"})
    return {"files": entries}


def _dicom(path: Path, out: Path, rules: Rules, options: DeidentifyOptions, pseudonyms: Pseudonyms) -> dict[str, Any]:
    try:
        written = deidentify_dicom(path, out, rules, options, pseudonyms)
    except (SourceError, OSError, MemoryError, RecursionError):
        raise
    except Exception as error:  # a library's message may quote a header value
        raise SourceError(f"cannot be de-identified ({type(error).__name__}): damaged") from error
    return {
        "path": written.path,
        "patient": written.patient,
        "study": written.study,
        "series": written.series,
        "flags": list(written.flags),
        "counts": [[*what, count] for what, count in sorted(written.counts.items())],
    }


def _nifti(path: Path, name: str, out: Path, pseudonyms: Pseudonyms) -> dict[str, Any]:
    place = PurePosixPath(name)
    suffix = next((one for one in (".nii.gz", ".nii") if place.name.lower().endswith(one)), "")
    if not suffix:
        raise SourceError("not a single NIfTI file (.nii): a pair of files is not de-identified")
    stem = place.name[: -len(suffix)]
    folder = pseudonyms.name(str(place.parent))
    target = f"{NIFTI_STUDY}/{folder}/{pseudonyms.name(stem)}{suffix}"
    found = deidentify_nifti(path, out / target)
    counts = Counter({("NIfTI", field, "removed"): count for field, count in found.items()})
    return {
        "path": target,
        "patient": "",
        "study": NIFTI_STUDY,
        "series": folder,
        "flags": [],
        "counts": [[*what, count] for what, count in sorted(counts.items())],
    }
