"""What computes, and what it can."""

import torch


def resolve_device(device: str) -> str:
    """``auto`` → ``cuda`` where there is one."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def computes_bf16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for bf16; without them it is emulated, and slower than 32 bits."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
