"""What the network trains on: patches with the objects they show."""

from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class Objects:
    """Objects of one patch.

    ``lower`` and ``upper`` ``(n, d)`` are box edges in voxels of the patch and may reach beyond it; ``labels`` ``(n,)``
    are class indices (-1: no class known); ``ignore`` is bool ``(n,)``. ``instances`` ``(i, j)`` int32 is there where
    outlines are learnt: the number of the object in each voxel of the patch, from 1, 0 where there is none and -1 where
    the patch shows nothing real (beyond the image). ``grades`` float ``(n,)`` 0 … 1 are there where a grade is learnt,
    NaN where an object's is not known.
    """

    lower: torch.Tensor
    upper: torch.Tensor
    labels: torch.Tensor
    ignore: torch.Tensor
    instances: torch.Tensor | None = None
    grades: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Objects":
        there = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        return Objects(**{name: value.to(device) for name, value in there.items()})


@dataclass(frozen=True)
class Batch:
    """``image`` float32 ``(batch, channel, i, j[, k])`` and the objects of each patch."""

    image: torch.Tensor
    objects: list[Objects]

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.image.to(device, non_blocking=True), [objects.to(device) for objects in self.objects])


def collate(samples: list[tuple[torch.Tensor, Objects]]) -> Batch:
    return Batch(torch.stack([image for image, _ in samples]), [objects for _, objects in samples])
