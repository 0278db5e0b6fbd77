"""Detection over an archive: what it costs beside the network, against MONAI's way, and as the archive grows.

    python benchmarks/archive_throughput.py [--full]

Three tables, all on generated scans, in one run.

**Over the bare network**: the share of the network's own throughput that an archive gets, from stored voxels to result
files. The starter models have scans on which they find something: what is done with detections counts, too. The bare
network is the one that runs (evaluation form, norms folded, channels last, the same precision), given the very windows
of these scans in batches of the same size, which lie ready in memory, on a CPU one after the other or two side by side,
whichever is quicker; nothing is taken from its output. No window is skipped as background. Rounds of either are timed
in turn and the median of the ratios counts, so that another load on the machine weighs on both.

**Against MONAI's way**: MONAI's `RetinaNetDetector` with its `SlidingWindowInferer`, `BoxSelector` and non-maximum
suppression, its anchors and box coder, on what its `LoadImage`, `EnsureChannelFirst`, `Orientation`, `Spacing` and
`ScaleIntensityRange` make of gzipped NIfTI files, one scan after the other, with the settings of its LUNA16 tutorial
(1,000 candidates a level), blending `gaussian` as its example application does: near a window's edge, where its network
sees padding, the other window counts. Inside is the same network object, module by module: backbone, pyramid
and MONAI's own heads as they are before `cellscan` fuses anything, of ``configs/experiments/lidc_retinanet_3d.yaml``,
trained for some steps on spheres so that it has something to say. Both sides see the same windows. Two archives:
scans that one window holds, as that of the tutorial (512 x 512 x 208) holds most CTs, half of them without a nodule;
and scans of 8 windows, full of nodules, where nearly half of the voxels lie in several windows. ``cellscan`` is
timed from the files, too (with ingest) and from its store (an archive is ingested once); in 32 bits, and in half
precision where its own check on these scans allows that. Rounds of all take turns, the median of the ratios counts.
Detections match as `pipeline.inference.half.agreement_of` says: of the same class, all edges within 0.5 voxel, scores
within 0.02 and on the same side of the threshold; boxes are first clipped to the scan, as MONAI's are.

**As the archive grows**: 20 and 200 small scans (``--full``: 1,000, too), each archive in a process of its own; seconds
a scan, ledger and result files included, and the memory that the process took at most.
"""

import argparse
import dataclasses
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.datasets.samples import Objects
from pipeline.detections import Detections
from pipeline.detections.table import from_frame
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.detector import Detector
from pipeline.devices import computes_bf16, resolve_device
from pipeline.geometry import Boxes, Grid
from pipeline.inference.archive import detect_volumes
from pipeline.inference.detect import VolumeDetector
from pipeline.inference.half import agreement_of, autocast
from pipeline.inference.lanes import Lanes
from pipeline.inference.running import engine_running
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.starters.shelf import starter
from pipeline.volumes import Volume
from pipeline.volumes.store import VolumeStore

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"
ROUNDS, SCANS, STEPS = 3, 2, 300
THRESHOLD = 0.5
CT_SPACING = (0.75, 0.75, 1.5)


@dataclasses.dataclass(frozen=True)
class Archive:
    """CTs of one ``shape``, one for each of ``nodules``, seen by windows of ``window`` voxels."""

    name: str
    shape: tuple[int, ...]
    window: tuple[int, ...]
    nodules: tuple[int, ...]


