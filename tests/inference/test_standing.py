from dataclasses import replace

import pytest

from pipeline.inference.ledger import Ledger
from pipeline.inference.standing import standings
from tests.stores import settings_in


@pytest.fixture
def settings(tmp_path):
    """A ledger in which several models did volume ``v``."""
    here = settings_in(tmp_path)
    models = [
        "cells/7-0123abcd",
        "cells/12-0123abcd",
        "cells_2/1-0123abcd",
        "Cells/1-0123abcd",
        "my cells/1-0123abcd",
        "starter/nuclei-2d-0123abcd",
        "starter/nuclei-2d-4567cdef",
        "starter/nuclei-2d-large-0123abcd",
    ]
    for model in models:
        with Ledger.of(here, model, "0123456789abcdef") as ledger:
            ledger.enter(["v"])
            (claim,) = ledger.claim(["v"], ledger.time())
            claim.part.touch()
            claim.finish(3, 8, 5)
    return here


@pytest.mark.parametrize(
    ("model", "same"),
    [
        ("cells/9-ffffffff", ["cells/12", "cells/7"]),
        ("cells_2/9-ffffffff", ["cells_2/1"]),
        ("Cells/9-ffffffff", ["Cells/1"]),
        ("my cells/1-0123abcd", ["my cells/1"]),
        ("starter/nuclei-2d-ffffffff", ["starter/nuclei-2d"] * 2),
        ("none/1-ffffffff", []),
    ],
)
def test_versions_of_one_name_and_of_no_other(settings, model, same):
    assert sorted(one.spec for one in standings(settings, model).get("v", [])) == same


def test_later_versions_are_greater_by_number_and_not_by_letter(settings):
    assert [one.spec for one in sorted(standings(settings, "cells/1-ffffffff")["v"], key=lambda one: one.order)] == [
        "cells/7",
        "cells/12",
    ]


def test_what_was_done_is_told_with_its_result(settings):
    (one,) = standings(settings, "cells_2/1-0123abcd")["v"]
    assert (one.state, one.detections, one.windows, one.background, one.config) == ("done", 3, 8, 5, "0123456789abcdef")
    assert one.result.is_file()


def test_ledger_that_is_not_there_yet_holds_nothing(settings, tmp_path):
    empty = replace(settings, catalog_url=f"sqlite:///{tmp_path / 'other.db'}")
    assert standings(empty, "cells/1-ffffffff") == {}
