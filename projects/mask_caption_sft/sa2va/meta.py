"""A Sa2VA without its weights: shapes only, on the meta device."""

from typing import Any

import torch

from ..backbones import backbone_of
from .released_sizes import released_config
from .sa2va import Sa2VA


def build_on_meta(config: dict[str, Any] | None = None, **kwargs: Any) -> Sa2VA:
    """A Sa2VA whose tensors have shapes but no values; takes no memory and no checkpoint.

    Args:
        config: Content of a ``config.json``; that of Sa2VA-4B by default.
        kwargs: See :class:`Sa2VA`.
    """
    from ..tiny_world.base_model import tiny_tokenizer

    config = config or released_config('Sa2VA-4B')
    tokenizer = tiny_tokenizer(also=backbone_of(config).image_marks)
    with torch.device('meta'):
        return Sa2VA(config=config, tokenizer=tokenizer, **kwargs)
