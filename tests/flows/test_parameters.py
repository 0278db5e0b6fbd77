"""What a flow takes for a version."""

import pytest
from prefect.exceptions import ParameterTypeError
from pydantic import TypeAdapter, ValidationError

from flows.compare import promote
from flows.parameters import Version


@pytest.mark.parametrize("text", ["cells/3", "cells@champion", "starter/nuclei-2d"])
def test_versions_and_starters_are_taken(text):
    assert TypeAdapter(Version).validate_python(text) == text


@pytest.mark.parametrize("text", ["cells", "cells/new", "starter/", "starter/Nuclei", "starter/nuclei-2d@champion"])
def test_what_names_no_version_is_refused_before_the_run_begins(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Version).validate_python(text)


@pytest.mark.parametrize("text", ["cells@champion", "starter/nuclei-2d", "starter/2d", "models:/cells/3", "Cells/3"])
def test_only_a_numbered_version_is_promoted_and_the_form_says_so(text):
    assert promote.validate_parameters({"version": "cells/3"})["version"] == "cells/3"
    with pytest.raises(ParameterTypeError, match="pattern"):
        promote.validate_parameters({"version": text})
