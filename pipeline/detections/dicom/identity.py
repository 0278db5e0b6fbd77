"""Who says it, when, and under which UIDs: the same scan, version and detections give the same object, byte for byte.

UIDs are below 2.25 (PS3.5 B.2), each from a digest of what the object is made of; an object with other detections has
another one, so that nothing on an archive is ever overwritten by something else.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from pipeline.detections.detection import Detections
from pipeline.detections.dicom import codes
from pipeline.sources.dicom.origin import Origin

_NAMESPACE = uuid.UUID("0a3cf0b5-5a8e-5d17-9c1c-6d7b7a2f0e11")
# Raised when the same detections are written in another way.
_WRITING = 1
_EMPTY_IF_MISSING = (
    "PatientID PatientName PatientBirthDate PatientSex AccessionNumber StudyID StudyDate StudyTime "
    "ReferringPhysicianName"
)
_EMPTY_OF_SPECIMENS = ("IssuerOfTheSpecimenIdentifierSequence", "SpecimenPreparationSequence")
_TIMES = (("AcquisitionDate", "AcquisitionTime"), ("ContentDate", "ContentTime"), ("SeriesDate", "SeriesTime"))


@dataclass(frozen=True)
class Author:
    """A registered version: ``name`` and ``version`` as registered, ``digest`` of its files, when it was registered."""

    name: str
    version: str
    digest: str
    registered_at: datetime


@dataclass(frozen=True)
class Identity:
    """What one object is called. ``when`` is the earliest time at which it could have been made (see `identify`)."""

    series_uid: str
    instance_uid: str
    when: datetime

    def part(self, *names: object) -> str:
        """The UID of something within the object."""
        return derived_uid(self.instance_uid, *names)


def derived_uid(*parts: object) -> str:
    """A valid UID that depends on ``parts`` alone."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def identify(kind: str, origin: Origin, detections: Detections, author: Author) -> Identity:
    """The identity of the object of one kind (``SR``, ``SEG`` …).

    Its time is that of the scan or of the version's registration, whichever is later: a wall clock would make two
    exports of the same result differ.
    """
    first = origin.instances[0]
    series = derived_uid(_WRITING, kind, first.study_uid, first.series_uid, author.name, author.version, author.digest)
    instances = sorted(one.instance_uid for one in origin.instances)
    # By digest, since thousands of slices would make a long name.
    sources = uuid.uuid5(_NAMESPACE, " ".join(instances))
    content = uuid.uuid5(_NAMESPACE, _content(detections))
    return Identity(series, derived_uid(series, sources, content), _when(origin, author))


def subject(origin: Origin) -> Dataset:
    """The first instance's header, with what a new object of its study must not lack (empty where it is unknown)."""
    made = origin.dataset()
    for keyword in _EMPTY_IF_MISSING.split():
        if keyword not in made:
            setattr(made, keyword, "")
    for specimen in made.get("SpecimenDescriptionSequence", ()):
        for keyword in _EMPTY_OF_SPECIMENS:
            if keyword not in specimen:
                setattr(specimen, keyword, [])
    return made


def algorithm_of(author: Author) -> hd.AlgorithmIdentificationSequence:
    """Which version made an object (PS3.3 table 10-19)."""
    return hd.AlgorithmIdentificationSequence(
        name=f"cellscan/{author.name}",
        family=codes.NETWORK,
        version=author.version,
        source="cellscan",
        parameters={"digest": author.digest},
    )


def common(identity: Identity, author: Author, number: int, what: str) -> dict[str, Any]:
    """What highdicom's objects take of series, equipment and time; ``number`` is that of the series."""
    day, time = identity.when.strftime("%Y%m%d"), identity.when.strftime("%H%M%S")
    return {
        "series_instance_uid": identity.series_uid,
        "series_number": number,
        "sop_instance_uid": identity.instance_uid,
        "instance_number": 1,
        "manufacturer": "cellscan",
        "manufacturer_model_name": f"cellscan/{author.name}"[:64],
        "software_versions": author.version,
        "device_serial_number": author.digest[:16],
        "series_description": f"{what} by {author.name}/{author.version}"[:64],
        "series_date": day,
        "series_time": time,
        "content_date": day,
        "content_time": time,
        "specific_character_set": "ISO_IR 192",
    }


def settle(made: Dataset, identity: Identity) -> Dataset:
    """The object without what depends on when and where it was written."""
    made.InstanceCreationDate = identity.when.strftime("%Y%m%d")
    made.InstanceCreationTime = identity.when.strftime("%H%M%S")
    if "ContributingEquipmentSequence" in made:
        del made.ContributingEquipmentSequence
    return made


def _content(detections: Detections) -> str:
    parts = [detections.boxes.lower, detections.boxes.upper, detections.scores, detections.labels]
    if detections.outlines is not None:
        parts.append(detections.outlines)
    digest = uuid.uuid5(_NAMESPACE, " ".join(detections.classes))
    for part in parts:
        content = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
        digest = uuid.uuid5(digest, f"{part.shape} {content}")
    return str(digest)


def _when(origin: Origin, author: Author) -> datetime:
    made = origin.dataset()
    for day, time in _TIMES:
        stated = f"{made.get(day) or ''}{str(made.get(time) or '')[:6]:0<6}"
        try:
            return max(datetime.strptime(stated, "%Y%m%d%H%M%S"), author.registered_at)
        except ValueError:
            continue
    return author.registered_at
