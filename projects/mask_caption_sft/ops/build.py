"""Objects from config dicts."""

from typing import Any


def build(config: Any, default_type: Any = None) -> Any:
    """``dict(type=Thing, a=1)`` -> ``Thing(a=1)``; anything but a dict is returned as it is."""
    if not isinstance(config, dict):
        return config
    arguments = dict(config)
    return (arguments.pop('type', None) or default_type)(**arguments)
