"""Says in plain words when the logged signals look as if the loop cheats."""

from collections.abc import Sequence

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from ..engine.ended import RunEndedError
from ..loop.cheat_signs import ADVICE, CheatLimits, Readings, Sign, cheat_signs

_PREFIX = 'train/signal/'
#: Logged whenever signals are read.
_ALWAYS = 'signal/caption_iou'


class CheatWatchHook(Hook):
    """Warns once per sign, and can stop the run, when the mean of a signal's last readings crosses a limit.

    One reading is of one batch and says little: in a healthy run of the tiny world a blank caption was
    better than the real ones in one of twenty readings. So means over a window are judged, and nothing
    before a window is full. Readings and what has been warned of are in the checkpoint; a resumed run is
    not ended before it has a window of its own. Signals are means over all ranks, so all judge alike.

    Args:
        shuffled_ratio, blank_ratio, top_caption_share, shrunk_ratio, cut_ratio: Where signs begin, see
            :class:`CheatLimits`; the start that captions have shrunk from is the run's first window.
        window: Readings that are averaged; one is taken every ``model.signal_interval`` iterations.
        stop: Signs that end the run, of ``shuffled``, ``blank``, ``top_caption``, ``shrunk`` and ``cut``.

    Raises:
        ValueError: ``stop`` names no sign, or ``window`` is less than 1.
        RunEndedError: While training: a sign of ``stop`` is there.
    """

    #: Key of the signs that have been named, in the message hub and in checkpoints.
    NAMED = 'cheats_named'
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
        self.limits = CheatLimits(shuffled_ratio, blank_ratio, top_caption_share, shrunk_ratio, cut_ratio)
        self.window = window
        self.num_read = 0

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Judge where signals were read in this iteration."""
        if _ALWAYS not in (outputs or {}):
            return
        self.num_read += 1
        hub = runner.message_hub
        named = list(hub.runtime_info.get(self.NAMED, []))
        for sign in self.signs(hub):
            text = f'Sign of cheating ({sign.name}): {sign.meaning} {sign.mend}'
            if sign.name not in named:
                runner.logger.warning(text)
                hub.update_info(self.NAMED, named := [*named, sign.name])
            if sign.name in self.stop and self.num_read >= self.window:
                raise RunEndedError(f'{text} The run ends, as default_hooks.cheat_watch.stop has this sign.')

    def signs(self, hub: MessageHub) -> list[Sign]:
        """Signs that are there now."""
        now = Readings(
            own_iou=self._mean(hub, 'caption_iou'),
            shuffled_iou=self._mean(hub, 'shuffled_iou'),
            blank_iou=self._mean(hub, 'blank_iou'),
            top_caption_share=self._mean(hub, 'top_caption_share'),
            caption_len=self._mean(hub, 'caption_len'),
            first_caption_len=self._mean(hub, 'caption_len', first=True),
            cut_ratio=self._mean(hub, 'cut_ratio'),
        )
        return list(cheat_signs(now, self.limits))

    def _mean(self, hub: MessageHub, name: str, first: bool = False) -> float | None:
        """Over the last window, or the first; None before one is full."""
        buffer = hub.log_scalars.get(f'{_PREFIX}{name}')
        values = [] if buffer is None else buffer.data[0]
        if len(values) < self.window:
            return None
        return float(np.mean(values[: self.window] if first else values[-self.window :]))
