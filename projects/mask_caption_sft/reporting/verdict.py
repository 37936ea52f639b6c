"""What a run has achieved, in words, by thresholds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..loop.cheat_signs import CheatLimits, Readings, Sign, cheat_signs
from ..ops.metric_names import measured_how
from .run_log import RunLog, logged_as

#: A score that moved by less has not moved.
MOVED = 0.01
#: Below so many regions a validation says little.
FEW_REGIONS = 100
#: Below this share of taught captions the loop has next to nothing to learn from.
FEW_TAUGHT = 0.1

SCORES = {
    "mask -> caption -> mask' IoU": 'mask_cycle/second_view_iou',
    'cIoU of human expressions': 'ref_seg/cIoU',
    'captions that are true': 'truth/true',
}
CYCLE = 'mask_cycle/second_view_iou'
HUMAN = 'ref_seg/cIoU'
CONTROLS = {
    'captions of other regions': 'mask_cycle/shuffled_iou',
    'no caption': 'mask_cycle/blank_iou',
}


@dataclass
class Verdict:
    """What was found, and what to do.

    Attributes:
        title: In one sentence.
        findings: What rose, whether the controls fell, and what looks like cheating.
        advice: What to try next; empty where there is nothing to mend.
    """

    title: str
    findings: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """As a run prints it."""
        tries = [f'  try: {text}' for text in self.advice]
        return [f'Verdict: {self.title}', *(f'  {text}' for text in self.findings), *tries]


def verdict(log: RunLog, limits: CheatLimits | None = None, named: list[str] | None = None) -> Verdict:
    """Judge a run by its first and its last validation, and its last training rows where it has none.

    Args:
        log: What it logged.
        limits: Where signs of cheating begin; None takes those of :class:`CheatLimits`.
        named: Signs that were named while it trained.
    """
    first, last = (log.first_val, log.last_val) if log.val else ({}, {})
    if first and measured_how(first) != measured_how(last):
        first = {}  # the two cannot be compared
    signs = list(cheat_signs(_readings(log, first, last), limits or CheatLimits()))
    moves = {title: _change(name, first, last) for title, name in SCORES.items()}
    changes = {title: change for title, change in moves.items() if change is not None}
    found = Verdict(_title(changes, signs, compared=len(log.val) > 1 and bool(first)))
    found.findings += [_score_line(title, *change) for title, change in changes.items()]
    found.findings += _control_lines(last)
    found.findings += [f'Looks like cheating ({sign.name}): {sign.meaning}' for sign in signs]
    earlier = [name for name in named or () if name not in [sign.name for sign in signs]]
    if earlier:
        found.findings.append(f'Signs of cheating while it trained, gone at the end: {", ".join(earlier)}.')
    counted = last.get(logged_as('mask_cycle/counted', last))
    if counted is not None and counted < FEW_REGIONS:
        found.findings.append(f'Only {counted:.0f} regions were validated: small changes may be chance.')
    found.advice = [*(sign.mend for sign in signs), *_advice(log, changes)]
    return found


def _change(name: str, first: Mapping[str, float], last: Mapping[str, float]) -> tuple[float, float] | None:
    key = logged_as(name, last)
    return (first[key], last[key]) if key in first and key in last else None


def _title(changes: dict[str, tuple[float, float]], signs: list[Sign], compared: bool) -> str:
    if signs:
        return f'it looks as if the loop cheats ({", ".join(sign.name for sign in signs)}).'
    if not compared:
        return 'nothing to compare; a validation before training and one after it would be needed.'
    moves = {title: after - before for title, (before, after) in changes.items()}
    rose = [title for title, move in moves.items() if move >= MOVED]
    fell = [title for title, move in moves.items() if move <= -MOVED]
    if rose and fell:
        return f'mixed: {", ".join(rose)} rose, {", ".join(fell)} fell; nothing looks like cheating.'
    if fell:
        return f'it became worse: {", ".join(fell)} fell.'
    return 'it learned, and nothing looks like cheating.' if rose else 'it learned next to nothing.'


def _score_line(title: str, before: float, after: float) -> str:
    move = after - before
    word = 'rose' if move >= MOVED else 'fell' if move <= -MOVED else 'stayed'
    return f'{title} {word}: {before:.3f} -> {after:.3f}.'


def _control_lines(last: Mapping[str, float]) -> Iterator[str]:
    """How much of the IoU is left without the caption; a caption that carries the region leaves little."""
    own = last.get(logged_as(CYCLE, last))
    shares = []
    for title, name in CONTROLS.items():
        value = last.get(logged_as(name, last))
        if own and value is not None:
            shares.append(f'{title} {value:.3f} ({value / own:.0%})')
    if shares:
        yield f'Controls at the end, of an IoU of {own:.3f}: {", ".join(shares)}.'


def _readings(log: RunLog, first: Mapping[str, float], last: Mapping[str, float]) -> Readings:
    """From held-out regions where they were measured, otherwise from the last row of training."""
    train = log.train[max(log.train)] if log.train else {}

    def value(row: Mapping[str, float], name: str, signal: str) -> float | None:
        found = row.get(logged_as(f'mask_cycle/{name}', row))
        return train.get(f'signal/{signal}') if found is None and row is last else found

    return Readings(
        own_iou=value(last, 'second_view_iou', 'caption_iou'),
        shuffled_iou=value(last, 'shuffled_iou', 'shuffled_iou'),
        blank_iou=value(last, 'blank_iou', 'blank_iou'),
        top_caption_share=value(last, 'top_caption_share', 'top_caption_share'),
        caption_len=last.get(logged_as('mask_cycle/caption_len', last)),
        first_caption_len=first.get(logged_as('mask_cycle/caption_len', first)),
        cut_ratio=train.get('signal/cut_ratio'),
    )


def _advice(log: RunLog, changes: dict[str, tuple[float, float]]) -> Iterator[str]:
    moves = {SCORES[title]: after - before for title, (before, after) in changes.items()}
    if moves.get(HUMAN, 0.0) <= -MOVED:
        yield (
            'Human expressions are being forgotten: draw more of them '
            '(train_dataloader.dataset.datasets.refcoco.weight), or lower optim_wrapper.optimizer.lr.'
        )
    if CYCLE not in moves or moves[CYCLE] >= MOVED:
        return
    taught = log.curve('signal/taught_ratio')[1]
    if taught and sum(taught) / len(taught) < FEW_TAUGHT:
        yield (
            f'Only {sum(taught) / len(taught):.1%} of the captions were good enough to be taught: ask less '
            'of them (margin_iou of best_of_k, min_spread of weighted_captions), or write more of them '
            '(model.num_captions).'
        )
    else:
        yield (
            'Train longer (train_cfg.max_iters), or search for better settings: tools/search.py; look at '
            'the samples of the report first.'
        )
