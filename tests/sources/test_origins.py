import shutil
from dataclasses import replace

import pytest

from pipeline.errors import SourceError
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.decoding.decoders import Decoders
from pipeline.sources.ingest import ingest
from pipeline.sources.origins import Origins
from tests.sources.written import oblique_voxels, write_oblique_series


@pytest.mark.parametrize("packed", [False, True])
def test_the_files_of_a_volume_are_found_again_in_folders_and_archive_files(tmp_path, packed):
    source, root = tmp_path / "series", tmp_path / "root"
    write_oblique_series(source, oblique_voxels((12, 8, 3)), FrameOfReferenceUID="1.2.9")
    root.mkdir()
    if packed:
        shutil.make_archive(str(root / "scans"), "zip", source)
    else:
        source.rename(root / "series")
    home = tmp_path / "home"
    settings = Settings(home, tmp_path, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)
    ingest(root, settings)
    catalog = Catalog.of(settings)
    (volume,) = catalog.volumes(root)
    with Decoders(1) as decoders:
        origins = Origins(catalog, decoders, home / "unpacked")
        origin = origins.of(volume)
        assert len({one.instance_uid for one in origin.instances}) == 3
        assert origin.dataset().FrameOfReferenceUID == "1.2.9"
        with pytest.raises(SourceError, match="no DICOM file"):
            origins.of(replace(volume, attributes={"format": "nifti"}))
        origins.close()
        shutil.rmtree(root)
        again = Origins(catalog, decoders, home / "unpacked")
        with pytest.raises(SourceError, match="not there any more"):
            again.of(volume)
        again.close()
    catalog.close()
