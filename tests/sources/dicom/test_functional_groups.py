import pytest
from pydicom.dataset import Dataset

from pipeline.errors import SourceError
from pipeline.sources.dicom.functional_groups import FrameValues, FunctionalGroups
from pipeline.sources.dicom.header import numbers, text
from tests.sources.dicom.written_frames import items


def _object(shared: dict[str, object], *frames: dict[str, object], **more: object) -> Dataset:
    (made,) = items(**more)
    made.SharedFunctionalGroupsSequence = items(**shared)
    made.PerFrameFunctionalGroupsSequence = [items(**frame)[0] for frame in frames]
    return made


def _values(made: Dataset, frame: int) -> FrameValues:
    return FrameValues(FunctionalGroups.of(made, len(made.PerFrameFunctionalGroupsSequence)), frame)


def test_a_frames_own_group_counts_before_the_shared_one() -> None:
    made = _object(
        {"PixelMeasuresSequence": {"PixelSpacing": [2.0, 1.0]}},
        {},
        {"PixelMeasuresSequence": {"PixelSpacing": [4.0, 3.0]}},
    )
    assert numbers(_values(made, 0), "PixelSpacing", 2) == (2.0, 1.0)
    assert numbers(_values(made, 1), "PixelSpacing", 2) == (4.0, 3.0)


def test_a_converted_objects_unassigned_attributes_are_found_before_the_header() -> None:
    made = _object(
        {"UnassignedSharedConvertedAttributesSequence": {"FlipAngle": "12"}},
        {"UnassignedPerFrameConvertedAttributesSequence": {"EchoTime": "4.5"}},
        {},
        EchoTime="9",
    )
    assert [text(_values(made, frame), "EchoTime") for frame in (0, 1)] == ["4.5", "9"]
    assert text(_values(made, 1), "FlipAngle") == "12"


def test_an_enhanced_echo_time_goes_by_its_old_keyword() -> None:
    made = _object({"MREchoSequence": {"EffectiveEchoTime": 4.92}}, {})
    assert text(_values(made, 0), "EchoTime") == "4.92"


def test_a_diffusion_direction_is_its_numbers_or_the_word_that_says_it_has_none() -> None:
    made = _object(
        {},
        {"MRDiffusionSequence": {"DiffusionDirectionality": "ISOTROPIC"}},
        {
            "MRDiffusionSequence": {
                "DiffusionGradientDirectionSequence": {"DiffusionGradientOrientation": [0.0, 0.6, 0.8]}
            }
        },
        {},
    )
    assert text(_values(made, 0), "DiffusionGradientOrientation") == "ISOTROPIC"
    assert numbers(_values(made, 1), "DiffusionGradientOrientation", 3) == (0.0, 0.6, 0.8)
    assert text(_values(made, 2), "DiffusionGradientOrientation") == ""


def test_dimension_indices_are_those_that_are_no_place() -> None:
    made = _object({}, {"FrameContentSequence": {"DimensionIndexValues": [1, 5, 3]}})
    # StackID, InStackPositionNumber, EffectiveEchoTime
    made.DimensionIndexSequence = [items(DimensionIndexPointer=tag)[0] for tag in (0x00209056, 0x00209057, 0x00189082)]
    assert _values(made, 0).get("DimensionIndexValues") == [3]


def test_too_few_per_frame_items_are_refused_with_both_counts() -> None:
    made = _object({}, {}, {})
    with pytest.raises(SourceError, match="must have 3 items, got 2"):
        FunctionalGroups.of(made, 3)


def test_an_object_without_groups_has_only_its_header() -> None:
    (made,) = items(EchoTime="7")
    assert text(FrameValues(FunctionalGroups.of(made, 4), 3), "EchoTime") == "7"
