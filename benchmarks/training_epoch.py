"""An epoch of patches against MONAI's recipe, and the memory that either takes as the scans become more.

    python benchmarks/training_epoch.py

Time: 24 generated scans of the shape of CRC's fields (2D) and of LIDC's crops (3D), patches and augmentation as the
shipped experiments have them (stain left out: MONAI has none). Ours: the loader of a training (a thread, no workers).
MONAI: CacheDataset with the deterministic part and the places to crop at cached, RandCropByPosNegLabeld (4 patches of
a scan at a time), flips, quarter turns, RandAffined (zoom, rotation), intensity, in a DataLoader with a worker for each
core, kept from epoch to epoch, and with none; the faster one counts. MONAI moves a mask along, ours moves boxes. The
filling of MONAI's cache, and preparing ours, is not in the time. With the network: each batch is followed by a training
step; the targets of MONAI's are those of a batch of ours. Turns alternate; figures are medians.

Memory: the highest resident size of a process that goes through two epochs of data of 20, 80 and 320 scans in 3D.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai import transforms as mt
from monai.data import CacheDataset, list_data_collate, set_track_meta

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.config.transforms import Window
from pipeline.datasets.cases import Case
from pipeline.datasets.prefetch import PrefetchingLoader
from pipeline.datasets.prepared import PreparedStore
from pipeline.datasets.samples import Batch, collate
from pipeline.datasets.sampling import NumberSampler, PatchDataset
from pipeline.detectors.bundle import seeded_network
from pipeline.devices import computes_bf16
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations, Volume
from pipeline.volumes.arrays import write_array

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "experiments"
SHAPES = {"crc_cells_2d": (500, 500), "lidc_nodules_3d": (96, 96, 48)}
SCANS, TURNS, BATCHES = 24, 3, 20
MEMORY = "lidc_nodules_3d"
PATCHES_OF_A_SCAN = 4


def main() -> None:
    if len(sys.argv) > 1:
        print(peak(*sys.argv[1:]))
        return
    print("| samples | batch | what | ours | MONAI | workers | MONAI / ours |")
    print("|---|---|---|---|---|---|---|")
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            for line in rows(name, Path(folder)):
                print(line, flush=True)
    print("\n| scans in 3D | ours, MB | MONAI, MB |")
    print("|---|---|---|")
    for count in (20, 80, 320):
        with tempfile.TemporaryDirectory() as folder:
            write_scans(MEMORY, Path(folder), count)
            found = [measured_apart(side, folder) for side in ("ours", "monai")]
        print(f"| {count} | {found[0]:.0f} | {found[1]:.0f} |", flush=True)


def rows(name: str, folder: Path) -> list[str]:
    config = experiment(name)
    write_scans(name, folder, SCANS)
    own, cached = our_epochs(config, folder), monai_cache(config, folder)
    others = {workers: monai_epochs(config, cached, workers) for workers in (torch.get_num_threads(), 0)}
    step = stepping(config, next(iter(own())))
    lines = []
    for what, action in (("data", nothing), ("data and network", step)):
        for epochs in (own, *others.values()):
            through(epochs, action)  # workers start, files are read for the first time
        times: dict[Any, list[float]] = {key: [] for key in ("ours", *others)}
        for _ in range(TURNS):
            times["ours"].append(through(own, action))
            for workers, epochs in others.items():
                times[workers].append(through(epochs, action))
        medians = {key: statistics.median(one) for key, one in times.items()}
        best = min(others, key=medians.__getitem__)
        patch = "x".join(map(str, config.sampling.patch))
        ours, theirs = medians["ours"], medians[best]
        lines.append(
            f"| {name} | {BATCHES} of {config.training.batch_size} x {patch} | {what} | {ours:.2f} s | {theirs:.2f} s "
            f"| {best} | {theirs / ours:.2f} |"
        )
    return lines


def experiment(name: str) -> ExperimentConfig:
    tree = load_experiment(CONFIGS / f"{name}.yaml").model_dump(mode="json")
    tree["data"].pop("grade", None)
    tree["augmentation"].pop("stain", None)
    tree["preprocessing"]["spacing"] = None
    tree["sampling"]["samples_per_epoch"] = BATCHES * tree["training"]["batch_size"]
    return ExperimentConfig.model_validate(tree)


# What both read: an array, a mask and boxes of each scan.


def write_scans(name: str, folder: Path, count: int) -> None:
    """Noise with bright balls of 12 voxels: 40 in a field, 2 in a volume."""
    shape = SHAPES[name]
    channels, objects = (3, 40) if len(shape) == 2 else (1, 2)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    for number in range(count):
        rng = np.random.default_rng(number)
        centres = rng.uniform(8, np.array(shape) - 8, (objects, len(shape)))
        mask = np.zeros(shape, dtype=np.uint8)
        for centre in centres:
            mask |= ((place - centre.reshape(-1, *(1,) * len(shape))) ** 2).sum(axis=0) < 36
        image = (rng.integers(0, 100, (channels, *shape)) + 100 * mask).astype(np.int16)
        np.save(folder / f"{number}.npy", image)
        np.save(folder / f"{number}.mask.npy", mask[None])
        (folder / f"{number}.json").write_text(json.dumps(centres.tolist()))


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.json"))


# Ours.


def our_epochs(config: ExperimentConfig, folder: Path) -> Callable[[], Iterable[Batch]]:
    store = PreparedStore(folder / "prepared", config.preprocessing, config.data.classes)
    dataset = PatchDataset([store.get(case_of(config, folder, number)) for number in numbers(folder)], config)
    sampler = NumberSampler(len(dataset))
    loader = PrefetchingLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=config.training.batch_size,
        sampler=sampler,
        collate_fn=collate,
    )

    def epoch() -> Iterable[Batch]:
        sampler.set_epoch(sampler.epoch + 1)
        return loader

    return epoch


def case_of(config: ExperimentConfig, folder: Path, number: int) -> Case:
    image = np.load(folder / f"{number}.npy")
    centres = np.array(json.loads((folder / f"{number}.json").read_text()))
    shape = image.shape[1:]
    grid = Grid.of_pixels(shape) if len(shape) == 2 else Grid(shape, np.eye(4))
    boxes = Boxes.around(centres, np.full(len(shape), 12.0), grid)
    labels = tuple(config.data.classes[n % len(config.data.classes)] for n in range(len(boxes)))
    path = folder / f"{number}.b2nd"
    write_array(path, image)
    marks = Annotations.of(boxes, labels)
    name = f"{number:032d}"
    return Case.whole(Volume(name, name, name, "OT", grid, len(image), image.dtype, path, marks))


# MONAI's.


def monai_cache(config: ExperimentConfig, folder: Path) -> CacheDataset:
    set_track_meta(False)  # it costs time, and nothing here asks where a patch came from
    files = [{"image": str(folder / f"{n}.npy"), "mask": str(folder / f"{n}.mask.npy")} for n in numbers(folder)]
    return CacheDataset(files, mt.Compose([*fixed(config), *varied(config)]), num_workers=None, progress=False)


def fixed(config: ExperimentConfig) -> list[Any]:
    window = config.preprocessing.intensity
    assert isinstance(window, Window)
    both = ["image", "mask"]
    return [
        mt.LoadImaged(both, reader="NumpyReader"),
        mt.EnsureChannelFirstd(both, channel_dim=0),
        mt.ScaleIntensityRanged("image", window.lower, window.upper, -1.0, 1.0, clip=True),
        mt.FgBgToIndicesd("mask"),
        mt.EnsureTyped(both, dtype=torch.float32, track_meta=False),
    ]


def varied(config: ExperimentConfig) -> list[Any]:
    own, sampling, both = config.augmentation, config.sampling, ["image", "mask"]
    dims = config.data.dims
    crop = mt.RandCropByPosNegLabeld(
        both,
        "mask",
        sampling.patch,
        pos=sampling.object_share,
        neg=1 - sampling.object_share,
        num_samples=PATCHES_OF_A_SCAN,
        fg_indices_key="mask_fg_indices",
        bg_indices_key="mask_bg_indices",
        allow_smaller=False,
    )
    affine = mt.RandAffined(
        both,
        prob=1.0,
        rotate_range=np.deg2rad(own.rotation) if dims == 2 else (0.0, 0.0, np.deg2rad(own.rotation)),
        scale_range=(own.scale,) * dims,
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
    intensity = [
        mt.RandAdjustContrastd("image", prob=0.3, gamma=(1 / (1 + own.gamma), 1 + own.gamma)) if own.gamma else None,
        mt.RandScaleIntensityd("image", own.contrast, prob=1.0, channel_wise=True) if own.contrast else None,
        mt.RandShiftIntensityd("image", own.brightness, prob=1.0, channel_wise=True) if own.brightness else None,
        mt.RandGaussianSmoothd("image", *((0.0, own.blur),) * dims, prob=0.2) if own.blur else None,
        mt.RandGaussianNoised("image", std=own.noise, prob=0.3) if own.noise else None,
    ]
    return [
        crop,
        mt.DeleteItemsd(["mask_fg_indices", "mask_bg_indices"]),
        *(mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in own.flip),
        *([mt.RandRotate90d(both, prob=0.75, spatial_axes=(0, 1))] if own.rotate90 else []),
        affine,
        *(one for one in intensity if one is not None),
    ]


def monai_epochs(config: ExperimentConfig, cached: CacheDataset, workers: int) -> Callable[[], Iterable[torch.Tensor]]:
    """As many patches as ours; an item is a scan's."""
    size = config.training.batch_size
    scans = BATCHES * size // PATCHES_OF_A_SCAN
    loader = torch.utils.data.DataLoader(
        cached,
        batch_size=size // PATCHES_OF_A_SCAN,
        sampler=torch.utils.data.RandomSampler(cached, replacement=True, num_samples=scans),
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=list_data_collate,
    )
    return lambda: (batch["image"] for batch in loader)