# MONAI and cellscan place these windows alike.
ARCHIVES = (
    Archive("one window a scan", (128, 128, 80), (128, 128, 80), (2, 0, 1, 0, 3, 0, 0, 1, 0, 2, 0, 4)),
    Archive("8 windows a scan", (160, 160, 112), (96, 96, 64), (100, 100)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="what an archive costs beside the network")
    parser.add_argument("--full", action="store_true", help="1,000 scans, too")
    parser.add_argument("--scans", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.scans:
            grown(Path(folder), given.scans)
            return
        print(f"{torch.get_num_threads()} threads, {VolumeDetector(small(), 'auto').device}", flush=True)
        over_bare_network(Path(folder))
        network = trained(experiment("lidc_retinanet_3d"))
        for number, archive in enumerate(ARCHIVES):
            against_monai(Path(folder) / f"archive{number}", archive, network)
    as_it_grows([20, 200, 1000] if given.full else [20, 200])


def over_bare_network(folder: Path) -> None:
    first_weights = experiment("crc_cells_2d", skip_background=False)
    for name, bundle, volumes in (
        ("crc_cells_2d, first weights", Bundle(first_weights, seeded_network(first_weights).eval(), THRESHOLD), noise),
        ("starter/nuclei-2d", shipped("starter/nuclei-2d"), discs),
        ("starter/nodules-3d", shipped("starter/nodules-3d"), lungs),
    ):
        below = folder / name.replace("/", "-")
        volumes = volumes(below)
        detector = VolumeDetector(bundle, "auto")
        settings = settings_in(below)
        ratios, seconds = [], []
        for number in range(ROUNDS + 1):
            bare = bare_seconds(detector, volumes)
            whole = timed(partial(detect_volumes, detector, f"round/{number}", volumes, settings))
            if number:  # the first warms up
                ratios.append(bare / whole)
                seconds.append(whole / len(volumes))
        print(
            f"{name}: {statistics.median(ratios):.2f} of the bare network's throughput (goal 0.85), "
            f"{statistics.median(seconds):.2f} s a scan of {'x'.join(map(str, volumes[0].grid.shape))}",
            flush=True,
        )


def bare_seconds(detector: VolumeDetector, volumes: list[Volume]) -> float:
    scans = [detector.prepare(volume.array[...], volume.grid, volume.volume_id) for volume in volumes]
    windows = [scan.window(number).clone() for scan in scans for number in range(len(scan))]
    size = 1 if detector.device.type == "cpu" else detector.config.inference.batch_size
    batches = [torch.stack(windows[first : first + size]) for first in range(0, len(windows), size)]

    @torch.inference_mode()
    def run(batch: torch.Tensor) -> None:
        with autocast(detector.device, False):
            detector._running(batch)

    def one_after_the_other() -> None:
        for batch in batches:
            run(batch)
        if detector.device.type == "cuda":
            torch.cuda.synchronize()

    def side_by_side(lanes: Lanes) -> None:
        for batch in batches:
            lanes.do(partial(run, batch))
        lanes.wait()

    with engine_running() as processors:  # with memory kept, as an engine does
        seconds = [timed(one_after_the_other)]
        if detector.device.type == "cpu" and processors % 2 == 0:
            lanes = Lanes(2, processors, lambda: None)
            seconds.append(timed(partial(side_by_side, lanes)))
            lanes.close()
    return min(seconds)


def against_monai(folder: Path, archive: Archive, network: Detector) -> None:
    seen_alike = partial(experiment, "lidc_retinanet_3d", skip_background=False, window=archive.window)
    scans, count = folder / "scans", len(archive.nodules)
    write_nifti(scans, archive)
    settings = settings_in(folder / "home")
    seconds_ingest = timed(lambda: ingest(scans, settings))
    catalog = Catalog.of(settings)
    volumes = catalog.volumes(scans)
    catalog.close()
    ours = {}
    for precision in ("32", "auto"):
        ours[precision] = VolumeDetector(Bundle(seen_alike(precision=precision), network, THRESHOLD), "auto")
        warmed_up(ours[precision], volumes[0], settings)
    list(monais_way(seen_alike(), network, sorted(scans.iterdir())[:1], volumes[:1]))
    found: dict[str, dict[str, Detections]] = {}
    seconds = defaultdict(list)
    for number in range(ROUNDS):
        start = time.perf_counter()
        theirs = list(monais_way(seen_alike(), network, sorted(scans.iterdir()), volumes))
        seconds["MONAI"].append(time.perf_counter() - start)
        for precision, detector in ours.items():
            start = time.perf_counter()
            found[precision] = results(detector, f"{precision}-{number}", volumes, settings)
            seconds[precision].append(time.perf_counter() - start)
    print(
        f"{archive.name}, {count} of {'x'.join(map(str, archive.shape))} with {sum(archive.nodules)} nodules: "
        f"MONAI's way {statistics.median(seconds['MONAI']) / count:.2f} s a scan",
        flush=True,
    )
    for precision, detector in ours.items():
        half = precision == "auto" and not detector._half.refused
        pairs = list(zip(seconds["MONAI"], seconds[precision], strict=True))
        ratio, with_ingest = (
            statistics.median(one / (own + more) for one, own in pairs) for more in (0, seconds_ingest)
        )
        matched, counted = matching([found[precision][volume.volume_id] for volume in volumes], theirs)
        print(
            f"  cellscan, {'half precision' if half else '32 bits'}: "
            f"{statistics.median(seconds[precision]) / count:.2f} s a scan, {ratio:.1f} times as fast (goal 3), "
            f"{with_ingest:.1f} with ingest; {matched} of {counted} detections match "
            f"({matched / max(counted, 1):.1%}, goal 99 %)",
            flush=True,
        )


def warmed_up(detector: VolumeDetector, volume: Volume, settings: Settings) -> None:
    """What is decided on the first scans is decided, and what is compiled for them compiled."""
    rounds = 0
    while not (rounds and detector.settled):
        detect_volumes(detector, f"warm/{id(detector)}-{rounds}", [volume], settings)
        rounds += 1


def results(detector: VolumeDetector, name: str, volumes: list[Volume], settings: Settings) -> dict[str, Detections]:
    import pandas as pd

    classes = detector.config.data.classes
    done = detect_volumes(detector, f"monai/{name}", volumes, settings).results
    grids = {volume.volume_id: volume.grid for volume in volumes}
    return {v: from_frame(pd.read_parquet(path), v, grids[v], classes) for v, path in done.items()}


def matching(ours: list[Detections], theirs: list[Detections]) -> tuple[int, int]:
    found = [agreement_of(clipped(one), other, THRESHOLD) for one, other in zip(ours, theirs, strict=True)]
    return sum(one.matched for one in found), sum(one.counted for one in found)


def clipped(found: Detections) -> Detections:
    grid = found.boxes.grid
    last = np.array(grid.shape) - 0.5
    boxes = Boxes(np.clip(found.boxes.lower, -0.5, last), np.clip(found.boxes.upper, -0.5, last), grid)
    return dataclasses.replace(found, boxes=boxes)


class AsMonaiWants(nn.Module):
    """The modules of our RetinaNet behind the interface of MONAI's `RetinaNet`."""

    cls_key, box_reg_key = "classification", "box_regression"

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.inner = network
        self.spatial_dims, self.num_classes = network.dims, network.class_count
        self.num_anchors, self.size_divisible = network.anchors.count, network.coarsest_stride

    def forward(self, images: torch.Tensor) -> dict[str, list[torch.Tensor]]:
        inner = self.inner
        features = inner.backbone(images)[inner.output_level :]
        levels = list(inner.pyramid(OrderedDict((str(n), feature) for n, feature in enumerate(features))).values())
        return {self.cls_key: inner.score_head(levels), self.box_reg_key: inner.box_head(levels)}


def monais_way(
    config: ExperimentConfig, network: Detector, files: list[Path], volumes: list[Volume]
) -> Iterator[Detections]:
    from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Orientation, ScaleIntensityRange, Spacing

    intensity, inference = config.preprocessing.intensity, config.inference
    transform = Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            Orientation(axcodes="RAS"),
            Spacing(pixdim=config.preprocessing.spacing, padding_mode="border"),
            ScaleIntensityRange(intensity.lower, intensity.upper, -1.0, 1.0, clip=True),
        ]
    )
    device = torch.device(resolve_device("auto"))
    detector = RetinaNetDetector(AsMonaiWants(network), network.anchors._generator).to(device).eval()
    detector.set_sliding_window_inferer(
        roi_size=inference.window, overlap=inference.overlap, sw_batch_size=1, mode="gaussian", device=device
    )
    detector.set_box_selector_parameters(
        score_thresh=inference.score_floor,
        topk_candidates_per_level=1000,
        nms_thresh=inference.suppression_iou,
        detections_per_img=1000,
    )
    for file, volume in zip(files, volumes, strict=True):
        with torch.no_grad():
            (found,) = detector([transform(file).to(device)], use_inferer=True)
        lower, upper = (found["boxes"].cpu().double().numpy() - 0.5).reshape(-1, 2, 3).transpose(1, 0, 2)
        scores, labels = found["labels_scores"].cpu().double().numpy(), found["labels"].cpu().numpy()
        yield Detections(volume.volume_id, Boxes(lower, upper, volume.grid), scores, labels, config.data.classes)


