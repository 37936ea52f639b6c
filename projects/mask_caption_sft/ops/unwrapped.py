"""The model of a run, without what distributes it."""

from typing import Any

from mmengine.model import is_model_wrapper


def unwrapped(model: Any) -> Any:
    """The model itself, of a ``runner.model`` that may be wrapped for several processes."""
    return model.module if is_model_wrapper(model) else model
