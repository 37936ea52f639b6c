"""Several models beside each other: the student, its teacher, and the base that both started from."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..checkpoints.adapter import is_adapter
from ..checkpoints.source import trained_source
from ..checkpoints.training_file import is_ours
from ..sa2va.building import load_trained
from ..sa2va.sa2va import Sa2VA
from ..visualization.outlines import FOUND, TRUE
from ..visualization.region_picture import overlay
from .asking import describe_mask, encode, segment_text


@dataclass
class Shown:
    """What one model has answered.

    Attributes:
        name: Of the model.
        text: What it wrote.
        picture: ``[H, W, 3]`` uint8: the image with a mask, where there is one.
        mask: ``[H, W]`` bool; None where it wrote no ``[SEG]``.
    """

    name: str
    text: str
    picture: np.ndarray
    mask: np.ndarray | None = None


class Comparison:
    """Asks every model the same; all arrays are ``[H, W, 3]`` uint8 RGB images and ``[H, W]`` bool masks.

    Args:
        models: By name, in the order in which they are shown; in eval mode.
    """

    def __init__(self, models: dict[str, Sa2VA]) -> None:
        self.models = models

    @torch.no_grad()
    def describe(self, image: np.ndarray, mask: np.ndarray, num_captions: int = 1) -> list[Shown]:
        """Mask -> caption, by each model.

        Raises:
            ValueError: The mask is empty or of another size than the image.
        """
        check_mask(image, mask)
        picture = overlay(image, mask, TRUE)
        return [
            Shown(
                name, describe_mask(model, encode(model, Image.fromarray(image)), mask, num_captions), picture
            )
            for name, model in self.models.items()
        ]

    @torch.no_grad()
    def segment(self, image: np.ndarray, text: str) -> list[Shown]:
        """Text -> mask, by each model; several masks in an answer are joined.

        Raises:
            ValueError: There is no text, or it holds a special token.
        """
        return [self._found(name, image, text) for name in self.models]

    def round_trip(
        self, image1: np.ndarray, mask1: np.ndarray, image2: np.ndarray, num_captions: int = 1
    ) -> list[Shown]:
        """Mask -> caption -> mask' in a second image; each model reads its own caption.

        Raises:
            ValueError: The mask is empty or of another size than the first image.
        """
        captions = self.describe(image1, mask1, num_captions)
        return [self._again(said, image2) for said in captions]

    def _again(self, said: Shown, image2: np.ndarray) -> Shown:
        if not said.text.strip():
            return Shown(said.name, '(no caption)', image2)
        found = self._found(said.name, image2, said.text)
        seg = '' if found.mask is not None else f' (and of it: {found.text})'
        return Shown(said.name, said.text + seg, found.picture, found.mask)

    @torch.no_grad()
    def _found(self, name: str, image: np.ndarray, text: str) -> Shown:
        model = self.models[name]
        said, masks = segment_text(model, encode(model, Image.fromarray(image)), text, image.shape[:2])
        if not masks:
            return Shown(name, f'no [SEG], so no mask: {textwrap.shorten(said, 120)}', image)
        mask = np.any(masks, axis=0)
        return Shown(name, said, overlay(image, mask, FOUND), mask)


def check_mask(image: np.ndarray, mask: np.ndarray) -> None:
    """Raise ``ValueError`` for a mask that marks nothing, or is not of the image."""
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f'The mask is {mask.shape[1]} x {mask.shape[0]}, the image {image.shape[1]} x {image.shape[0]}. '
            'Give a mask of the size of the image.'
        )
    if not mask.any():
        raise ValueError('The mask is empty. Draw on the image, or pick a mask.')


def load_models(
    checkpoint: str, base: str | None = None, only: Sequence[str] = (), device: str = 'cpu'
) -> dict[str, Sa2VA]:
    """The models that a checkpoint holds, and its base.

    Args:
        checkpoint: Of a run (student, teacher and base), an adapter (model and base) or a directory in the
            released layout (model).
        base: The base's directory, if it has moved.
        only: Names of those that are wanted; all by default. Each takes the memory of a whole model.
        device: Where they run.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: ``only`` names none of the models.
    """
    path, found = Path(checkpoint), ''
    sides: dict[str, str | None]
    if path.is_dir() and not is_adapter(path):
        sides = {'model': None}
    else:
        source = trained_source(path, base)
        found, both = source.base, not path.is_dir() and is_ours(source.checkpoint)
        sides = {'student': 'student', 'teacher': 'teacher'} if both else {'model': 'student'}
        sides['base'] = None
    unknown = [name for name in only if name not in sides]
    if unknown:
        raise ValueError(f'{checkpoint} holds no {", ".join(unknown)}. It has: {", ".join(sides)}.')
    models = {}
    for name in only or sides:
        side = sides[name] or 'student'
        where = found if name == 'base' else checkpoint
        models[name] = load_trained(where, base, side, round_grounding_stats=True).to(device).eval()
    return models
