"""Several processes that train one network: what each of them does, and what they tell each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch.utils.data import Sampler

from pipeline.datasets.sampling import NumberSampler
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Rank:
    """This process among those that train: ``number`` of ``count``, ``local`` on its machine. 0 leads and writes."""

    number: int = 0
    count: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        return self.number == 0

    def divisor(self, count: torch.Tensor) -> torch.Tensor:
        """The mean over processes of what each of them counted in its share of a batch, that of at least 1 in all.

        Gradients are averaged over processes, so a loss divided by it has the gradient of the whole batch's.
        """
        total = count.detach().clone()
        if self.count > 1:
            distributed.all_reduce(total)
        return total.clamp(min=1) / self.count

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Over processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value / self.count

    def gathered(self, own: Sequence[Any]) -> list[Any]:
        """What was dealt to the processes in turn, in its order again."""
        if self.count == 1:
            return list(own)
        parts: list[Any] = [None] * self.count
        distributed.all_gather_object(parts, list(own))
        return [part[n] for n in range(len(parts[0])) for part in parts if n < len(part)]


class ShareSampler(Sampler[list[int]]):
    """Of each global batch of patch numbers, this rank's share. Lightning sets the epoch of ``sampler``.

    Raises:
        ConfigError: a batch leaves a process without a patch.
    """

    def __init__(self, numbers: NumberSampler, batch_size: int, rank: Rank) -> None:
        self.sampler, self.batch_size, self.rank = numbers, batch_size, rank
        least = len(numbers) % batch_size or batch_size
        if least < rank.count:
            raise ConfigError(
                f"each of {rank.count} devices needs a patch of every batch, and the smallest has {least}: choose "
                f"training.batch_size (now {batch_size}) and sampling.samples_per_epoch (now {len(numbers)}) so that "
                "the rest of their division is 0 or as large, or fewer devices"
            )

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        numbers = list(self.sampler)
        for first in range(0, len(numbers), self.batch_size):
            yield numbers[first : first + self.batch_size][self.rank.number :: self.rank.count]
