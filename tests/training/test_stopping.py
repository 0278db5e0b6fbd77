"""A training ends when validation gets no better, and stays ended."""

import pytest

from pipeline.datasets.split import split_cases
from pipeline.training.module import DetectorTraining
from pipeline.training.train import train
from tests.experiments import tiny_2d

SCORES = (0.2, 0.5, 0.5, 0.4, 0.3, 0.9)


@pytest.fixture
def _scored(monkeypatch):
    """Validations give the scores above in turn, whatever was learnt."""

    def end(self):
        self._validated = {"validation_primary": SCORES[self.current_epoch]}
        self.log("validation_primary", SCORES[self.current_epoch])

    monkeypatch.setattr(DetectorTraining, "on_validation_epoch_end", end)
    monkeypatch.setattr(DetectorTraining, "validation_step", lambda self, case, _: None)


@pytest.mark.usefixtures("_scored")
def test_validations_without_a_better_score_end_the_training(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=6, patience=3)
    split = split_cases(config.data, volumes, 0)
    told = []
    result = train(config, split, tmp_path / "run", settings, progress=lambda *line: told.append(line[2]))
    assert [row["validations_since_best"] for row in result.history] == [0, 0, 1, 2, 3]
    assert result.best_epoch == 2
    assert result.facts["stopped_early"]
    assert result.facts["steps"] == 20
    assert any("no better in 3 validations: ends" in line for line in told)


@pytest.mark.usefixtures("_scored")
def test_a_training_killed_after_it_ended_does_not_go_on(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=6, patience=2)
    split = split_cases(config.data, volumes, 0)
    first = train(config, split, tmp_path / "run", settings)
    (tmp_path / "run" / "finished.json").unlink()
    again = train(config, split, tmp_path / "run", settings, on_epoch=lambda *_: pytest.fail("went on"))
    assert len(again.history) == len(first.history) == 4
    assert again.best_epoch == 2


@pytest.mark.usefixtures("_scored")
def test_a_killed_training_remembers_how_long_it_waited(tmp_path, settings, volumes):
    config = tiny_2d(max_epochs=6, patience=3)
    split = split_cases(config.data, volumes, 0)

    class Killed(BaseException):
        pass

    def die(epoch, _):
        if epoch == 5:
            raise Killed

    with pytest.raises(Killed):
        train(config, split, tmp_path / "run", settings, on_epoch=die)
    assert len(train(config, split, tmp_path / "run", settings).history) == 5
