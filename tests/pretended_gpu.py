"""A GPU that is pretended: what runs on a CPU fails as it would there where tensors of two devices meet."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")

# They may read from another device than they write to.
_ACROSS = {"copy_", "_foreach_copy_", "__set__", "_has_compatible_shallow_copy_type"}
_OF_THE_FIRST = {"__getitem__", "__setitem__", "index_put_", "__deepcopy__"}  # other tensors may be anywhere
_OF_THE_CPU = {"numpy", "__array__", "from_numpy"}


class PretendedGpu(TorchFunctionMode):
    """Tensors remember where they were sent; all of them lie in the CPU's memory.

    Raises:
        RuntimeError: a function is given tensors of two devices (a number of the CPU's may go with any), or numpy one
            of the GPU's.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "__get__" and func.__self__ is torch.Tensor.device:
            return where(args[0])
        if name == "__get__" and func.__self__ is torch.Tensor.is_cuda:
            return where(args[0]).type == "cuda"
        if name in ("to", "cpu", "cuda") and isinstance(args[0], torch.Tensor):
            return _sent(name, args, given)
        asked = given.pop("device", None)
        if asked is None and args and isinstance(args[0], torch.Tensor) and name.startswith(("new_", "zero_")):
            asked = where(args[0])
        place = torch.device(asked) if asked is not None else _common(name, args, given)
        if asked is not None and isinstance(asked, int | str | torch.device) and torch.device(asked).type == "cuda":
            place = GPU
        if name in _OF_THE_CPU and place.type == "cuda":
            raise RuntimeError(f"{name}: can't convert a tensor of the GPU to numpy")
        result = func(*args, **given)
        for tensor in _tensors(result):
            _put(tensor, place)
        return result


def where(tensor: torch.Tensor) -> torch.device:
    return getattr(tensor.untyped_storage(), "_pretended", CPU)


def _put(tensor: torch.Tensor, place: torch.device) -> None:
    tensor.untyped_storage()._pretended = GPU if place.type == "cuda" else CPU  # views and parameters share it


def _sent(name: str, args: Any, given: dict[str, Any]) -> torch.Tensor:
    tensor, *rest = args
    place, dtype, layout = (CPU if name == "cpu" else GPU), None, None
    if name == "to" and rest and isinstance(rest[0], torch.Tensor):
        place, dtype = where(rest[0]), rest[0].dtype
    elif name == "to":
        copied = given.pop("copy", False)
        asked, dtype, _, layout = torch._C._nn._parse_to(*rest, **given)
        place = where(tensor) if asked is None else asked
        tensor = tensor.clone() if copied else tensor
    result = tensor if dtype is None else tensor.to(dtype)
    result = result if layout is None else result.contiguous(memory_format=layout)
    moved = place.type != where(args[0]).type
    result = result.clone() if moved and result is tensor else result
    _put(result, place)
    return result


def _common(name: str, args: Any, given: dict[str, Any]) -> torch.device:
    every = list(_tensors((args, given)))
    if not every:
        return CPU
    if name in _ACROSS or name in _OF_THE_FIRST:
        return where(every[0])
    wide = {where(one).type for one in every if one.ndim}
    single = {where(one).type for one in every if not one.ndim}
    if len(wide) > 1 or (wide == {"cpu"} and "cuda" in single):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, got {sorted(wide | single)}")
    return GPU if "cuda" in (wide or single) else CPU


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict):
        yield from _tensors(tuple(tree.values()))
    elif isinstance(tree, tuple | list):
        for one in tree:
            yield from _tensors(one)
