"""Notes the memory of what torch runs."""

from torch.utils._python_dispatch import TorchDispatchMode

from projects.mask_caption_sft.benchmarking.live_bytes import LiveBytes


class Noted(TorchDispatchMode):
    """Inside, ``memory`` counts the bytes of tensors that live."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = LiveBytes()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.memory.note(result, (args, kwargs))
        return result
