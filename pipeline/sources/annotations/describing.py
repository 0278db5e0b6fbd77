"""What indexes and class tables say of images, before any object is named."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.choice import Classes
from pipeline.sources.annotations.references import Images, MissingImage, base_of
from pipeline.sources.annotations.tables import Row, Table, description, label_classes
from pipeline.sources.annotations.tally import Tally
from pipeline.sources.patients import PatientKeys
from pipeline.volumes.read import volume_to_json
from pipeline.volumes.store import VolumeStore


@dataclass
class Descriptions:
    """Tables applied one after the other; they add up, and a later one replaces what an earlier one said.

    ``changed`` are the volumes whose records are others now.
    """

    images: Images
    store: VolumeStore
    keys: PatientKeys
    changed: dict[str, None] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _values: dict[str, dict[int, str]] = field(default_factory=dict)

    def take(self, path: str, table: Table, tally: Tally) -> None:
        """Apply the table of the file at ``path``. An image may be one of several volumes: it describes all of them."""
        action: Callable[[str, list[Row]], None] = self._describe if table.kind == "index" else self._classify
        for number, (reference, rows) in enumerate(table.entries.items(), start=1):
            entry = f"entry {number}: " if len(table.entries) > 1 else ""
            try:
                for volume_id in self.images.volumes(reference, base_of(path)):
                    action(volume_id, rows)
            except MissingImage as error:
                tally.missing.append(f"{entry}{error}")
            except AnnotationError as error:
                # An index lists more than is there by nature; classes of values that are not there are lost.
                of_nothing = table.kind == "index" and "no image" in str(error)
                (tally.missing if of_nothing else tally.wrong).append(f"{entry}{error}")
            else:
                tally.used += 1

    def classes(self, volume_id: str) -> Classes:
        """What the tables say of the classes of a volume's objects."""
        return Classes(self._labels.get(volume_id, ""), self._values.get(volume_id))

    def _describe(self, volume_id: str, rows: list[Row]) -> None:
        what = description(rows[0])
        before = self.store.get(volume_id)
        of_dicom = before.attributes.get("format") == "dicom"
        after = self.store.describe(
            volume_id,
            patient_key=None if what.patient_id is None else self.keys.key(what.patient_id),
            modality=None if of_dicom else what.modality,
            subset=what.subset,
            attributes=what.attributes,
        )
        if volume_to_json(after) != volume_to_json(before):
            self.changed[volume_id] = None
        if what.label is not None:
            self._labels[volume_id] = what.label

    def _classify(self, volume_id: str, rows: list[Row]) -> None:
        self._values[volume_id] = label_classes(rows)
