"""What one annotation file says → annotations in the store, and which file annotates which volume."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.choice import choose, placed
from pipeline.sources.annotations.describing import Descriptions
from pipeline.sources.annotations.layouts import image_of
from pipeline.sources.annotations.marks import BESIDE, MarkSet, Reference, Refused
from pipeline.sources.annotations.place import Placed
from pipeline.sources.annotations.read import Contents, StoredLabelMap
from pipeline.sources.annotations.references import Images, MissingImage, base_of
from pipeline.sources.annotations.tally import Tally
from pipeline.sources.catalog import AnnotationRecord
from pipeline.types import LabelMap
from pipeline.volumes import Annotations
from pipeline.volumes.store import VolumeStore

_Set = MarkSet | StoredLabelMap


@dataclass
class Application:
    """Annotation files applied one after the other: the first one to annotate a volume keeps it.

    ``annotated`` holds what each volume has now, by volume id; ``elsewhere`` the volumes that files of other archives
    annotate: one scan in two archives has one truth, and nobody guesses whose.
    """

    images: Images
    store: VolumeStore
    descriptions: Descriptions
    annotated: dict[str, AnnotationRecord] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()

    def take(self, path: str, contents: Contents, tally: Tally, generic: str) -> None:
        """Apply what the file at ``path`` says. All that it says of one image is used, or nothing of it."""
        groups: dict[tuple[str, ...], list[_Set]] = {}
        for number, one in enumerate(contents.sets, start=1):
            entry = f"entry {number}: " if len(contents.sets) > 1 else ""
            if isinstance(one, Refused):
                tally.wrong.append(f"{entry}{one.reason}")
                continue
            try:
                groups.setdefault(self.volumes(path, one.reference), []).append(one)
            except MissingImage as error:
                tally.missing.append(f"{entry}{error}")
            except AnnotationError as error:
                tally.wrong.append(f"{entry}{error}")
        for volumes, sets in groups.items():
            self._attempt(path, contents.format or "", volumes, sets, tally, generic)

    def volumes(self, path: str, reference: Reference) -> tuple[str, ...]:
        """The volumes that ``reference`` in the file at ``path`` may mean (errors as for `Images.volumes`)."""
        return image_of(path, self.images) if reference == BESIDE else self.images.volumes(reference, base_of(path))

    def keep(self, record: AnnotationRecord) -> None:
        """What the volume has stays as it is."""
        self.annotated[record.volume_id] = record

    def is_taken(self, volume_id: str, path: str) -> bool:
        """Whether another file than ``path`` annotates the volume."""
        record = self.annotated.get(volume_id)
        return record is not None and record.path != path

    def _attempt(
        self, path: str, name: str, volumes: tuple[str, ...], sets: Sequence[_Set], tally: Tally, generic: str
    ) -> None:
        try:
            volume, note = choose(sets, [self.store.get(volume_id) for volume_id in volumes])
            if self.is_taken(volume.volume_id, path):
                raise AnnotationError("its image is annotated by another file already")
            if volume.volume_id in self.elsewhere:
                tally.again = True
                raise AnnotationError("its image is annotated by another archive's file already, which stands")
            result = placed(sets, volume, self.descriptions.classes(volume.volume_id), generic)
        except AnnotationError as error:
            tally.wrong += [str(error)] * len(sets)
            return
        self._write(volume.volume_id, result)
        self.annotated[volume.volume_id] = _record(volume.volume_id, path, name, result.annotations)
        tally.used += len(sets)
        tally.volumes[volume.volume_id] = None
        tally.notes.update(dict.fromkeys((*result.notes, *note, *self._missing(sets))))

    def _missing(self, sets: Sequence[_Set]) -> tuple[str, ...]:
        named = {one for part in sets for one in part.reference.instances}
        missing = len(named) - len(self.images.at_instances(named))
        return (f"{missing} of the {len(named)} images that it names are not there",) if missing else ()

    def _write(self, volume_id: str, result: Placed) -> None:
        """Store the result, unless it is there already: annotations are applied again whenever an archive changes."""
        before = self.store.get(volume_id).annotations
        if not isinstance(result.label_map, Path) and _same(before, result.annotations):
            stored = self.store.label_map(volume_id)
            if _equal(stored, result.label_map):
                return
        self.store.annotate(volume_id, result.annotations, result.label_map)


def _same(before: Annotations | None, after: Annotations) -> bool:
    return (
        before is not None
        and before.labels == after.labels
        and before.from_points == after.from_points
        and np.array_equal(before.ignore, after.ignore)
        and np.array_equal(before.boxes.lower, after.boxes.lower)
        and np.array_equal(before.boxes.upper, after.boxes.upper)
    )


def _equal(one: LabelMap | None, other: LabelMap | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _record(volume_id: str, path: str, name: str, annotations: Annotations) -> AnnotationRecord:
    counts = dict.fromkeys(annotations.labels, 0)
    for label in annotations.labels:
        counts[label] += 1
    return AnnotationRecord(volume_id, path, name, len(annotations), counts, annotations.from_points)
