"""Says in plain words when the logged signals look as if the loop cheats."""

from collections.abc import Iterator, Sequence

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

_PREFIX = 'train/signal/'
_NAMED = 'cheats_named'
#: Logged whenever signals are read.
_ALWAYS = 'signal/caption_iou'

#: By sign: what it means, and what to change.
ADVICE = {
    'shuffled': (
        "Captions of other regions find a region nearly as well as its own (IoU {value:.3f} against "
        '{own:.3f}): captions say what is true of all regions, or the segmenter hears few words. Draw a '
        'larger share of human expressions (train_dataloader.dataset.datasets.refcoco.weight), and ask '
        'more of a caption before it is taught (model.objectives.best_of_k.margin_iou).'
    ),
    'blank': (
        'Without a caption regions are found nearly as well (IoU {value:.3f} against {own:.3f}): the '
        'segmenter ignores the text and draws what stands out. Draw a larger share of human expressions '
        '(train_dataloader.dataset.datasets.refcoco.weight), and let fewer captions teach the segmenter '
        '(model.objectives.segment_captions.gate_iou, or None for the whole objective).'
    ),
    'top_caption': (
        'One caption makes up {value:.0%} of those of a batch: the student says the same of everything. Go '
        'back to a checkpoint from before (--resume FILE) with a stronger hold on the start '
        '(model.objectives.near_start.weight) or a lower rate (optim_wrapper.optimizer.lr).'
    ),
    'shrunk': (
        'Captions have {value:.1f} tokens and had {own:.1f} at the start of the run: they say less and '
        'less, or have become a code. Strengthen the hold on the start (model.objectives.near_start.weight) '
        "or on people's words (model.objectives.human_expressions.caption_weight)."
    ),
    'cut': (
        '{value:.0%} of the captions reach the length limit without an end. If they read well, raise '
        'model.max_caption_len; if they run on, strengthen the hold on the start '
        '(model.objectives.near_start.weight).'
    ),
}  # fmt: skip


class CheatWatchHook(Hook):
    """Warns once per sign, and can stop the run, when the mean of a signal's last readings crosses a limit.

    One reading is of one batch and says little: in a healthy run of the tiny world a blank caption was
    better than the real ones in one of twenty readings. So means over a window are judged, and nothing
    before a window is full. Readings and what has been warned of are in the checkpoint; a resumed run is
    not ended before it has a window of its own. Signals are means over all ranks, so all judge alike.

    Args:
        shuffled_ratio: IoU from another region's caption, as a share of that from its own.
        blank_ratio: IoU without a caption, as a share of that with one.
        top_caption_share: Share of a batch's most frequent caption, in [0, 1].
        shrunk_ratio: Mean caption length as a share of that of the run's first window; a sign below it.
        cut_ratio: Share of captions without an end, in [0, 1].
        window: Readings that are averaged; one is taken every ``model.signal_interval`` iterations.
        stop: Signs that end the run, of ``shuffled``, ``blank``, ``top_caption``, ``shrunk`` and ``cut``.

    Raises:
        ValueError: ``stop`` names no sign, or ``window`` is less than 1.
        RuntimeError: While training: a sign of ``stop`` is there.
    """

    priority = 'LOW'  # after the values are in the message hub, before the checkpoint

    def __init__(
        self,
        shuffled_ratio: float = 0.8,
        blank_ratio: float = 0.8,
        top_caption_share: float = 0.8,
        shrunk_ratio: float = 0.5,
        cut_ratio: float = 0.5,
        window: int = 20,
        stop: Sequence[str] = (),
    ) -> None:
        self.stop = (stop,) if isinstance(stop, str) else tuple(stop)
        unknown = [name for name in self.stop if name not in ADVICE]
        if unknown:
            raise ValueError(f'stop names {", ".join(unknown)}, which is not one of {", ".join(ADVICE)}.')
        if window < 1:
            raise ValueError(f'window={window} readings cannot be averaged. Set it to 1 or more.')
        self.shuffled_ratio, self.blank_ratio = shuffled_ratio, blank_ratio
        self.top_caption_share, self.shrunk_ratio, self.cut_ratio = top_caption_share, shrunk_ratio, cut_ratio
        self.window = window
        self.num_read = 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Judge where signals were read in this iteration."""
        if _ALWAYS not in (outputs or {}):
            return
        self.num_read += 1
        hub = runner.message_hub
        named = list(hub.runtime_info.get(_NAMED, []))
        for sign, value, own in self.signs(hub):
            text = f'Sign of cheating ({sign}): {ADVICE[sign].format(value=value, own=own)}'
            if sign not in named:
                runner.logger.warning(text)
                hub.update_info(_NAMED, named := [*named, sign])
            if sign in self.stop and self.num_read >= self.window:
                raise RuntimeError(f'{text} The run ends, as default_hooks.cheat_watch.stop has this sign.')

    def signs(self, hub: MessageHub) -> Iterator[tuple[str, float, float]]:
        """Signs that are there now, each with its value and what it is compared with (0 for a limit)."""
        own = self._mean(hub, 'caption_iou')
        for sign, limit in (('shuffled', self.shuffled_ratio), ('blank', self.blank_ratio)):
            value = self._mean(hub, f'{sign}_iou')
            if own is not None and value is not None and value >= limit * own:
                yield sign, value, own
        share = self._mean(hub, 'top_caption_share')
        if share is not None and share >= self.top_caption_share:
            yield 'top_caption', share, 0.0
        length, first = self._mean(hub, 'caption_len'), self._mean(hub, 'caption_len', first=True)
        if length is not None and first is not None and length < self.shrunk_ratio * first:
            yield 'shrunk', length, first
        cut = self._mean(hub, 'cut_ratio')
        if cut is not None and cut >= self.cut_ratio:
            yield 'cut', cut, 0.0

    def _mean(self, hub: MessageHub, name: str, first: bool = False) -> float | None:
        """Over the last window, or the first; None before one is full."""
        buffer = hub.log_scalars.get(f'{_PREFIX}{name}')
        values = [] if buffer is None else buffer.data[0]
        if len(values) < self.window:
            return None
        return float(np.mean(values[: self.window] if first else values[-self.window :]))
