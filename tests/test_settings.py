import pytest

from pipeline.errors import ConfigError
from pipeline.settings import Runner, Settings


@pytest.mark.parametrize(
    ("word", "runner"),
    [
        ("processes:3", Runner("processes", 3)),
        ("threads:2", Runner("threads", 2)),
        ("dask:4", Runner("dask", 4)),
        ("dask:8@tcp://host:8786", Runner("dask", 8, "tcp://host:8786")),
        ("ray:8@ray://host:10001", Runner("ray", 8, "ray://host:10001")),
    ],
)
def test_one_word_says_who_detects(monkeypatch, word, runner):
    monkeypatch.setenv("CELLSCAN_RUNNER", word)
    assert Settings.from_environment().runner == runner


def test_one_process_detects_by_default(monkeypatch):
    monkeypatch.delenv("CELLSCAN_RUNNER", raising=False)
    assert Settings.from_environment().runner == Runner("processes", 1)


@pytest.mark.parametrize(
    "word", ["", "3", "processes", "processes:0", "processes:-1", "processes:2@host", "spark:3", "dask:tcp://host:8786"]
)
def test_any_other_word_is_refused(monkeypatch, word):
    monkeypatch.setenv("CELLSCAN_RUNNER", word)
    with pytest.raises(ConfigError, match=r"CELLSCAN_RUNNER must be KIND:WORKERS, such as processes:3.*got"):
        Settings.from_environment()


@pytest.mark.parametrize(("word", "wanted"), [("1", True), ("0", False)])
def test_the_network_is_compiled_where_it_is_asked_for(monkeypatch, word, wanted):
    monkeypatch.setenv("CELLSCAN_COMPILE", word)
    assert Settings.from_environment().compile is wanted


def test_a_switch_is_0_or_1(monkeypatch):
    monkeypatch.setenv("CELLSCAN_COMPILE", "yes")
    with pytest.raises(ConfigError, match="CELLSCAN_COMPILE must be 0 or 1, got 'yes'"):
        Settings.from_environment()