def trained(config: ExperimentConfig) -> Detector:
    """Some steps on spheres: a detector that is sure of most, but not so sure that scores of 1 tie."""
    device = torch.device(resolve_device("auto"))
    network, rng = seeded_network(config).to(device), np.random.default_rng(1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        patches = [spheres(rng, config.sampling.patch, int(rng.integers(0, 3))) for _ in range(8)]
        image = torch.stack([torch.from_numpy(hu)[None] for hu, _, _ in patches])
        intensity = config.preprocessing.intensity
        image = ((image - intensity.lower) / (intensity.upper - intensity.lower) * 2 - 1).clamp(-1, 1).to(device)
        with autocast(device, computes_bf16(device)):
            output = network(image)
        loss = network.loss(output, [objects_of(lower, upper).to(device) for _, lower, upper in patches])
        optimiser.zero_grad()
        (loss.score + loss.box).backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def spheres(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HU float32 ``(i, j, k)`` of nodules in noisy lung, and their boxes' sides ``(count, 3)`` in voxels."""
    hu = rng.normal(-850, 40, shape).astype(np.float32)
    radius = rng.uniform(3, 6, count)[:, None] * np.array([1.0, 1.0, 0.5])
    centre = rng.uniform(radius + 1, np.array(shape) - radius - 2)
    for at, reach in zip(centre, radius, strict=True):
        first = np.maximum(np.floor(at - reach).astype(int), 0)
        region = tuple(slice(a, b) for a, b in zip(first, np.ceil(at + reach).astype(int) + 1, strict=True))
        places = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in region), indexing="ij"), axis=-1)
        inside = (((places - at) / reach) ** 2).sum(axis=-1) <= 1
        window = hu[region]
        window[inside[tuple(slice(0, n) for n in window.shape)]] += rng.uniform(60, 850)
    return hu, centre - radius, centre + radius


