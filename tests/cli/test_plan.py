import csv

import numpy as np
import pytest
from PIL import Image

from pipeline.config import load_experiment


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five grey fields of bright squares, annotated by centre points 20 px apart; the working folder is beside them."""
    root = tmp_path / "Cells 2"
    root.mkdir()
    starts = range(5, 100, 20)
    with (root / "centres.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image_id", "x_px", "y_px", "label"])
        for n in range(5):
            pixels = np.random.default_rng(n).integers(20, 40 + 10 * n, (100, 100 + n), dtype=np.uint8)
            for x in starts:
                for y in starts:
                    pixels[y : y + 10, x : x + 10] = 200
                    rows.writerow([f"f{n}", x + 5, y + 5, "cell"])
            Image.fromarray(pixels).save(root / f"f{n}.png")
    monkeypatch.chdir(tmp_path)
    return root


def test_a_folder_becomes_an_experiment_that_loads(cellscan, folder, tmp_path):
    outcome = cellscan("plan", folder)
    assert outcome.code == 0
    config = load_experiment(tmp_path / "configs" / "experiments" / "cells_2.yaml")
    assert config.name == "cells_2"
    assert config.data.point_box == 27.0
    assert config.data.source == "Cells 2"  # below the data folder, which is the working folder here
    assert "next: cellscan train configs/experiments/cells_2.yaml" in outcome.stdout
    assert "data.point_box" in outcome.stdout
    assert (tmp_path / "home" / "plans" / "cells_2.png").is_file()


def test_json_has_fingerprint_and_reasons(cellscan, folder):
    found = cellscan("plan", folder, "--json", "--name", "mine", "--out", folder / "mine.yaml").json
    assert found["name"] == "mine"
    assert found["fingerprint"]["objects"]["neighbour"]["p50"] == 20.0
    assert {"key", "value", "reason"} == set(found["choices"][0])
    assert load_experiment(folder / "mine.yaml").name == "mine"


def test_a_file_that_says_something_else_is_not_written_over(cellscan, folder, tmp_path):
    first = cellscan("plan", folder)
    assert "written" in first.stdout
    path = tmp_path / "configs" / "experiments" / "cells_2.yaml"
    text = path.read_text()
    assert "was there already" in cellscan("plan", folder).stdout  # the same folder gives the same file
    path.write_text(text + "# mine\n")
    refused = cellscan("plan", folder)
    assert refused.code == 1
    assert "--force writes over it, --out names another file" in refused.stderr
    assert path.read_text().endswith("# mine\n")
    assert cellscan("plan", folder, "--force").code == 0
    assert path.read_text() == text


def test_wrong_use_is_told(cellscan, folder):
    assert "--name" in cellscan("plan", folder, "--name", "Not A Name").stderr
    assert cellscan("plan", folder, "--where", "stain").code == 2
    none = cellscan("plan", folder, "--where", "stain=he")
    assert none.code == 1
    assert "none of the 5 scans is what was asked for" in none.stderr


def test_a_name_that_yaml_takes_for_a_truth_value_stays_a_name(cellscan, folder, tmp_path):
    assert cellscan("plan", folder, "--name", "on").code == 0
    assert load_experiment(tmp_path / "configs" / "experiments" / "on.yaml").name == "on"
