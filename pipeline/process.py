"""The name of a process: host, pid and the moment it began (a pid alone is given to another process later)."""

import os
import platform
import subprocess
from pathlib import Path


def host() -> str:
    return platform.node()


def machine() -> str:
    """The host, when it was started, and the namespace that its pids are of: elsewhere a pid says nothing."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if not boot.exists() or not namespace.is_symlink():
        return host()
    return f"{host()},{boot.read_text(encoding='ascii')[:8]},{namespace.readlink().name}"


def this_process() -> str:
    """``pid:began``, unique on this host."""
    return f"{os.getpid()}:{_began(os.getpid())}"


def is_alive(process: str) -> bool:
    """Whether the process that was named so on this host still runs; an unreadable name is nobody's."""
    pid, _, began = process.partition(":")
    return pid.isdigit() and began != "" and _began(int(pid)) == began


def _began(pid: int) -> str:
    """When process ``pid`` began, as the system tells it; empty if there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # Field 22, counted after the command name, which may itself hold spaces and brackets (man 5 proc).
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()
