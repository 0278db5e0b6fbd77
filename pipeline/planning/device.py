"""The device that a plan is made for: its memory and its pace."""

import os
from dataclasses import dataclass
from typing import Literal

_GIB = 2**30


@dataclass(frozen=True)
class Device:
    """``memory`` in bytes; ``cores`` of the CPU (also beside a GPU, where they prepare patches); ``bf16``: it has
    instructions for bfloat16; ``name`` as PyTorch knows it."""

    kind: Literal["cpu", "cuda"]
    memory: int
    cores: int
    bf16: bool = False
    name: str = "cpu"

    def text(self) -> str:
        if self.kind == "cuda":
            return f"GPU with {self.memory / _GIB:.0f} GiB"
        return f"CPU with {self.cores} core{'s' if self.cores != 1 else ''} and {self.memory / _GIB:.0f} GiB"

    @property
    def training_bytes(self) -> int:
        """What a training step may take: 4/5 of a GPU; 1/4 of main memory, which others use too."""
        return self.memory * 4 // 5 if self.kind == "cuda" else self.memory // 4


def find_device(name: str) -> Device:
    """The device of a setting: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Memory counts in whole GiB, as built in."""
    import torch

    from pipeline.devices import computes_bf16

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return Device("cpu", max(round(memory / _GIB), 1) * _GIB, cores, computes_bf16(torch.device("cpu")))
    index = torch.device("cuda" if name == "auto" else name).index or 0
    facts = torch.cuda.get_device_properties(index)
    memory = max(round(facts.total_memory / _GIB), 1) * _GIB
    return Device("cuda", memory, cores, computes_bf16(torch.device("cuda", index)), f"cuda:{index}")