# Measuring.


def nothing(_: Batch | torch.Tensor) -> None:
    pass


def stepping(config: ExperimentConfig, like: Batch) -> Callable[[Batch | torch.Tensor], None]:
    network = seeded_network(config).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    half = config.training.precision != "32" and computes_bf16(torch.device("cpu"))

    def step(batch: Batch | torch.Tensor) -> None:
        image, objects = (batch.image, batch.objects) if isinstance(batch, Batch) else (batch, like.objects)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = network.loss(network(image), objects)
        optimiser.zero_grad()
        (loss.score + loss.box + loss.label).backward()
        optimiser.step()

    return step


def through(epochs: Callable[[], Iterable[Any]], action: Callable[[Any], None]) -> float:
    started, count = time.perf_counter(), 0
    for batch in epochs():
        action(batch)
        count += 1
    assert count == BATCHES, f"{count} batches"
    return time.perf_counter() - started


def measured_apart(side: str, folder: str) -> float:
    """The peak in megabytes, of a process of its own."""
    command: Sequence[str] = [sys.executable, __file__, side, folder]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak(side: str, folder: str) -> float:
    config = experiment(MEMORY)
    if side == "ours":
        epochs: Callable[[], Iterable[Any]] = our_epochs(config, Path(folder))
    else:
        epochs = monai_epochs(config, monai_cache(config, Path(folder)), 0)
    for _ in range(2):
        through(epochs, nothing)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
