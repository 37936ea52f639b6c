"""The two-stage loop: the student describes, the teacher segments, the masks are compared."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..checkpoints.state_filter import keep_trained_only
from ..losses import LossTable
from ..losses.loss_table import GRAPH
from ..ops.build import build
from ..ops.precision import is_bfloat16_autocast
from ..sa2va.base_dtype import AMP_SETTING, NEEDS_AUTOCAST
from ..sa2va.generation import Sampling
from ..sa2va.sa2va import Sa2VA
from ..structures import RegionBatch, RegionPrediction
from .data_preprocessor import RegionDataPreprocessor
from .objectives import Objective
from .periods import Periods
from .predict import predict_regions
from .segmentation_losses import SegmentationLosses
from .sharding import leave_out_of_ddp, shard_frozen_layers
from .signals import read_signals
from .step import Step
from .teacher import build_teacher


class MaskCaptionSFT(BaseModel):
    """Student, teacher, and the two-stage loss of docs/method.md.

    Args:
        sa2va: The student, or the arguments of :class:`Sa2VA`.
        objectives: What is taught, by name; ``None`` leaves one out. Each owns its weights and thresholds,
            see ``loop.objectives``.
        periods: When an objective teaches, by its name: from and until which share of the run, ``(0.5, 1.0)``
            for the second half. What is not named always teaches, and outside a run everything does.
        segmentation_losses: Losses on the student's own masks, see :class:`SegmentationLosses`.
        max_caption_len: The most tokens of a caption, its end of turn not counted.
        num_captions: Captions per described region, where an objective compares several: one is
            greedy, the others are sampled.
        sampling: How captions are sampled, see :class:`Sampling`.
        segment_with: Who segments from the student's captions: ``'teacher'``, or ``'student'`` as a control.
        predict_with: Which of the two validation and test look at.
        predict_dtype: ``'bfloat16'`` runs validation and test under autocast; None in the weights' type.
        predict_answers: ``'written'``: the mask is that of the first ``[SEG]`` the model writes, as
            upstream evaluates. ``'given'``: the answer is given and never checked, which cannot see
            a model that no longer writes ``[SEG]``; the metrics are then named ``..._given``.
        predict_captions: Captions per region in validation and test. With 1 it is the greedy one. With more
            the others are sampled, and the one from which the region is found best in view 1 is kept; the
            metrics of captions are then named ``..._best_of_4``, for 4.
        signal_interval: Iterations between two readings of the cheat signals.
        shard_frozen: Split the frozen matrices of the language model's layers over the ranks, see
            :class:`FrozenShards`: less memory for more time. A single process keeps them whole.
    """

    def __init__(
        self,
        sa2va: Sa2VA | dict[str, Any],
        objectives: dict[str, Any],
        periods: dict[str, tuple[float, float]] | None = None,
        segmentation_losses: SegmentationLosses | dict[str, Any] | None = None,
        max_caption_len: int = 32,
        num_captions: int = 4,
        sampling: Sampling | dict[str, Any] | None = None,
        segment_with: str = 'teacher',
        predict_with: str = 'student',
        predict_dtype: str | None = None,
        predict_answers: str = 'written',
        predict_captions: int = 1,
        signal_interval: int = 10,
        shard_frozen: bool = False,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type=RegionDataPreprocessor))
        self.student: Sa2VA = build(sa2va, Sa2VA)
        self.teacher = build_teacher(self.student)
        self.objectives: dict[str, Objective] = {
            name: build(objective) for name, objective in objectives.items() if objective is not None
        }
        self.periods = Periods(periods or {}, list(objectives))
        self.segmentation_losses = build(segmentation_losses or {}, SegmentationLosses)
        self.sampling = build(sampling or {}, Sampling)
        _check_choice('segment_with', segment_with, ('teacher', 'student'))
        _check_choice('predict_with', predict_with, ('teacher', 'student'))
        _check_choice('predict_dtype', predict_dtype, (None, 'bfloat16', 'float16'))
        if self.student.needs_autocast and predict_dtype is None:
            raise ValueError(
                NEEDS_AUTOCAST.format('model.predict_dtype=None', "model.predict_dtype='bfloat16'")
            )
        _check_choice('predict_answers', predict_answers, ('written', 'given'))
        if max_caption_len >= self.student.max_context:
            raise ValueError(
                f"max_caption_len={max_caption_len} does not fit the model's context of "
                f'{self.student.max_context} tokens. Lower it.'
            )
        for name, count in (('num_captions', num_captions), ('predict_captions', predict_captions)):
            if count < 1:
                raise ValueError(f'{name}={count} is less than 1, the greedy one. Raise it.')
        self.max_caption_len, self.num_captions = max_caption_len, num_captions
        self.segment_with, self.predict_with = segment_with, predict_with
        self.predict_dtype, self.predict_answers = predict_dtype, predict_answers
        self.predict_captions = predict_captions
        self.signal_interval = signal_interval
        keep_trained_only(self)
        leave_out_of_ddp(self, self.student)
        self.equal_passes = shard_frozen_layers(self.student, self.teacher) if shard_frozen else None

    # ------------------------------------------------------------------ the method

    def loss(self, batch: RegionBatch) -> dict[str, Tensor]:
        """Weighted losses (``loss_*``) and values to log, for one batch.

        The student describes the regions without an expression, the segmenter finds them again
        from the captions, and each objective teaches what it can from that. What the objectives ask the
        student is answered in one pass.
        """
        table = LossTable(graph=next(self.student.text_hidden_fcs.parameters()).sum() * 0.0)
        teaching = [o for name, o in self.objectives.items() if self.periods.is_now(name)]
        if not any(objective.needs_captions for objective in teaching):
            batch = batch.with_expressions()
        if len(batch):
            compares = any(objective.needs_candidates for objective in teaching)
            step = Step(
                self.student, self.segmenter, batch, table, self.segmentation_losses, self.max_caption_len,
                self.num_captions if compares else 1, self.sampling, self.is_signal_iter(),
            )  # fmt: skip
            teaching = [o for o in teaching if len(step.views1) or not o.needs_captions]
            asked = [objective.ask(step) for objective in teaching]
            step.questions.answer()
            for objective, answers in zip(teaching, asked):
                objective.teach(step, answers)
            if len(step.views1) and self.is_signal_iter():
                read_signals(step)
        if self.equal_passes is not None:
            self.equal_passes.finish()
            table.graph = self.equal_passes.tie(table.graph)
        return table.averages()

    @property
    def segmenter(self) -> Sa2VA:
        """The model that reads the student's captions."""
        return self.teacher if self.segment_with == 'teacher' else self.student

    def is_signal_iter(self) -> bool:
        """Whether the cheat signals are read in this iteration."""
        return self.training and self._current_iter() % self.signal_interval == 0

    @staticmethod
    def _current_iter() -> int:
        """The run's own count (0 outside a run), which a resume continues."""
        hub = MessageHub.get_current_instance()
        return int(hub.runtime_info.get('iter', 0))

    # ------------------------------------------------------------------ as MMEngine calls it

    def train(self, mode: bool = True) -> 'MaskCaptionSFT':
        """Train or eval mode of the student; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: RegionBatch, mode: str = 'loss'):
        """``'loss'`` -> losses by name; ``'predict'`` -> one RegionPrediction per region.

        Where every record of a batch was unreadable, ``'predict'`` gives one element of no losses:
        MMEngine's loops look at the last output, which has to exist, and leave out one of losses.
        """
        if mode == 'loss':
            if not is_bfloat16_autocast(self.student.device) and self.student.needs_autocast:
                raise ValueError(NEEDS_AUTOCAST.format('this optim_wrapper', AMP_SETTING))
            return self.loss(batch)
        if mode == 'predict':
            return self.predict(batch, self.predictor) or [BaseDataElement(loss={})]
        raise ValueError(f"mode={mode!r} is not one of 'loss', 'predict'.")

    def predict(self, batch: RegionBatch, model: Sa2VA) -> list[RegionPrediction]:
        """Captions and masks with their controls, see :func:`predict_regions`."""
        with self.predict_precision():
            return predict_regions(
                model, batch, self.max_caption_len, self.predict_answers, self.predict_captions, self.sampling
            )

    @property
    def predictor(self) -> Sa2VA:
        """The model that validation and test look at."""
        return self.teacher if self.predict_with == 'teacher' else self.student

    def predict_precision(self) -> AbstractContextManager[Any]:
        """Inside, what validation computes is computed in ``predict_dtype``."""
        if self.predict_dtype is None:
            return nullcontext()
        return torch.autocast(self.student.device.type, getattr(torch, self.predict_dtype))

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of ``loss_*``; everything else, ``sav/loss_iou`` for one, is logged only."""
        taught = [value for name, value in losses.items() if name.startswith('loss_')]
        total = torch.stack([*taught, losses[GRAPH]]).sum()
        logged = {name: value.detach() for name, value in losses.items() if name != GRAPH}
        return total, {'loss': total.detach()} | logged


def _check_choice(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{name}={value!r} is not one of {", ".join(map(repr, choices))}.')
