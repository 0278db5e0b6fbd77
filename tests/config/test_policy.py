"""Policies: what is shipped loads, and what does not hold together is refused by name."""

from pathlib import Path

import pytest

from pipeline.config import Policy, load_policy
from pipeline.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "configs" / "policies"
POLICIES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_shipped_policy_loads_and_is_named_after_its_file(path):
    assert load_policy(path).name == path.stem


def test_the_shipped_default_is_what_holds_without_a_file():
    assert load_policy(FOLDER / "default.yaml") == Policy()


def test_digest_names_what_is_asked_for():
    assert Policy().digest() == Policy().digest()
    assert Policy().digest() != Policy(min_patients=2).digest()


def test_text_of_a_policy_is_the_policy(tmp_path):
    policy = load_policy(FOLDER / "strict.yaml")
    path = tmp_path / "kept.yaml"
    path.write_text(policy.text(), encoding="utf-8")
    assert load_policy(path) == policy
    assert policy.title == f"strict {policy.digest()}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("primary: {margin: -1}", r"primary\.margin: .*greater than or equal to 0 \(got -1\)"),
        ("primary: {margin: .inf}", r"primary\.margin: .*finite"),
        ("primary: {margin: true}", r"primary: .*margin must be a number, and true and false are none"),
        ("min_patients: false", "min_patients must be a number"),
        ("strata: [{variable: size, min_objects: true}]", r"strata\.0: .*min_objects must be a number"),
        ("min_patients: 100\nmin_patients: 1", r"key 'min_patients' is given twice\n.*line 2"),
        ("primary: {rule: better, rule: not_worse}", "key 'rule' is given twice"),
        ("primary: {rule: best}", r"primary\.rule: .*'better' or 'not_worse'"),
        ("stratum: []", "stratum: Extra inputs are not permitted"),
        ("strata: [{variable: size}, {variable: size}]", "each level of a variable is asked for once"),
        ("min_patients: 0", "min_patients: .*greater than or equal to 1"),
        ("[1]", "must hold a mapping of demands, got list"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_policy_that_does_not_hold_is_refused_by_key(tmp_path, text, message):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_policy(path)


def test_missing_policy_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no policy file at"):
        load_policy(tmp_path / "none.yaml")
