"""Start the other processes of a training, or find those that torchrun started, and tell them what to do.

The leader (rank 0) is the process that the user started, with its screen and its MLflow run. It makes a store in
memory and puts the job there; the others (`follow`) take it, train along, and say how they ended.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

import pipeline
from pipeline.errors import ConfigError, ModelError
from pipeline.settings import Settings
from pipeline.training.ranks import Rank

_JOB, _HOST = "job", "127.0.0.1"
_LONG = timedelta(days=30)  # the leader may take in an archive before it trains
_START = timedelta(minutes=5)
_DYING = timedelta(seconds=5)
_NOTHING = b""

Job = Callable[[Rank], None]
"""Picklable: what every process other than the leader does."""


@dataclass(frozen=True)
class _Team:
    store: distributed.Store
    rank: Rank


def process_count(settings: Settings, device: torch.device) -> int:
    """How many processes train: those of torchrun, or as many as ``settings.devices`` says.

    Raises:
        ConfigError: more GPUs than there are, or torchrun's on several machines.
    """
    if under_torchrun():
        world, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if world != here:
            raise ConfigError(f"one machine trains: expected torchrun --nnodes 1, got {world} processes, {here} here")
        return world
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if settings.devices == "auto":
        return there
    if device.type == "cuda" and settings.devices > there:
        raise ConfigError(f"{settings.devices} devices were asked for (CELLSCAN_DEVICES), and there are {there} GPUs")
    return settings.devices


def under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def follows() -> bool:
    """Whether torchrun started this process to help another one."""
    return under_torchrun() and int(os.environ["RANK"]) > 0


@contextmanager
def leading(count: int, device: torch.device, job: Job) -> Iterator[Rank]:
    """Inside, ``count`` processes are one group, this one is the first of them, and the others do ``job``.

    Raises:
        ModelError: another process failed; its own error follows.
    """
    if count == 1:
        yield Rank()
        return
    with tempfile.TemporaryDirectory(prefix="cellscan-") as logs, _started(count, Path(logs)) as (store, others):
        store.set(_JOB, pickle.dumps((job, device.type)))  # type: ignore[arg-type]  # bytes are taken too
        threads = _fewer_threads(count)
        try:
            _join(store, Rank(0, count, 0), device.type)
            yield Rank(0, count, 0)
        except RuntimeError as error:
            told = _told(Path(logs), others)
            if told is None:
                raise
            raise ModelError(f"another process of the training failed:\n{told}") from error
        finally:
            torch.set_num_threads(threads)
            if distributed.is_initialized():
                distributed.destroy_process_group()


def release() -> None:
    """Under torchrun: the others need not wait any longer, all is done."""
    if under_torchrun() and not follows():
        store = _of_torchrun()
        if not store.check([_JOB]):
            store.set(_JOB, _NOTHING)  # type: ignore[arg-type]


def follow(store: distributed.Store | None = None, rank: Rank | None = None) -> None:
    """Wait for the leader's job and do it; by default as torchrun's environment says."""
    store = store or _of_torchrun()
    rank = rank or Rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"]))
    store.wait([_JOB], _LONG)
    content = store.get(_JOB)
    if content == _NOTHING:
        return
    job, device = pickle.loads(content)  # from the process that started this one
    _fewer_threads(rank.count)
    _join(store, rank, device)
    try:
        job(rank)
    finally:
        distributed.destroy_process_group()


def _join(store: distributed.Store, rank: Rank, device: str) -> None:
    if device == "cuda":
        torch.cuda.set_device(rank.local)
    group = distributed.PrefixStore("group", store)
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, store=group, rank=rank.number, world_size=rank.count)


def _fewer_threads(count: int) -> int:
    """The processes share the cores. Returns the number of threads before."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before // count, 1))
    return before


@contextmanager
def _started(count: int, logs: Path) -> Iterator[tuple[distributed.Store, list["subprocess.Popen[bytes]"]]]:
    if under_torchrun():
        yield _of_torchrun(), []
        return
    store = distributed.TCPStore(_HOST, 0, is_master=True, timeout=_START, wait_for_workers=False)
    others = [_start(number, count, store.port, logs) for number in range(1, count)]
    try:
        yield store, others
        for other in others:
            other.wait(_START.total_seconds())
    finally:
        for other in others:
            other.kill()
            other.wait()


def _start(number: int, count: int, port: int, logs: Path) -> "subprocess.Popen[bytes]":
    root = str(Path(pipeline.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-m", "pipeline.training.team", str(number), str(count), str(port)]
    with (logs / f"{number}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _told(logs: Path, others: list["subprocess.Popen[bytes]"]) -> str | None:
    """The error of the first other process that failed, whole."""
    for number, other in enumerate(others, start=1):
        with suppress(subprocess.TimeoutExpired):
            other.wait(_DYING.total_seconds())
        if other.returncode:
            return (logs / f"{number}.log").read_text(encoding="utf-8", errors="replace").strip() or (
                f"process {number} ended with {other.returncode} and said nothing"
            )
    return None


def _of_torchrun() -> distributed.Store:
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    own = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and not follows()
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return distributed.PrefixStore(f"cellscan/{attempt}", distributed.TCPStore(host, port, is_master=own))


def _main(number: int, count: int, port: int) -> int:
    try:
        follow(distributed.TCPStore(_HOST, port, is_master=False, timeout=_START), Rank(number, count, number))
    except Exception:  # whatever it was, the leader shows it
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*(int(word) for word in sys.argv[1:4])))
