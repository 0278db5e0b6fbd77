import pytest

from pipeline.errors import ModelError
from pipeline.stages.versions import parse_version


@pytest.mark.parametrize("text", ["lesions/3", "models:/lesions/3"])
def test_a_version_is_a_name_and_a_number(text):
    assert parse_version(text) == ("lesions", "3")


@pytest.mark.parametrize("text", ["lesions", "lesions@champion", "lesions/x", "/3", "lesions/3/4"])
def test_anything_else_is_refused_with_what_came(text):
    with pytest.raises(ModelError, match=f"got '{text}'"):
        parse_version(text)
