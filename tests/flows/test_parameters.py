"""What a flow takes for a version."""

import pytest
from pydantic import TypeAdapter, ValidationError

from flows.parameters import Version


@pytest.mark.parametrize("text", ["cells/3", "cells@champion", "starter/nuclei-2d"])
def test_versions_and_starters_are_taken(text):
    assert TypeAdapter(Version).validate_python(text) == text


@pytest.mark.parametrize("text", ["cells", "cells/new", "starter/", "starter/Nuclei", "starter/nuclei-2d@champion"])
def test_what_names_no_version_is_refused_before_the_run_begins(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Version).validate_python(text)
