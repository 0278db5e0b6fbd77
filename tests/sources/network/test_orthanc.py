"""A real PACS: Debian's Orthanc with its DICOMweb plugin, each scenario in a network namespace of its own."""

import shutil
import subprocess
import sys

import pytest

_NAMESPACE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def _possible() -> bool:
    tools = all(shutil.which(tool) for tool in ("Orthanc", "unshare", "ip"))
    return tools and subprocess.run([*_NAMESPACE, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _possible(), reason="Orthanc, unshare and ip (or the right to use them) are not here")
@pytest.mark.parametrize("scenario", ["sent", "dicomweb", "server_killed", "client_killed", "pushed"])
def test_nothing_is_lost_and_nothing_comes_twice(scenario, tmp_path):
    play = [sys.executable, "-m", "tests.sources.network.orthanc_scenarios", scenario, str(tmp_path)]
    done = subprocess.run([*_NAMESPACE, *play], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
