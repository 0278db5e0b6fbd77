"""What users call: commands and the functions behind them. A change here is a change for them."""

import importlib
import inspect

import pytest
import typer.main

from pipeline.cli.app import app

COMMANDS = {
    "better": ["name", "metric", "days", "as_json", "home", "verbose"],
    "catalog list": [
        *(
            "modality",
            "outcome",
            "annotated",
            "archive",
            "study",
            "series",
            "patient",
            "label",
            "part",
            "limit",
            "after",
        ),
        *("as_json", "home", "verbose"),
    ],
    "catalog files": [
        *("outcome", "reason", "under", "contains", "limit", "after", "as_json", "home", "verbose"),
    ],
    "catalog file": ["path", "as_json", "home", "verbose"],
    "catalog show": ["volume", "picture", "as_json", "home", "verbose"],
    "catalog export": ["out", "table", "as_json", "home", "verbose"],
    "catalog verify": ["archive", "as_json", "home", "verbose"],
    "catalog summary": ["as_json", "home", "verbose"],
    "compare": ["a", "b", "as_json", "home", "verbose"],
    "demo": ["as_json", "home", "verbose"],
    "deidentify": [
        *("source", "out", "dates", "retain_uids", "retain_device", "retain_institution"),
        *("retain_patient_characteristics", "retain_safe_private", "clean_descriptors", "clean_structured_content"),
        *("clean_graphics", "accept_burned_in", "strict", "as_json", "home", "verbose"),
    ],
    "detect": [
        *("version", "archive", "out", "formats", "workers", "compile_network", "retry", "strict"),
        *("as_json", "home", "verbose"),
    ],
    "doctor": ["as_json", "home", "verbose"],
    "ensemble": ["name", "versions", "as_json", "home", "verbose"],
    "evaluate": ["version", "data", "subset", "as_json", "home", "verbose"],
    "explain": ["version", "path", "out", "detection", "as_json", "home", "verbose"],
    "ingest": ["archive", "where", "deidentify", "strict", "as_json", "home", "verbose"],
    "listen": ["port", "host", "ae_title", "calling", "quiet", "as_json", "home", "verbose"],
    "plan": [
        *("folder", "name", "out", "dims", "modality", "where", "minutes", "point_box", "measure"),
        *("force", "as_json", "home", "verbose"),
    ],
    "promote": ["version", "policy", "force", "as_json", "home", "verbose"],
    "report": ["targets", "out", "as_json", "home", "verbose"],
    "rollback": ["name", "as_json", "home", "verbose"],
    "run": ["experiment", "overrides", "archive", "out", "policy", "as_json", "home", "verbose"],
    "sample": ["folder", "seed", "as_json", "verbose"],
    "send": ["sources", "to", "as_json", "home", "verbose"],
    "starters": ["name", "as_json", "verbose"],
    "train": ["experiment", "overrides", "folds", "seeds", "devices", "as_json", "home", "verbose"],
    "transfer-curve": [
        *("experiment", "overrides", "source", "shares", "seeds", "steps_by_data", "as_json", "home", "verbose"),
    ],
    "watch": [
        *("version", "source", "out", "every", "settle", "where", "formats", "rerun", "once", "workers"),
        *("as_json", "home", "verbose"),
    ],
}
FUNCTIONS = [
    "pipeline.stages.ingest:ingest_archive",
    "pipeline.stages.listen:listen",
    "pipeline.stages.deidentify:deidentify_archive",
    "pipeline.stages.plan:plan_experiment",
    "pipeline.stages.train:train_version",
    "pipeline.stages.train_group:train_group",
    "pipeline.stages.transfer_curve:transfer_curve",
    "pipeline.stages.ensemble:ensemble_versions",
    "pipeline.stages.evaluate:evaluate_version",
    "pipeline.stages.detect:detect_archive",
    "pipeline.stages.watch:watch",
    "pipeline.stages.send:send_files",
    "pipeline.stages.compare:compare_versions",
    "pipeline.stages.promote:promote_version",
    "pipeline.stages.rollback:rollback_champion",
    "pipeline.stages.report:write_report",
    "pipeline.stages.explain:explain_version",
    "pipeline.stages.make_starter:make_starter",
    "flows.scan_to_report:scan_to_report",
    "flows.watch:watch",
]


def _commands():
    """Every command by the words that name it."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {word}": one for word, one in inner.items()} or {name: command}
    return found


def test_commands_and_their_parameters():
    assert {name: [p.name for p in command.params] for name, command in _commands().items()} == COMMANDS


def test_every_option_has_a_help_text():
    bare = [f"{name} {p.name}" for name, command in _commands().items() for p in command.params if not p.help]
    assert not bare


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_there_and_says_what_it_does(name):
    module, _, function = name.partition(":")
    assert inspect.getdoc(getattr(importlib.import_module(module), function))