def objects_of(lower: np.ndarray, upper: np.ndarray) -> Objects:
    sides = (torch.from_numpy(side).float() for side in (lower, upper))
    return Objects(*sides, torch.zeros(len(lower), dtype=torch.long), torch.zeros(len(lower), dtype=torch.bool))


def write_nifti(folder: Path, archive: Archive) -> None:
    import nibabel

    folder.mkdir(parents=True)
    for number, nodules in enumerate(archive.nodules):
        hu, _, _ = spheres(np.random.default_rng(100 + number), archive.shape, nodules)
        image = nibabel.Nifti1Image(np.round(hu).astype(np.int16), np.diag([*CT_SPACING, 1.0]))
        image.header.set_xyzt_units("mm")
        nibabel.save(image, folder / f"scan{number:02}.nii.gz")


def noise(folder: Path) -> list[Volume]:
    rng = np.random.default_rng(0)
    return stored(folder, [rng.integers(0, 255, (3, 500, 500)).astype(np.uint8) for _ in range(12 * SCANS)])


def discs(folder: Path) -> list[Volume]:
    """Some hundred bright discs a field."""
    rng, (i, j) = np.random.default_rng(0), np.mgrid[:500, :500]
    fields = []
    for _ in range(12 * SCANS):
        field = rng.normal(20, 4, (500, 500))
        for at in rng.uniform(0, 500, (150, 2)):
            field[(i - at[0]) ** 2 + (j - at[1]) ** 2 < rng.uniform(6, 12) ** 2] = rng.uniform(90, 200)
        fields.append(field.clip(0, 255).astype(np.uint8)[None])
    return stored(folder, fields)


def lungs(folder: Path) -> list[Volume]:
    made = (spheres(np.random.default_rng(number), (160, 160, 96), 20)[0] for number in range(SCANS))
    return stored(folder, [hu.round().astype(np.int16)[None] for hu in made], CT_SPACING)


def stored(folder: Path, images: list[np.ndarray], spacing: tuple[float, ...] | None = None) -> list[Volume]:
    store, shape = VolumeStore(folder / "volumes"), images[0].shape[1:]
    grid = Grid.of_pixels(shape) if spacing is None else Grid(shape, np.diag([*spacing, 1.0]))
    return [store.put(image=image, grid=grid, modality="OT", attributes={}) for image in images]


def shipped(name: str) -> Bundle:
    """A starter model, every window seen once, in 32 bits, none skipped."""
    bundle = Bundle.load(starter(name).folder)
    inference = bundle.config.inference.model_copy(
        update={"views": "none", "precision": "32", "skip_background": False}
    )
    return dataclasses.replace(bundle, config=bundle.config.model_copy(update={"inference": inference}))


def as_it_grows(counts: list[int]) -> None:
    for count in counts:
        command = [sys.executable, __file__, "--scans", str(count)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(told.strip(), flush=True)


def grown(folder: Path, count: int) -> None:
    """Scans of three sizes, with ids of their own, that share three files of voxels."""
    rng, shapes = np.random.default_rng(0), ((64, 64, 32), (48, 80, 32), (80, 64, 48))
    files = [
        stored(folder, [rng.integers(0, 1000, (1, *shape)).astype(np.int16)], (1.25, 1.25, 2.0))[0] for shape in shapes
    ]
    volumes = [dataclasses.replace(files[number % 3], volume_id=f"{number:032x}") for number in range(count)]
    detector, settings = VolumeDetector(small(), "auto"), settings_in(folder)
    detect_volumes(detector, "warm", files, settings)
    seconds = timed(lambda: detect_volumes(detector, "m/1", volumes, settings))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count:,} scans: {seconds / count * 1000:.1f} ms a scan, {peak:.0f} MiB at most")


def small() -> Bundle:
    config = experiment("demo_lesions_3d", skip_background=False)
    return Bundle(config, seeded_network(config).eval(), THRESHOLD)


def experiment(name: str, **inference: object) -> ExperimentConfig:
    """Shipped, without weights to be fetched; every window is seen once, not also flipped."""
    raw = load_experiment(CONFIGS / f"{name}.yaml").model_dump()
    raw["inference"] |= {"views": "none", "precision": "32", **inference}
    if "pretrained" in raw["detector"]["backbone"]:
        raw["detector"]["backbone"]["pretrained"] = False
    return ExperimentConfig.model_validate(raw)


def settings_in(home: Path) -> Settings:
    home.mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(Settings.from_environment(), home=home, catalog_url=f"sqlite:///{home / 'catalog.db'}")


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
