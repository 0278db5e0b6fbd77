"""``cellscan starters``: the models that came with cellscan."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, Verbose
from pipeline.cli.screen import Screen

if TYPE_CHECKING:
    from pipeline.starters import Starter


def starters(
    name: Annotated[
        str | None, typer.Argument(help="starter/name: print its model card.", show_default="list them")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """List the starter models: what each finds, how well, and under which licence its data are.

    Name one wherever a version is asked for, to detect or evaluate with, or as training.initial_weights.
    """
    with Screen(as_json=as_json, verbose=verbose) as screen:
        from pipeline.starters import starter
        from pipeline.starters import starters as all_of_them

        if name is not None:
            chosen = starter(name)
            screen.say(chosen.card)
            screen.give(_facts(chosen))
            return
        found = all_of_them()
        screen.say(*(_line(one) for one in found) if found else ("no starter model came with this cellscan",))
        screen.give({"starters": [_facts(one) for one in found]})


def _line(one: "Starter") -> str:
    return f"{one.spec}: {one.finds}; {one.tested}; trained on {one.credit} ({one.licence})"


def _facts(one: "Starter") -> dict[str, object]:
    return {"spec": one.spec, **{key: value for key, value in vars(one).items() if key != "made_at"}} | {
        "made_at": one.made_at.isoformat()
    }
