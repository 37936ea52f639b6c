"""Sa2VA-4B without its weights: shapes only, on the meta device."""

import json
from pathlib import Path
from typing import Any

import torch

from .sa2va import Sa2VA

#: ``config.json`` of the released Sa2VA-4B, as far as it decides shapes and types.
SA2VA_4B = Path(__file__).parent / 'architectures' / 'sa2va_4b.json'


def build_on_meta(config: dict[str, Any] | None = None, **kwargs: Any) -> Sa2VA:
    """A Sa2VA whose tensors have shapes but no values; takes no memory and no checkpoint.

    Args:
        config: Content of a ``config.json``; that of Sa2VA-4B by default.
        kwargs: See :class:`Sa2VA`.
    """
    from ..tiny_world.base_model import tiny_tokenizer

    with torch.device('meta'):
        return Sa2VA(config=config or json.loads(SA2VA_4B.read_text()), tokenizer=tiny_tokenizer(), **kwargs)
