"""What is asked about the things of a batch while the listener learns."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...structures import RegionBatch
from ..expressions import CHOICES, attributes
from ..scene import KIND_OF, KINDS


@dataclass
class Queries:
    """Q texts, each of which fits one region of its image and no other.

    Attributes:
        rows: ``[Q]`` long, the region that each is about.
        texts: Q texts.
    """

    rows: Tensor
    texts: list[str]


def draw_queries(
    batch: RegionBatch,
    per_image: int,
    single_ratio: float,
    kind_weights: dict[str, float],
    unheard: Collection[str] = (),
) -> Queries:
    """Draw texts that tell.

    Args:
        batch: Regions whose expressions say all that is true of them; all of an image are there.
        per_image: How many texts of each image.
        single_ratio: Share of texts of one kind of word. The kind is drawn first, and then a thing that it
            tells from the others, so that each kind is asked for however rarely it tells alone.
        kind_weights: How often each kind is drawn.
        unheard: Words that no query holds.
    """
    weights = np.array([kind_weights[kind] for kind in KINDS], dtype=float)
    rows, texts = [], []
    for regions, full, options in _images(batch, unheard):
        for _ in range(per_image):
            kinds = _draw_kinds(options, weights / weights.sum(), single_ratio)
            if kinds is not None:
                index = int(np.random.choice(options[kinds]))
                rows.append(regions[index])
                texts.append(shortened(full[index], kinds))
    return Queries(torch.tensor(rows, device=batch.image_index1.device), texts)


def _images(
    batch: RegionBatch, unheard: Collection[str]
) -> Iterator[tuple[list[int], list[str], dict[tuple[str, ...], list[int]]]]:
    """Of each image the rows of its regions, all that is true of them, and which are told by which kinds."""
    for image in batch.image_index1.unique().tolist():
        regions = (batch.image_index1 == image).nonzero()[:, 0].tolist()
        full = [str(batch.expressions[row]) for row in regions]
        yield regions, full, {kinds: telling(full, kinds, unheard) for kinds in CHOICES}


def _draw_kinds(
    options: dict[tuple[str, ...], list[int]], weights: np.ndarray, single_ratio: float
) -> tuple[str, ...] | None:
    if np.random.random() < single_ratio:
        for kind in np.random.permutation(np.random.choice(KINDS, 8, p=weights)):
            if options[(str(kind),)]:
                return (str(kind),)
    possible = [kinds for kinds, found in options.items() if found]
    return possible[np.random.randint(len(possible))] if possible else None


def telling(full: list[str], kinds: tuple[str, ...], unheard: Collection[str] = ()) -> list[int]:
    """Which things of an image are told from all others by the words of some kinds, none of them unheard."""
    said = [{word for word in attributes(text) if KIND_OF[word] in kinds} for text in full]
    everything = [attributes(text) for text in full]
    return [
        i
        for i, words in enumerate(said)
        if words.isdisjoint(unheard) and sum(words <= other for other in everything) == 1
    ]


def shortened(full: str, kinds: tuple[str, ...]) -> str:
    """A text that says all, without the words of the other kinds."""
    name, _, place = full.partition(' at the ')
    words = [word for word in name.split() if KIND_OF.get(word) in kinds]
    if 'shape' not in kinds:
        words.append('thing')
    return f'the {" ".join(words)}' + (f' at the {place}' if 'place' in kinds else '')
