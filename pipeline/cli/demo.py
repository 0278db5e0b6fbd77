"""The whole way on generated scans."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pipeline
from pipeline.cli.options import AsJson, Home, Verbose
from pipeline.cli.screen import Screen
from pipeline.errors import ConfigError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from flows.parameters import Experiment

EXPERIMENTS = ("demo_cells_2d", "demo_lesions_3d")
_FIRST_SHARE = 0.4


def demo(as_json: AsJson = False, home: Home = None, verbose: Verbose = False) -> None:
    """Do the whole way once, on generated scans: archive, two versions in 2D and in 3D, comparison, report.

    The first version of each is trained for a part of its experiment's epochs; the second starts from the first and
    is trained for all. Given again, it does not redo what is done.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        folder = experiment_folder()
        settings = _settings_of_demo()
        screen.note("The whole way on generated scans: about 5 minutes on 2 cores, less than one if done before.")

        from pipeline.cli.flow import run_whole
        from pipeline.cli.lines import sample_line
        from pipeline.sample.archive import write_sample

        sample = write_sample(settings.data / "sample", progress=screen.progress)
        screen.say(sample_line(sample))
        outcome = run_whole(plan(folder), settings, screen, verbose=verbose)
        screen.say(*outcome.lines())
        screen.give(outcome)


def experiment_folder() -> Path:
    """Where the demo's experiments are: in the checkout that this package belongs to.

    Raises:
        ConfigError: the package was installed without its checkout.
    """
    folder = Path(pipeline.__file__).parents[1] / "configs" / "experiments"
    missing = [name for name in EXPERIMENTS if not (folder / f"{name}.yaml").is_file()]
    if missing:
        raise ConfigError(
            f"the demo needs {missing[0]}.yaml, which is not in {folder}; run it from a checkout of cellscan: make demo"
        )
    return folder


def plan(folder: Path) -> list["Experiment"]:
    """Two versions of each experiment, in the order in which they are trained."""
    from flows.parameters import Experiment
    from pipeline.config import load_experiment

    planned = []
    for name in EXPERIMENTS:
        path = folder / f"{name}.yaml"
        training = load_experiment(path).training
        epochs = max(1, round(training.max_epochs * _FIRST_SHARE))
        shorter = (f"training.max_epochs={epochs}", f"training.validate_every={min(training.validate_every, epochs)}")
        planned += [
            Experiment(path=path, overrides=shorter),
            Experiment(path=path, overrides=(f"training.initial_weights=models:/{name}/1",)),
        ]
    return planned


def _settings_of_demo() -> Settings:
    """The home folder is also where the experiments find the sample archive; tasks read it from the environment."""
    os.environ["CELLSCAN_DATA"] = str(Settings.from_environment().home)
    return Settings.from_environment()
