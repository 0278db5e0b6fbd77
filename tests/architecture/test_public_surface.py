"""What users call: commands and the functions behind them. A change here is a change for them."""

import importlib
import inspect

import pytest
import typer.main

from pipeline.cli.app import app

COMMANDS = {
    "compare": ["a", "b", "as_json", "home", "verbose"],
    "demo": ["as_json", "home", "verbose"],
    "detect": ["version", "path", "out", "strict", "as_json", "home", "verbose"],
    "doctor": ["as_json", "home", "verbose"],
    "evaluate": ["version", "data", "subset", "as_json", "home", "verbose"],
    "ingest": ["path", "strict", "as_json", "home", "verbose"],
    "promote": ["version", "force", "as_json", "home", "verbose"],
    "report": ["targets", "out", "as_json", "home", "verbose"],
    "run": ["experiment", "overrides", "archive", "out", "as_json", "home", "verbose"],
    "sample": ["folder", "seed", "as_json", "verbose"],
    "train": ["experiment", "overrides", "as_json", "home", "verbose"],
}
FUNCTIONS = [
    "pipeline.stages.ingest:ingest_archive",
    "pipeline.stages.train:train_version",
    "pipeline.stages.evaluate:evaluate_version",
    "pipeline.stages.detect:detect_archive",
    "pipeline.stages.compare:compare_versions",
    "pipeline.stages.promote:promote_version",
    "pipeline.stages.report:write_report",
    "flows.scan_to_report:scan_to_report",
]


def test_commands_and_their_parameters():
    group = typer.main.get_command(app)
    assert {name: [p.name for p in command.params] for name, command in group.commands.items()} == COMMANDS


def test_every_option_has_a_help_text():
    group = typer.main.get_command(app)
    bare = [f"{name} {p.name}" for name, command in group.commands.items() for p in command.params if not p.help]
    assert not bare


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_there_and_says_what_it_does(name):
    module, _, function = name.partition(":")
    assert inspect.getdoc(getattr(importlib.import_module(module), function))
