"""Whose data shaped a model: it may not be judged on them."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.datasets.cases import Case


@dataclass(frozen=True)
class Seen:
    """Patients and volumes that shaped a model, by training or by choosing its epoch and threshold.

    Patient keys are hashed with a secret of the home folder and mean nothing in another; volume ids are digests of the
    voxels and hold everywhere, so a scan is recognised even where its patient is not.
    """

    patients: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()

    @classmethod
    def in_cases(cls, cases: Iterable[Case]) -> "Seen":
        pairs = [(case.patient_key, case.volume.volume_id) for case in cases]
        return cls(frozenset(patient for patient, _ in pairs), frozenset(volume for _, volume in pairs))

    def holds(self, case: Case) -> bool:
        return case.patient_key in self.patients or case.volume.volume_id in self.volumes

    def joined(self, other: "Seen") -> "Seen":
        return Seen(self.patients | other.patients, self.volumes | other.volumes)
