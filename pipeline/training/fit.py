"""One process's part in a training: its patches, its validation cases, Lightning's trainer."""

import logging
import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader, Dataset

from pipeline.config.experiment import ExperimentConfig
from pipeline.datasets.cases import Case
from pipeline.datasets.prefetch import PrefetchingLoader
from pipeline.datasets.prepared import PreparedCase
from pipeline.datasets.samples import collate
from pipeline.datasets.sampling import NumberSampler, PatchDataset
from pipeline.datasets.split import CaseSplit
from pipeline.detectors.bundle import seeded_network
from pipeline.detectors.detector import Detector
from pipeline.settings import Settings
from pipeline.training.average import MovingAverage
from pipeline.training.classes import class_weights
from pipeline.training.diary import Diary, SaveLast, epochs_in
from pipeline.training.hard_negatives import HardNegatives
from pipeline.training.module import VALIDATION_METRIC, DetectorTraining, only_case
from pipeline.training.prepared import prepare_cases
from pipeline.training.ranks import Rank, ShareSampler
from pipeline.training.stopping import Patience


@dataclass(frozen=True)
class Fit:
    """What all processes of a training do alike. ``precision`` is Lightning's word; ``folder`` holds checkpoints."""

    config: ExperimentConfig
    split: CaseSplit
    folder: Path
    settings: Settings
    device: str
    precision: str

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    def __call__(self, rank: Rank) -> None:
        """The part of a process that does not lead: its weights come from the leader."""
        patience = Patience(self.config.training.patience)
        prepared = prepare_cases(self.config, self.split.train, self.settings)
        self.run(seeded_network(self.config), prepared, rank, patience, Diary(None, self.config, patience))

    def run(
        self,
        network: Detector,
        prepared: Sequence[PreparedCase],
        rank: Rank,
        patience: Patience,
        diary: Diary,
    ) -> None:
        """Train ``network`` from where the last checkpoint is, to the end."""
        best = ModelCheckpoint(
            self.folder,
            filename="best",
            monitor=VALIDATION_METRIC,
            mode="max",
            save_top_k=1,
            enable_version_counter=False,
        )
        decay = self.config.training.average_decay
        averaging = [MovingAverage(decay)] if decay > 0 else []
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.training_seed)
            module = training_module(self.config, network, prepared, rank)
            dataset = PatchDataset(prepared, self.config)
            mining = self._mining(dataset, rank)
            trainer = self._trainer([*mining, *averaging, patience, best, diary, SaveLast(self.last)], rank)
            patches = _patches(dataset, rank, epochs_in(self.last) or 0)
            loaders = patches, _cases(self.split.validation, rank)
            try:
                trainer.fit(module, *loaders, ckpt_path=self.last if self.last.exists() else None, weights_only=True)
            except SystemExit as stop:  # what Lightning makes of Ctrl-C; the caller is to know what it was
                raise KeyboardInterrupt from stop
            finally:
                patches.close()

    def _mining(self, dataset: PatchDataset, rank: Rank) -> list[Callback]:
        if not self.config.sampling.hard_negative_share:
            return []
        return [HardNegatives(dataset, self.split.train, len(self.split.validation), rank)]

    def _trainer(self, callbacks: list[Callback], rank: Rank) -> lightning.Trainer:
        training, device = self.config.training, torch.device(self.device)
        gpus: Any = rank.count if rank.count > 1 else [device.index or 0]
        return lightning.Trainer(
            max_epochs=training.max_epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=gpus if device.type == "cuda" else rank.count,
            strategy=DDPStrategy(cluster_environment=_Placed(rank)) if rank.count > 1 else "auto",
            sync_batchnorm=rank.count > 1 and device.type == "cuda",
            use_distributed_sampler=False,  # shares are dealt by number, see `ShareSampler`
            precision="bf16-mixed" if self.precision == "bf16" else "32-true",
            check_val_every_n_epoch=min(training.validate_every, training.max_epochs),
            callbacks=callbacks,
            default_root_dir=self.folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            deterministic=device.type == "cpu",
        )


def training_module(
    config: ExperimentConfig, network: Detector, prepared: Sequence[PreparedCase], rank: Rank
) -> DetectorTraining:
    weights = class_weights(config.training.class_weighting, prepared, len(config.data.classes))
    return DetectorTraining(network, config, total_steps(config), weights, rank)


def total_steps(config: ExperimentConfig) -> int:
    return -(-config.sampling.samples_per_epoch // config.training.batch_size) * config.training.max_epochs


def _patches(dataset: PatchDataset, rank: Rank, epoch: int) -> PrefetchingLoader:
    numbers = NumberSampler(len(dataset))
    numbers.set_epoch(epoch)  # Lightning does so after workers have begun on the first epoch's batches
    training, sampling = dataset.config.training, dataset.config.sampling
    return PrefetchingLoader(
        dataset,  # type: ignore[arg-type]  # of patches, which are collated to batches
        batch_sampler=ShareSampler(numbers, training.batch_size, rank),
        collate_fn=collate,
        num_workers=training.workers,
        multiprocessing_context=_workers() if training.workers else None,
        generator=_unused(),
        # Workers hold a copy of the data set: those of an epoch must begin after hard negatives were found.
        persistent_workers=training.workers > 0 and not sampling.hard_negative_share,
    )


def _workers() -> BaseContext:
    """Workers are forked from a process that has nothing but what they need: forked from this one they would hold a
    copy of its GPU, its locks and its threads, such as those of Prefect's flows, and fail."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PatchDataset.__module__])
    return context


def _unused() -> torch.Generator:
    """Loaders draw a seed that nothing here uses, and once more with workers that begin again: not from the global
    generator, whose state is the training's."""
    return torch.Generator()


def _cases(cases: Sequence[Case], rank: Rank) -> "DataLoader[Case | None]":
    """This rank's validation cases, dealt in turn; as many as any other's, so that all of them end together."""
    own: list[Case | None] = list(cases[rank.number :: rank.count])
    most = -(-len(cases) // rank.count)
    dataset = _Cases([*own, *[None] * (most - len(own))])
    return DataLoader(dataset, batch_size=1, collate_fn=only_case, generator=_unused())


class _Cases(Dataset[Case | None]):
    def __init__(self, cases: Sequence[Case | None]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, number: int) -> Case | None:
        return self.cases[number]


class _Placed(ClusterEnvironment):
    """Tells Lightning that the processes are there, and which one this is. The group is joined already."""

    def __init__(self, rank: Rank) -> None:
        self.rank = rank

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        raise AssertionError("the process group was not joined")

    @property
    def main_port(self) -> int:
        raise AssertionError("the process group was not joined")

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.rank.count

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self.rank.number

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self.rank.local

    def node_rank(self) -> int:
        return 0


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning's advice (workers, checkpoint folders, hardware) is about choices that were made on purpose here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
