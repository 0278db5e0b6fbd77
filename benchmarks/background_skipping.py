"""Does leaving out background change a detection, and what does it save? On the real sets, with the starter models.

`CELLSCAN_DATA=../shared/data python benchmarks/background_skipping.py [--scans 40]`

Every set is taken in and `--scans` of its scans, evenly spread, are detected on with and without
`inference.skip_background`, by turns, every window seen once. All detections must be the same to the last bit, those
below the threshold too. A model is also given scans that it was not made for (nuclei in H&E, nodules in MR): whatever
it says of them must not change either. Crops and fields are full of tissue: what is saved shows on whole scans. Sets
that are absent are named.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("CELLSCAN_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))

from pipeline.detections.table import to_frame
from pipeline.detectors.bundle import Bundle
from pipeline.inference.detect import VolumeDetector
from pipeline.sample.archive import write_sample
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.starters.shelf import starter
from pipeline.volumes import Volume

_SETS = ("dsb2018", "crchistophenotypes", "lidc_voi", "ms_lesions", "dicom")
_MODELS = {2: "starter/nuclei-2d", 3: "starter/nodules-3d"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scans", type=int, default=40)
    most = parser.parse_args().scans
    with tempfile.TemporaryDirectory(prefix="cellscan-bench-") as name:
        home = Path(name)
        settings = replace(Settings.from_environment(), home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}")
        write_sample(home / "generated")
        different = 0
        for archive in (*(settings.data / one for one in _SETS), home / "generated"):
            if not archive.is_dir():
                print(f"{archive.name}: skipped, not in CELLSCAN_DATA")
                continue
            ingest(archive, settings)
            catalog = Catalog.of(settings)
            volumes = catalog.volumes(archive)
            catalog.close()
            for dims, model in _MODELS.items():
                different += compared(archive.name, model, [one for one in volumes if one.grid.dims == dims], most)
    return 1 if different else 0


def compared(name: str, model: str, volumes: list[Volume], most: int) -> int:
    """How many scans have other detections when background is skipped."""
    chosen = volumes[:: max(len(volumes) // most, 1)][:most]
    if not chosen:
        return 0
    bundle = Bundle.load(starter(model).folder)
    skipping, looking = (VolumeDetector(_with(bundle, skip), "auto") for skip in (True, False))
    seconds = {skipping: 0.0, looking: 0.0}
    different = windows = background = found = 0
    for volume in chosen:
        image = volume.array[...]
        tables = {}
        for detector in (skipping, looking):
            began = time.perf_counter()
            tables[detector] = to_frame(detector.detect(image, volume.grid, volume.volume_id))
            seconds[detector] += time.perf_counter() - began
        scan = skipping.prepare(image, volume.grid, volume.volume_id)
        windows, background = windows + len(scan), background + len(skipping.known(scan))
        found += int((tables[looking]["score"] >= bundle.threshold).sum())
        different += not tables[skipping].equals(tables[looking])
    print(
        f"{name}, {model}: {len(chosen)} scans, {found} detections above the threshold; {background} of {windows} "
        f"windows skipped, {seconds[looking] / seconds[skipping]:.2f} times as fast; "
        f"{different or 'no'} scans with other detections",
        flush=True,
    )
    return different


def _with(bundle: Bundle, skip: bool) -> Bundle:
    config = bundle.config
    chosen = config.inference.model_copy(update={"skip_background": skip, "precision": "32", "views": "none"})
    return replace(bundle, config=config.model_copy(update={"inference": chosen}))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    sys.exit(main())
