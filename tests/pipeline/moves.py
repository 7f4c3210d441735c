"""What moves between devices: seen without a GPU, on torch's meta device, whose values cannot be looked at either."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Moves(TorchDispatchMode):
    """Notes each operation between devices that is waited for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, given=(), named=None):
        named = named or {}
        result = function(*given, **named)
        devices = {value.device.type for value in (*given, result) if isinstance(value, torch.Tensor)}
        if len(devices) > 1 and not named.get("non_blocking"):
            self.seen.append(str(function))
        return result
