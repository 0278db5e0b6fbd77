from prefect.client.orchestration import get_client

from flows.watch import watch
from tests.sources.written import write_png
from tests.stages.watching import table

from .conftest import SECRET


def test_run_of_the_flow_does_what_has_arrived_and_shows_it_without_names(place, server, tmp_path):
    import numpy as np

    folder, out = tmp_path / "scans", tmp_path / "out"
    pixels = np.random.default_rng(0).integers(0, 255, (2, 60, 70), dtype=np.uint8)
    write_png(folder / f"{SECRET}_1.png", pixels[0])
    assert watch("starter/nuclei-2d", str(folder), out, settle=0) == out
    assert [row["version"] for row in table(out).values()] == ["starter/nuclei-2d"]
    write_png(folder / f"{SECRET}_2.png", pixels[1])
    watch("starter/nuclei-2d", str(folder), out, settle=0)
    watch("starter/nuclei-2d", str(folder), out, settle=0)
    assert len(table(out)) == 2
    with get_client(sync_client=True) as client:
        shown = client._client.post("/artifacts/filter", json={"limit": 200}).json()
    tables = [one["data"] for one in shown if one["key"] == "watch-starter-nuclei-2d"]
    assert len(tables) == 2
    assert all('"scans": 1' in one for one in tables)
    assert SECRET not in str(shown)
