import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from pipeline.errors import SourceError
from pipeline.sources.dicom.series import load_series
from tests.sources.written import oblique_slice, oblique_voxels, write


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.98])
def test_stream_that_stops_early_is_refused_though_its_items_are_whole(archive, syntax, kept):
    values = np.tile(np.ascontiguousarray(oblique_voxels()[:, :, 0].T), (8, 8))
    made = oblique_slice(0, values)
    made.compress(syntax, generate_instance_uid=False)
    path = write(made, archive / "0.dcm")
    np.testing.assert_array_equal(load_series([path])[0].image[0, :, :, 0].T, values)
    made = dcmread(path)
    (frame,) = generate_frames(made.PixelData, number_of_frames=1)
    made.PixelData = encapsulate([frame[: int(len(frame) * kept) // 2 * 2]])
    made["PixelData"].is_undefined_length = True
    with pytest.raises(SourceError, match="end before their stream does"):
        load_series([write(made, archive / "0.dcm")])
