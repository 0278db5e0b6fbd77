"""What `pip install` brings."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def test_a_wheel_holds_every_file_of_a_starter(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    folder = tmp_path / "pipeline" / "starters" / "nuclei-2d"
    folder.mkdir(parents=True)
    names = {"CARD.md", "bundle.json", "experiment.json", "starter.json", "weights.safetensors"}
    for path in (*(folder / name for name in (*names, "notes.txt")), folder.parent / "__init__.py"):
        path.write_text("")
    (tmp_path / "pipeline" / "__init__.py").write_text("")
    subprocess.run([sys.executable, "-c", _BUILD, str(tmp_path)], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    assert {path.name for path in inside if path.parent.name == "nuclei-2d"} == names
