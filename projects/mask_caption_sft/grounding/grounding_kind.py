"""Everything that differs between the grounding encoders that a Sa2VA can have."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..backbones.key_rows import Fused
from .masks import decode_masks, encode_pixels, normalize_pixels


class GroundingKind(ABC):
    """A grounding encoder: how it is built, read from a checkpoint, shown an image and asked for masks.

    It holds no weights: methods that run something are given the native model, ``native``, that
    :meth:`build` made. Those of transformers' SAM 2 and SAM 3 have the same parts: ``vision_encoder``,
    ``prompt_encoder``, ``mask_decoder``, ``shared_image_embedding`` and ``no_memory_embedding``.

    Attributes:
        name: What it is called in messages.
        key: What ``config.json`` may call it, as ``"grounding_encoder"``.
        encoder_prefix: How the released tensors of its image encoder begin.
        trunk: How those of the encoder's blocks do.
        renamed: ``(released, native)`` names of its tensors; see checkpoints/key_map.py.
        fused: Released tensors that are several native ones, or another shape of one.
        unused: Beginnings of released tensors that no image needs, with the same wildcards.
        empty_without_object: A mask whose object score is not positive counts as empty.
        config: Content of ``config.json``.
        sizes: Those of the release, but for what the config states.
        where: Names the file in messages.
    """

    name: str
    key: str
    encoder_prefix: str
    trunk: str
    sizes: dict[str, Any]
    renamed: list[tuple[str, str]]
    fused: list[Fused] = []
    unused: list[str]
    empty_without_object = False

    def __init__(self, config: dict[str, Any], where: str) -> None:
        self.config, self.where = config, where

    # ------------------------------------------------------------------ what the config says

    @property
    @abstractmethod
    def image_size(self) -> int:
        """Side of its input in pixels.

        Raises:
            ValueError: No image of this size goes through it.
        """

    @property
    @abstractmethod
    def mask_size(self) -> int:
        """Side of the masks that it draws."""

    @property
    def hidden_size(self) -> int:
        """Width of a prompt's embedding; 256 in every release."""
        return self.sizes['hidden_size']

    @property
    @abstractmethod
    def num_blocks(self) -> int:
        """Of the encoder's trunk."""

    # ------------------------------------------------------------------ the native model

    @abstractmethod
    def build(self) -> Any:
        """The native model, randomly initialised.

        Raises:
            ValueError: The installed transformers does not have it.
        """

    def check_weights(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Raise ``ValueError`` if a checkpoint has another encoder than its config stands for, or one of
        another size.

        Args:
            shapes: Of the released tensors of the grounding encoder. What is missing is left to whoever
                loads the weights, and lists it.
            where: Names the checkpoint in messages.
        """
        if shapes and not self.is_in(shapes):
            raise ValueError(
                f'{where}: expected is the grounding encoder {self.name}, whose tensors begin with '
                f'{self.encoder_prefix}; there is none, and {min(shapes)} for one. Use config.json and '
                'weights of one checkpoint.'
            )
        self._check_size(shapes, where)

    def _check_size(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """By the width and the number of blocks."""
        patch_embedding = f'{self.trunk}patch_embed.proj.weight'
        if patch_embedding not in shapes:
            return
        block = re.compile(re.escape(self.trunk) + r'blocks\.(\d+)\.')
        blocks = {int(m[1]) for key in shapes if (m := block.match(key))}
        found = shapes[patch_embedding][0], len(blocks)
        expected = self.sizes['embed_dim'], self.num_blocks
        if found != expected:
            raise ValueError(
                f'{where}: its grounding encoder is {self._difference(found, expected)}. Use a '
                'checkpoint whose grounding_encoder is that one.'
            )

    @abstractmethod
    def _difference(self, found: tuple[int, int], expected: tuple[int, int]) -> str:
        """What an encoder of another width and number of blocks is, and what is expected."""

    def is_in(self, names: Collection[str]) -> bool:
        """Whether a checkpoint's tensors, by their names, have this encoder."""
        return any(name.startswith(self.encoder_prefix) for name in names)

    # ------------------------------------------------------------------ images and masks

    def normalize(self, g_pixel_values: Tensor, round_stats: bool, dtype: torch.dtype) -> Tensor:
        """See :func:`normalize_pixels`."""
        return normalize_pixels(g_pixel_values, round_stats, dtype)

    def encode(self, native: Any, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See :func:`encode_pixels`."""
        return encode_pixels(native, pixel_values)

    def decode(
        self,
        native: Any,
        grounding: tuple[Tensor, Tensor, Tensor],
        image_index: Tensor,
        seg_embeds: Tensor,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """See :func:`decode_masks`."""
        return decode_masks(native, grounding, image_index, seg_embeds, recompute, self.empty_without_object)


@torch.no_grad()
def share_positions(native: Any) -> None:
    """Give image and prompt encoder the same positional embedding.

    A released checkpoint holds it once. transformers 4 ties the two, 5 draws each at random.
    """
    buffers = dict(native.named_buffers())
    buffers['prompt_encoder.shared_embedding.positional_embedding'].copy_(
        buffers['shared_image_embedding.positional_embedding']
    )


def with_stated(sizes: dict[str, Any], config: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """The sizes of a release, but for those that a config states under a key, as tiny checkpoints do.

    Raises:
        ValueError: A stated size is of no use.
    """
    stated = config.get(key, {})
    if not isinstance(stated, dict):
        raise ValueError(f'{where}: {key} is {stated!r}; expected are sizes by name: {", ".join(sizes)}.')
    wrong = [f'{name}={value!r}' for name, value in stated.items() if not _is_like(value, sizes.get(name))]
    if wrong:
        raise ValueError(
            f'{where}: {key} states {", ".join(wrong)}; expected is a whole number above 0 or, in place of '
            f'{", ".join(name for name, v in sizes.items() if isinstance(v, list))}, a list of such. '
            f'Its names are {", ".join(sizes)}.'
        )
    return sizes | stated


def _is_like(value: Any, released: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    least = 0 if isinstance(released, list) else 1  # a list may hold the number of the first block
    are_sizes = all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values)
    return bool(values) and are_sizes and type(value) is type(released)
