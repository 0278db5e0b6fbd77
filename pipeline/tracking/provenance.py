"""Which code made a run."""

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@lru_cache(maxsize=1)
def code_tags() -> dict[str, str]:
    """Version and git commit of cellscan; the commit is ``not a checkout`` for an installed wheel.

    A commit ends in ``+changes`` when tracked files differ from it.
    """
    # A wheel in the virtual environment of some other checkout must not take that checkout's commit.
    ours = _git("ls-files", "--error-unmatch", "errors.py")
    commit = _git("rev-parse", "HEAD") if ours else ""
    tags = {"cellscan.version": _version(), "cellscan.git_commit": commit or "not a checkout"}
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no")
        tags["cellscan.git_commit"] = f"{commit}+changes" if changed else commit
        tags["mlflow.source.git.commit"] = commit
    return tags


def _version() -> str:
    try:
        return version("cellscan")
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    folder = Path(__file__).parents[1]
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
