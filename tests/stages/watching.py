"""A watch in a test: time passes only where it waits, and what happens meanwhile is said in a script."""

import csv
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.detections import Detections
from pipeline.detections.table import write_table
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.geometry import Boxes, Grid
from pipeline.sources.catalog import Catalog, FileRecord
from pipeline.sources.taking import volume_record
from pipeline.stages.watch import watch
from pipeline.stages.watch_round import WatchOptions
from pipeline.tracking import registry
from pipeline.tracking.run import tracked_run
from pipeline.tracking.session import connect
from pipeline.volumes.store import VolumeStore
from tests.made_versions import cells_config


class Ended(BaseException):
    """The script is over."""


@dataclass
class World:
    """Each wait plays the next step of ``script``: a function, or `None` where nothing happens."""

    script: list
    now: float = 0.0
    waited: list = field(default_factory=list)

    def wait(self, seconds):
        if not self.script:
            raise Ended
        self.waited.append(seconds)
        self.now += seconds
        step = self.script.pop(0)
        if step is not None:
            step()


def finds_two(settings):
    """As if a version had found two things in each scan."""

    def hand_out(prepared):
        volumes = {volume.volume_id: volume for volume in prepared.volumes}
        with prepared.run.ledger(settings) as ledger:
            for claim in ledger.claim(prepared.run.wanted, prepared.run.began, limit=len(volumes)):
                grid = volumes[claim.volume_id].grid
                boxes = Boxes.around(np.full((2, grid.dims), 5.0), np.full(grid.dims, 4.0), grid)
                found = Detections(claim.volume_id, boxes, np.full(2, 0.5), np.zeros(2, dtype=np.int64), ("cell",))
                write_table(found, claim.part)
                claim.finish(2)

    return hand_out


def play(version, source, out, settings, *script, hand_out=None, **options):
    """All that is told until the script is over; and the waits."""
    world = World(list(script))
    told = []
    chosen = WatchOptions(**{"every": 60.0, "settle": 0.0} | options)
    try:
        for one in watch(version, str(source), out, settings, chosen, None, hand_out, lambda: world.now, world.wait):
            told.append(one)
    except Ended:
        pass
    return told, world.waited


def table(out):
    """The lines of ``scans.csv`` by path."""
    with (out / "scans.csv").open(encoding="utf-8", newline="") as lines:
        return {line["path"]: line for line in csv.DictReader(lines)}


def register(settings, name, dims=2):
    """One more version of ``name``, untrained."""
    tree = cells_config().model_dump(mode="json")
    tree["data"]["dims"] = dims
    tree["sampling"]["patch"] = tree["inference"]["window"] = [48, 48] if dims == 2 else [16, 16, 16]
    tree["inference"]["score_floor"] = 0.001
    config = type(cells_config()).model_validate(tree)
    key = f"key {len(registry.versions(settings, name)) + 1}"
    with tempfile.TemporaryDirectory() as folder, tracked_run(settings, name, key, {}) as run:
        Bundle(config, seeded_network(config), 0.001).save(Path(folder))
        registry.register(settings, run.run_id, Path(folder), name, key, {})


def crown(settings, number, name="cells"):
    connect(settings).set_registered_model_alias(name, "champion", str(number))


def enter(settings, *paths):
    """Fields into the catalog, as if they had been ingested from these files."""
    store = VolumeStore(settings.volumes)
    with closing(Catalog.of(settings)) as catalog:
        for path in paths:
            pixels = np.random.default_rng([*path.encode()]).integers(0, 255, (1, 60, 70), dtype=np.uint8)
            put = store.put(image=pixels, grid=Grid.of_pixels((60, 70)), modality="OT", attributes={})
            file = FileRecord(path, 1, 1, "reader", "image", "ingested", volume_ids=(put.volume_id,))
            catalog.save([file], [volume_record(put, store)])
