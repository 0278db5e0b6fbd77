"""The functional groups of a multi-frame object: facts that hold for all frames, and facts of each frame.

Source: DICOM PS3.3 C.7.6.16. A group stands either in the shared or in the per-frame sequence; where both state it,
the frame's own counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from pipeline.errors import SourceError

# Where the groups state what a single-frame header states under its own keyword: (group, keyword in it).
_GROUPS = {
    "ImagePositionPatient": (("PlanePositionSequence", ""),),
    "ImageOrientationPatient": (("PlaneOrientationSequence", ""),),
    "PixelSpacing": (("PixelMeasuresSequence", ""),),
    "SliceThickness": (("PixelMeasuresSequence", ""),),
    "SpacingBetweenSlices": (("PixelMeasuresSequence", ""),),
    "RescaleSlope": (("PixelValueTransformationSequence", ""),),
    "RescaleIntercept": (("PixelValueTransformationSequence", ""),),
    "ImageType": (
        ("MRImageFrameTypeSequence", "FrameType"),
        ("CTImageFrameTypeSequence", "FrameType"),
        ("PETFrameTypeSequence", "FrameType"),
    ),
    "ComplexImageComponent": (("MRImageFrameTypeSequence", ""),),
    "EchoTime": (("MREchoSequence", "EffectiveEchoTime"),),
    "InversionTime": (("MRModifierSequence", "InversionTimes"),),
    "FlipAngle": (("MRTimingAndRelatedParametersSequence", ""),),
    "RepetitionTime": (("MRTimingAndRelatedParametersSequence", ""),),
    "DiffusionBValue": (("MRDiffusionSequence", ""),),
    "KVP": (("CTXRayDetailsSequence", ""),),
    "ConvolutionKernel": (("CTReconstructionSequence", ""),),
    "BodyPartExamined": (("FrameAnatomySequence", ""),),
    "NominalPercentageOfCardiacPhase": (("CardiacSynchronizationSequence", ""),),
    "TriggerTime": (("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),),
    "TemporalPositionIndex": (("FrameContentSequence", ""),),
    "StackID": (("FrameContentSequence", ""),),
    "AcquisitionNumber": (("FrameContentSequence", "FrameAcquisitionNumber"),),
    "AcquisitionDateTime": (("FrameContentSequence", "FrameAcquisitionDateTime"),),
}
# Legacy converted objects keep what has no group of its own as it was (PS3.3 C.7.6.16.2.25, C.7.6.16.2.26).
_UNASSIGNED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
# StackID, InStackPositionNumber, ImagePositionPatient, ImageOrientationPatient, SliceLocation.
_PLACE_DIMENSIONS = (0x00209056, 0x00209057, 0x00200032, 0x00200037, 0x00201041)


@dataclass(frozen=True, eq=False)
class FunctionalGroups:
    """Of one file with header ``dataset``; frames are numbered from 0."""

    dataset: Dataset
    _frames: Sequence[Dataset] = field(repr=False)
    _known: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, dataset: Dataset, count: int) -> "FunctionalGroups":
        """The groups of a file of ``count`` frames.

        Raises:
            SourceError: the per-frame sequence is there and has not one item a frame.
        """
        frames = _items(dataset, "PerFrameFunctionalGroupsSequence")
        if frames and len(frames) != count:
            raise SourceError(f"PerFrameFunctionalGroupsSequence must have {count} items, got {len(frames)}")
        return cls(dataset, frames)

    def of_frame(self, frame: int) -> dict[str, Dataset]:
        """The first item of every group as it holds for ``frame``, by the group's keyword."""
        own = _groups(self._frames[frame]) if self._frames else {}
        return {**self._shared, **own}

    def of_file(self, keyword: str) -> Any:
        """A value of the file's own header. Asked for by every frame, so it is looked for once."""
        if keyword not in self._known:
            self._known[keyword] = self.dataset.get(keyword)
        return self._known[keyword]

    @cached_property
    def _shared(self) -> dict[str, Dataset]:
        items = _items(self.dataset, "SharedFunctionalGroupsSequence")
        return _groups(items[0]) if items else {}


class FrameValues:
    """One frame's header values under the keywords of a single-frame header, for `text`, `numbers`, `rescale` ….

    A value is looked for in its functional group, then among the unassigned converted attributes, then in the header of
    the whole file. ``items`` are the groups' first items by keyword.
    """

    def __init__(self, groups: FunctionalGroups, frame: int) -> None:
        self.frame = frame
        self.items = groups.of_frame(frame)
        self._groups = groups

    def get(self, keyword: str, /) -> Any:
        if keyword == "DiffusionGradientOrientation":
            return self._gradient()
        if keyword == "DimensionIndexValues":
            return self._dimensions()
        for sequence, name in (*_GROUPS.get(keyword, ()), *((one, "") for one in _UNASSIGNED)):
            item = self.items.get(sequence)
            value = None if item is None else item.get(name or keyword)
            if value is not None:
                return value
        return self._groups.of_file(keyword)

    def _gradient(self) -> Any:
        """The direction's numbers, or in words that it has none (``ISOTROPIC``, ``NONE``)."""
        diffusion = self.items.get("MRDiffusionSequence")
        if diffusion is None:
            return None
        directions = _items(diffusion, "DiffusionGradientDirectionSequence")
        if directions:
            return directions[0].get("DiffusionGradientOrientation")
        return diffusion.get("DiffusionDirectionality")

    def _dimensions(self) -> Any:
        """Indices along the dimensions that are no place (PS3.3 C.7.6.17)."""
        content = self.items.get("FrameContentSequence")
        values = None if content is None else content.get("DimensionIndexValues")
        indices = [values] if isinstance(values, int) else list(values or [])
        pointers = [item.get("DimensionIndexPointer") for item in self._groups.of_file("DimensionIndexSequence") or ()]
        if len(indices) != len(pointers):
            return None
        return [index for index, pointer in zip(indices, pointers, strict=True) if pointer not in _PLACE_DIMENSIONS]


def _groups(holder: Dataset) -> dict[str, Dataset]:
    """The first item of every sequence in ``holder`` by its keyword."""
    found = {}
    for tag in holder.keys():  # noqa: SIM118 - iterating a data set would parse every element
        keyword = keyword_for_tag(tag)
        items = _items(holder, keyword) if keyword.endswith("Sequence") else ()
        if items:
            found[keyword] = items[0]
    return found


def _items(dataset: Dataset, sequence: str) -> Sequence[Dataset]:
    try:
        return dataset.get(sequence) or ()
    except Exception as error:
        raise SourceError(f"{sequence} cannot be read ({type(error).__name__}): damaged or cut") from error
