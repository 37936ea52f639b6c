"""Objects from config dicts."""

from typing import Any

from .xtuner_parts import BUILDER


def build(config: Any, default_type: Any = None) -> Any:
    """``dict(type=Thing, a=1)`` -> ``Thing(a=1)``; anything but a dict is returned as it is.

    Args:
        config: ``type`` is a class, a function, or a name registered in XTuner's ``BUILDER``.
        default_type: What a dict without ``type`` is built as.
    """
    if not isinstance(config, dict):
        return config
    default = None if default_type is None else dict(type=default_type)
    return BUILDER.build(config, default_args=default)
