"""Back to the champion before, as often as there was one."""

import pytest

from pipeline.errors import ModelError
from pipeline.stages import rollback
from pipeline.stages.rollback import rollback_champion
from pipeline.tracking import registry
from pipeline.tracking.champions import ChampionMoved, champions, change_champion
from pipeline.tracking.history import Change
from pipeline.tracking.session import connect


def _change(settings, action, version):
    known = champions(settings, "cells")
    change_champion(settings, known, Change.now(action, version, known.current, "better"))


@pytest.fixture
def three(tracked):
    """Three versions, without files, that were champion one after another."""
    client = connect(tracked)
    client.create_registered_model("cells")
    for version in "123":
        client.create_model_version("cells", "file:///nowhere")
        _change(tracked, "promoted", version)
    return tracked


def _tags(settings, version):
    return connect(settings).get_model_version("cells", version).tags


def test_rollback_goes_back_step_by_step_and_is_recorded(three):
    back = rollback_champion("cells", three)
    assert (back.champion, back.rolled_back, registry.champion(three, "cells")) == ("2", "3", "2")
    assert _tags(three, "2")["cellscan.promotion"] == "restored"
    assert _tags(three, "2")["cellscan.promotion_reason"] == "rolled back from cells/3"
    assert _tags(three, "3")["cellscan.promotion"] == "rolled back"
    assert rollback_champion("cells", three).champion == "1"
    with pytest.raises(ModelError, match="cells has no earlier champion to go back to: cells/1 is the first one"):
        rollback_champion("cells", three)
    actions = [(change.action, change.version) for change in champions(three, "cells").changes]
    promoted = [("promoted", version) for version in "123"]
    assert actions == [*promoted, ("restored", "2"), ("restored", "1")]


def test_rollback_passes_over_what_was_deleted(three):
    connect(three).delete_model_version("cells", "2")
    back = rollback_champion("cells", three)
    assert (back.champion, back.reason) == ("1", "rolled back from cells/3; passed over as deleted: cells/2")


def test_rollback_without_one_that_still_exists_names_the_deleted(three):
    connect(three).delete_model_version("cells", "2")
    connect(three).delete_model_version("cells", "1")
    with pytest.raises(ModelError, match="no earlier champion to go back to: cells/2, cells/1 were deleted"):
        rollback_champion("cells", three)


@pytest.mark.parametrize("name", ["cells/1", "cells@champion", "models:/cells/1"])
def test_rollback_to_a_version_of_ones_choice_is_a_promotion(three, name):
    with pytest.raises(ModelError, match=r"takes the name alone .cells. .* cellscan promote cells/NUMBER --force"):
        rollback_champion(name, three)


def test_rollback_without_a_champion_or_a_name_is_told(tracked):
    connect(tracked).create_registered_model("cells")
    connect(tracked).create_model_version("cells", "file:///nowhere")
    with pytest.raises(ModelError, match="cells has no earlier champion to go back to: it never had one"):
        rollback_champion("cells", tracked)
    with pytest.raises(ModelError, match="no registered model 'nobody'; there are: cells"):
        rollback_champion("nobody", tracked)


def test_of_two_rollbacks_at_once_only_one_goes_back(three, monkeypatch):
    known = champions(three, "cells")
    rollback_champion("cells", three)
    monkeypatch.setattr(rollback, "champions", lambda settings, name: known)
    with pytest.raises(ChampionMoved, match="cells/2 was made the champion meanwhile"):
        rollback_champion("cells", three)
    assert registry.champion(three, "cells") == "2"
