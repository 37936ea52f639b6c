"""Whether what a caption says is true, which the IoU of a mask does not tell."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from ..evaluation.region_metric import RegionMetric
from ..ops.mask import mask_iou
from ..structures import RegionPrediction
from .expressions import attributes, fits, names_only
from .scene import HUMAN_COLORS, HUMAN_SHAPES, KIND_OF, KINDS, UNHEARD, UNSAID, WORDS, Thing
from .scenes_file import read_scenes

#: Words without a truth value that an expression may hold.
FRAME = ('the', 'thing', 'at')
#: What people say of the loop's training images.
TAUGHT = {*WORDS['size'], *WORDS['place'], *HUMAN_COLORS, *HUMAN_SHAPES}


class TruthMetric(RegionMetric):
    """Captions against the scenes that were drawn.

    A caption says *attributes*: words of size, colour, shape and place. It is

    - ``true`` if it says at least one, all that it says are true of the thing in view 1, and every
      other word is one that people's expressions hold too;
    - ``unambiguous`` if it is true, and of no other thing of the scene;
    - a ``code`` if it is not true, yet the mask is found from it in view 2 (IoU above 0.5).

    Also ``attributes`` and ``true_attributes``, per caption, and ``recall_{word}``: of the things that a
    word is true of, the share whose captions say it. ``recall_taught`` is the mean over the words that
    people say of the loop's training images; ``recall_unsaid`` and ``recall_unheard`` are those over the
    words that the tiny base does not say, and does not hear, at the start.

    Args:
        scenes: Dataset of the validation = the file of its scenes, see :mod:`scenes_file`.
        kwargs: See :class:`RegionMetric`; only the datasets of ``scenes`` are counted.

    Raises:
        FileNotFoundError: A file of scenes is missing.
    """

    default_prefix = 'truth'

    def __init__(self, scenes: dict[str, str], **kwargs: Any) -> None:
        super().__init__(datasets=list(scenes), **kwargs)
        self.scenes = {name: read_scenes(path) for name, path in scenes.items()}

    def measure(self, sample: RegionPrediction) -> dict[str, Any]:
        """What the caption says of its thing.

        Raises:
            ValueError: The image has no scene.
        """
        things = self._things_of(sample)
        index = nearest(things, sample.mask1)
        text = sample.caption or ''
        said = attributes(text)
        known = all(word in FRAME or word in KIND_OF for word in text.split())
        is_true = bool(said) and known and fits(things[index], said)
        found = 'caption' in sample.masks and bool(
            mask_iou(sample.masks['caption'][None], sample.mask2[None]) > 0.5
        )
        holds = {word for kind in KINDS for word in things[index].words(kind)}
        return {
            'true': is_true,
            'unambiguous': is_true and names_only(things, index, text),
            'code': found and not is_true,
            'attributes': len(said),
            'true_attributes': len(said & holds),
            'said': {word: word in said for word in holds},
        }

    def _things_of(self, sample: RegionPrediction) -> list[Thing]:
        name = Path(sample.image_ids[0].partition('#')[0]).stem
        try:
            return self.scenes[sample.dataset][name]
        except KeyError:
            raise ValueError(
                f'The scenes of {sample.dataset} do not hold {name!r} (image {sample.image_ids[0]}). '
                'Write data and scenes together with tools/make_tiny_world.py.'
            ) from None

    def summarize(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Shares and means over all regions."""
        names = ('true', 'unambiguous', 'code', 'attributes', 'true_attributes')
        scores = {name: fmean([row[name] for row in results]) for name in names} if results else {}
        recall = {}
        for word in KIND_OF:
            said = [row['said'][word] for row in results if word in row['said']]
            if said:
                recall[word] = fmean(said)
        scores |= {f'recall_{word}': value for word, value in recall.items()}
        for name, words in (('taught', TAUGHT), ('unsaid', UNSAID), ('unheard', UNHEARD)):
            values = [recall[word] for word in recall if word in words]
            if values:
                scores[f'recall_{name}'] = fmean(values)
        return scores | {'counted': len(results)}


def nearest(things: Sequence[Thing], mask: Tensor) -> int:
    """The thing whose centre is nearest to that of a mask ``[H, W]``."""
    height, width = mask.shape
    rows, columns = mask.nonzero(as_tuple=True)
    centre = torch.stack([(columns.float().mean() + 0.5) / width, (rows.float().mean() + 0.5) / height])
    centres = torch.tensor([[thing.x, thing.y] for thing in things], device=mask.device)
    return int((centres - centre).square().sum(1).argmin())
