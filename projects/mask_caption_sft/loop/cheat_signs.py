"""The signs that a loop cheats: what each means, where it begins, and what to change."""

from collections.abc import Iterator
from dataclasses import dataclass

#: By sign: what it means, and what to change.
ADVICE = {
    'shuffled': (
        "Captions of other regions find a region nearly as well as its own (IoU {value:.3f} against "
        '{own:.3f}): captions say what is true of all regions, or the segmenter hears few words.',
        'Draw a larger share of human expressions (train_dataloader.dataset.datasets.refcoco.weight), and '
        'compare more captions (model.num_captions), or hold against each what else it finds '
        '(confuser_weight in the reward of the objective that compares them).',
    ),
    'blank': (
        'Without a caption regions are found nearly as well (IoU {value:.3f} against {own:.3f}): the '
        'segmenter ignores the text and draws what stands out.',
        'Draw a larger share of human expressions (train_dataloader.dataset.datasets.refcoco.weight), and '
        'let fewer captions teach the segmenter (model.objectives.segment_captions.gate_iou, or None for the '
        'whole objective).',
    ),
    'top_caption': (
        'One caption makes up {value:.0%} of those of a batch: the student says the same of everything.',
        'Go back to a checkpoint from before (--resume FILE) with a stronger hold on the start '
        '(model.objectives.near_start.weight) or a lower rate (optim_wrapper.optimizer.lr).',
    ),
    'shrunk': (
        'Captions have a length of {value:.1f} and had {own:.1f} at the start of the run: they say less and '
        'less, or have become a code.',
        'Strengthen the hold on the start (model.objectives.near_start.weight) or, where the best caption '
        "alone is taught, on people's words (model.objectives.human_expressions.caption_weight).",
    ),
    'cut': (
        '{value:.0%} of the captions reach the length limit without an end.',
        'If they read well, raise model.max_caption_len; if they run on, strengthen the hold on the start '
        '(model.objectives.near_start.weight).',
    ),
}  # fmt: skip


@dataclass(frozen=True)
class CheatLimits:
    """Where each sign begins.

    Attributes:
        shuffled_ratio: IoU from another region's caption, as a share of that from its own.
        blank_ratio: IoU without a caption, as a share of that with one.
        top_caption_share: Share of the most frequent caption, in [0, 1].
        shrunk_ratio: Mean caption length as a share of that at the start; a sign below it.
        cut_ratio: Share of captions without an end, in [0, 1].
    """

    shuffled_ratio: float = 0.8
    blank_ratio: float = 0.8
    top_caption_share: float = 0.8
    shrunk_ratio: float = 0.5
    cut_ratio: float = 0.5


@dataclass(frozen=True)
class Readings:
    """What a run measured, as means; None is what was not.

    Attributes:
        own_iou: From a region's own caption.
        shuffled_iou: From another region's caption.
        blank_iou: Without a caption.
        top_caption_share: In [0, 1].
        caption_len: In tokens or words.
        first_caption_len: At the start of the run, in the same unit.
        cut_ratio: In [0, 1].
    """

    own_iou: float | None = None
    shuffled_iou: float | None = None
    blank_iou: float | None = None
    top_caption_share: float | None = None
    caption_len: float | None = None
    first_caption_len: float | None = None
    cut_ratio: float | None = None


@dataclass(frozen=True)
class Sign:
    """A sign that is there.

    Attributes:
        name: Key of ``ADVICE``.
        value: What was read.
        own: What it is compared with; 0 for a limit.
    """

    name: str
    value: float
    own: float = 0.0

    @property
    def meaning(self) -> str:
        """What it means, with its numbers."""
        return ADVICE[self.name][0].format(value=self.value, own=self.own)

    @property
    def mend(self) -> str:
        """What to change."""
        return ADVICE[self.name][1]


def cheat_signs(now: Readings, limits: CheatLimits) -> Iterator[Sign]:
    """The signs in some readings; what was not measured is no sign."""
    own = now.own_iou
    controls = (
        ('shuffled', now.shuffled_iou, limits.shuffled_ratio),
        ('blank', now.blank_iou, limits.blank_ratio),
    )
    for name, value, ratio in controls:
        if own is not None and value is not None and value >= ratio * own:
            yield Sign(name, value, own)
    share = now.top_caption_share
    if share is not None and share >= limits.top_caption_share:
        yield Sign('top_caption', share)
    length, first = now.caption_len, now.first_caption_len
    if length is not None and first is not None and length < limits.shrunk_ratio * first:
        yield Sign('shrunk', length, first)
    if now.cut_ratio is not None and now.cut_ratio >= limits.cut_ratio:
        yield Sign('cut', now.cut_ratio)
