"""One worker of a detection: it loads the version once, and takes scan after scan from the ledger until none is left.

As a program, a worker in a process of its own: it reads its `Order` from a file, and stops, leaving what it had claimed
to others, when its standard input is closed, as it is when the process that started it is gone.
"""

import os
import pickle
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.detectors.bundle import Bundle
from pipeline.errors import CellscanError, ModelError
from pipeline.inference.archive import DetectionRun, work
from pipeline.inference.detect import VolumeDetector
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog

STOPPED = 130


@dataclass(frozen=True)
class Order:
    """``bundle`` is the version's folder; workers are numbered from 0, and each has ``threads`` threads."""

    bundle: Path
    run: DetectionRun
    settings: Settings
    number: int = 0
    threads: int = 1


def detect_as_worker(spec: str, run: DetectionRun, settings: Settings, number: int = 0) -> None:
    """As `detect_with`, of the version ``name/3``, which is fetched where it is not here yet."""
    from pipeline.tracking.registry import resolve

    detect_with(resolve(settings, spec).bundle_folder, run, settings, number)


def detect_with(bundle_folder: Path, run: DetectionRun, settings: Settings, number: int = 0) -> None:
    """Detect until nothing of the run is left.

    Args:
        bundle_folder: the version's files.
        run: what to do.
        settings: of this machine; its ledger and its store of volumes are those that the run was begun with.
        number: workers with other numbers take other GPUs, where there are several.

    Raises:
        ModelError: this machine reads the version's experiment in another way than the one that began the run.
    """
    bundle = Bundle.load(bundle_folder)
    if bundle.config.digest() != run.config:
        raise ModelError(
            f"the experiment of {run.model} is {bundle.config.digest()} here and {run.config} where the run was begun: "
            "install the same release of cellscan on all machines"
        )
    catalog = Catalog.of(settings)
    try:
        device = device_of(settings.device, number)
        detector = VolumeDetector(bundle, device, compile_network=settings.compile)
        work(detector, run, lambda volume_id: catalog.volumes(ids=[volume_id])[0], settings)
    finally:
        catalog.close()


def device_of(device: str, number: int) -> str:
    """The device of a worker: with several GPUs they take turns, unless one is named."""
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{number % gpus}" if gpus > 1 else device


def main() -> int:
    # SIGINT is ignored where a shell started all this with `&`; SIGTERM would look like the death of a worker.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        order: Order = pickle.loads(Path(sys.argv[1]).read_bytes())  # of the process that started this one
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        torch.set_num_threads(order.threads)
        detect_with(order.bundle, order.run, order.settings, order.number)
    except KeyboardInterrupt:
        return STOPPED
    except CellscanError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception:  # whatever it was, the one who started this shows it
        traceback.print_exc()
        return 1
    return 0


def _stop_with_parent() -> None:
    # Not by `sys.stdin`, whose lock this thread would hold for ever: the interpreter could not end.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
