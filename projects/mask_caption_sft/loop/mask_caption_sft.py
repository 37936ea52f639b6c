"""The two-stage loop: the student describes, the teacher segments, the masks are compared."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from torch import Tensor

from ..checkpoints.state_filter import keep_trained_only
from ..losses import caption_loss, dice_loss, iou_loss, kl_loss, mask_bce_loss, sample_points
from ..losses.loss_table import LossTable
from ..ops.build import build
from ..ops.mask import mask_iou, resize_masks
from ..sa2va.sa2va import Sa2VA
from ..structures import CaptionIds, CaptionLogits, ImageFeatures, RegionBatch, RegionPrediction
from .bridges import SelectionBridge, SoftTokenBridge
from .data_preprocessor import RegionDataPreprocessor
from .predict import predict_regions
from .signals import caption_controls, caption_statistics
from .teacher import build_teacher

LOSS_WEIGHTS = dict(
    loss_mask=2.0,
    loss_dice=0.5,
    loss_iou=1.0,
    loss_caption=1.0,
    loss_llm=1.0,
    loss_best=1.0,
    loss_kl=0.05,
)


class MaskCaptionSFT(BaseModel):
    """Student, teacher, and the two-stage loss of docs/method.md.

    Args:
        sa2va: The student, or the arguments of :class:`Sa2VA`.
        bridges: Ways from masks to text, alone or together; none switches the
            loop off, and only human expressions teach.
        loss_weights: By name; 0 switches a loss off. Missing names keep
            their default (``LOSS_WEIGHTS``).
        max_caption_len: The most tokens of a caption.
        gate_iou: A written caption teaches the student's segmenter only if the
            teacher's mask from it reached this IoU.
        num_points: Points at which mask and Dice loss are sampled; 0 for all pixels.
        segment_with: ``'teacher'``, or ``'student'`` as a control.
        predict_with: Which of the two validation and test look at.
        predict_dtype: ``'bfloat16'`` runs validation and test under autocast; None in the weights' type.
        predict_answers: ``'written'``: the mask is that of the first ``[SEG]`` the model writes, as
            upstream evaluates. ``'given'``: the answer is given and never checked, which cannot see
            a model that no longer writes ``[SEG]``; the metrics are then named ``..._given``.
        signal_interval: Iterations between two readings of the cheat signals.
    """

    def __init__(
        self,
        sa2va: Sa2VA | dict[str, Any],
        bridges: Sequence[Any] = (SoftTokenBridge(),),
        loss_weights: dict[str, float] | None = None,
        max_caption_len: int = 32,
        gate_iou: float = 0.5,
        num_points: int = 12544,
        segment_with: str = 'teacher',
        predict_with: str = 'student',
        predict_dtype: str | None = None,
        predict_answers: str = 'written',
        signal_interval: int = 10,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type=RegionDataPreprocessor))
        self.student: Sa2VA = build(sa2va, Sa2VA)
        self.teacher = build_teacher(self.student)
        bridges = [build(bridge) for bridge in bridges]
        self.bridges = [b for b in bridges if not isinstance(b, SelectionBridge)]
        self.selections = [b for b in bridges if isinstance(b, SelectionBridge) and b.num_captions > 1]
        self.loss_weights = _merged_weights(loss_weights or {})
        _check_choice('segment_with', segment_with)
        _check_choice('predict_with', predict_with)
        _check_choice('predict_answers', predict_answers, ('written', 'given'))
        if max_caption_len >= self.student.max_context:
            raise ValueError(
                f"max_caption_len={max_caption_len} does not fit the model's context of "
                f'{self.student.max_context} tokens. Lower it.'
            )
        self.max_caption_len, self.gate_iou, self.num_points = max_caption_len, gate_iou, num_points
        if predict_dtype not in (None, 'bfloat16', 'float16'):
            raise ValueError(f"predict_dtype={predict_dtype!r} is not one of None, 'bfloat16', 'float16'.")
        self.segment_with, self.predict_with = segment_with, predict_with
        self.predict_dtype, self.predict_answers = predict_dtype, predict_answers
        self.signal_interval = signal_interval
        keep_trained_only(self)

    @property
    def segmenter(self) -> Sa2VA:
        """The model that reads the student's captions."""
        return self.teacher if self.segment_with == 'teacher' else self.student

    def train(self, mode: bool = True) -> 'MaskCaptionSFT':
        """Train or eval mode of the student; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: RegionBatch, mode: str = 'loss'):
        """``'loss'`` -> losses by name; ``'predict'`` -> one RegionPrediction per region."""
        if mode == 'loss':
            return self.loss(batch)
        if mode == 'predict':
            model = self.teacher if self.predict_with == 'teacher' else self.student
            return self.predict(batch, model)
        raise ValueError(f"mode={mode!r} is not one of 'loss', 'predict'.")

    def predict(self, batch: RegionBatch, model: Sa2VA) -> list[RegionPrediction]:
        """Captions and masks with their controls, see :func:`predict_regions`."""
        if self.predict_dtype is None:
            return predict_regions(model, batch, self.max_caption_len, self.predict_answers)
        with torch.autocast(batch.image1.device.type, getattr(torch, self.predict_dtype)):
            return predict_regions(model, batch, self.max_caption_len, self.predict_answers)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of ``loss_*``; everything else, ``sav/loss_iou`` for one, is logged only."""
        total = torch.stack([v for name, v in losses.items() if name.startswith('loss_')]).sum()
        logged = {name: torch.as_tensor(value).detach() for name, value in losses.items()}
        return total, {'loss': total.detach()} | logged

    # ------------------------------------------------------------------ loss

    def loss(self, batch: RegionBatch) -> dict[str, Tensor]:
        """Weighted losses (``loss_*``) and values to log, for one batch.

        A region with an expression skips *describe*. Every loss has a graph
        even where no region contributes to it.
        """
        anchor = next(self.student.text_hidden_fcs.parameters()).sum() * 0.0
        table = LossTable(self.loss_weights, anchor)
        logs: dict[str, Any] = {}
        human = torch.tensor([e is not None for e in batch.expressions], dtype=torch.bool)
        loop_is_on = bool(self.bridges or self.selections)
        chosen = torch.arange(len(batch)) if loop_is_on else human.nonzero()[:, 0]
        if len(chosen):
            features = self.student.encode_images(batch.pixel_values, batch.num_tiles, batch.g_pixel_values)
            _LossStep(self, batch, features, chosen, human[chosen], table, logs).run()
        return table.averages() | logs

    def is_signal_iter(self) -> bool:
        """Whether the cheat signals are read in this iteration."""
        return self.training and self._current_iter() % self.signal_interval == 0

    @staticmethod
    def _current_iter() -> int:
        """The run's own count (0 outside a run), which a resume continues."""
        hub = MessageHub.get_current_instance()
        return int(hub.runtime_info.get('iter', 0))


class _LossStep:
    """One batch on its way through the loop; lives for one call of ``loss``.

    Rows are the regions that take part, first the described ones (W), then
    those with a human expression (H), so that each model runs once over both.
    """

    def __init__(
        self, model: MaskCaptionSFT, batch: RegionBatch, features: ImageFeatures, chosen: Tensor,
        human: Tensor, table: LossTable, logs: dict[str, Any],
    ) -> None:  # fmt: skip
        self.model, self.features, self.table, self.logs = model, features, table, logs
        self.text = model.student.text
        order = torch.cat([chosen[~human], chosen[human]])
        rows = order.tolist()
        self.num_written = int((~human).sum())
        self.written, self.human = slice(0, self.num_written), slice(self.num_written, None)
        device = batch.image1.device
        self.image1, self.image2 = batch.image1[order.to(device)], batch.image2[order.to(device)]
        self.visual_prompts = batch.visual_prompts[order.to(device)]
        size = (model.student.grounding_size // 4,) * 2
        self.masks1 = resize_masks([batch.masks1[i] for i in rows], size)
        self.masks2 = resize_masks([batch.masks2[i] for i in rows], size)
        self.datasets = [batch.datasets[i] for i in rows]
        self.expressions = [batch.expressions[i] for i in rows[self.num_written :]]

    def run(self) -> None:
        captions = self._write()
        spoken = self.text.encode_answers(self.expressions).to(self.image1.device)
        scores = self._score(captions, spoken)
        teacher_iou = self._teach_through_bridges(captions, scores)
        selected_iou = self._teach_best(captions)
        if teacher_iou is None:
            teacher_iou = selected_iou
        self._segment_as_student(captions, teacher_iou)
        if self.num_written and self.model.is_signal_iter():
            self._read_signals(captions, teacher_iou)

    def _write(self) -> CaptionIds:
        return self.model.student.describe(
            self.features, self.image1[self.written], self.visual_prompts[self.written],
            self.model.max_caption_len,
        )  # fmt: skip

    def _score(self, captions: CaptionIds, spoken: CaptionIds) -> CaptionLogits:
        """One teacher-forced pass over written captions and human expressions."""
        both = captions.append(spoken, self.text.tokenizer.pad_token_id)
        args = (self.features, self.image1, self.visual_prompts, both)
        scores = self.model.student.caption_logits(*args)
        human = self.human
        # An expression that fits nothing (gRefCOCO) describes no mask.
        is_there = self.masks1[human].flatten(1).any(1)
        self.table.add('loss_caption', caption_loss(scores.logits[human], scores.targets[human]), is_there)
        if self.num_written and self.model.loss_weights['loss_kl'] > 0:
            self._add_kl(scores, captions)
        return scores

    def _add_kl(self, scores: CaptionLogits, captions: CaptionIds) -> None:
        student, written = self.model.student, self.written
        with torch.no_grad(), student.reference():
            was_training = student.training
            student.eval()
            reference = student.caption_logits(
                self.features, self.image1[written], self.visual_prompts[written], captions
            )
            student.train(was_training)
        width = reference.logits.shape[1]
        mask = reference.targets >= 0
        kl = kl_loss(scores.logits[written, :width], reference.logits, mask)
        self.table.add('loss_kl', kl)
        self.logs['signal/kl'] = kl.mean().detach()

    def _teach_through_bridges(self, captions: CaptionIds, scores: CaptionLogits) -> Tensor | None:
        """``loss_iou`` of the segmenter's masks; returns their IoU ``[W]``, if there is a bridge."""
        if not (self.model.bridges and self.num_written):
            return None
        segmenter, width = self.model.segmenter, captions.ids.shape[1]
        banned = torch.tensor(self.text.banned_token_ids, device=self.image1.device)
        logits = scores.logits[self.written, :width].index_fill(-1, banned, -torch.inf)
        ious = []
        for bridge in self.model.bridges:
            text = bridge(logits, captions, segmenter.embedding, segmenter.first_token_map)
            result = segmenter.segment(self.features, self.image2[self.written], text, captions.mask)
            losses = iou_loss(result.mask_logits, self.masks2[self.written])
            self.table.add('loss_iou', losses)
            self._log_by_dataset('loss_iou', losses, self.datasets[self.written])
            ious.append(mask_iou(result.mask_logits > 0, self.masks2[self.written]))
        mean_iou = torch.stack(ious).mean(0)
        self._log_by_dataset('iou', mean_iou, self.datasets[self.written])
        return mean_iou

    def _teach_best(self, captions: CaptionIds) -> Tensor | None:
        """``loss_best`` on the best of K captions; returns the greedy one's IoU ``[W]``."""
        greedy_iou = None
        for selection in self.model.selections if self.num_written else ():
            candidates, ious = self._candidates(captions, selection)
            greedy_iou, best_iou = ious[0], ious.max(0).values
            better = (best_iou > greedy_iou + selection.margin_iou) & (best_iou >= self.model.gate_iou)
            rows = better.nonzero()[:, 0]
            self.logs['signal/best_iou_gain'] = (best_iou - greedy_iou).mean()
            if not len(rows):
                continue
            best = candidates[ious.argmax(0)[rows] * self.num_written + rows]
            scores = self.model.student.caption_logits(
                self.features, self.image1[rows], self.visual_prompts[rows], best
            )
            self.table.add('loss_best', caption_loss(scores.logits, scores.targets))
        return greedy_iou

    @torch.no_grad()
    def _candidates(self, captions: CaptionIds, selection: SelectionBridge) -> tuple[CaptionIds, Tensor]:
        """K * W captions, candidate-major with the greedy ones first, and their IoU ``[K, W]``."""
        student, segmenter, written = self.model.student, self.model.segmenter, self.written
        num_sampled = selection.num_captions - 1
        sampled = student.describe(
            self.features, self.image1[written], self.visual_prompts[written],
            self.model.max_caption_len, num_sampled, do_sample=True, temperature=selection.temperature,
        )  # fmt: skip
        order = torch.arange(len(sampled), device=sampled.ids.device)
        sampled = sampled[order.view(self.num_written, num_sampled).t().flatten()]
        candidates = captions.append(sampled, self.text.tokenizer.pad_token_id)
        image = self.image2[written].repeat(selection.num_captions)
        result = segmenter.segment(self.features, image, *segmenter.embed_captions(candidates))
        target = self.masks2[written].repeat(selection.num_captions, 1, 1)
        return candidates, mask_iou(result.mask_logits > 0, target).view(-1, self.num_written)

    def _segment_as_student(self, captions: CaptionIds, teacher_iou: Tensor | None) -> None:
        """The student's own masks, from its captions (through the gate) and from human expressions."""
        student, model, device = self.model.student, self.model, self.image1.device
        keep = torch.ones(len(self.image1), dtype=torch.bool, device=device)
        if self.num_written:
            assert teacher_iou is not None
            keep[self.written] = teacher_iou >= model.gate_iou
            self.logs['signal/gate_open_ratio'] = keep[self.written].float().mean()
        if not keep.any():
            return
        written_text, spoken_text = (
            student.embed_captions(captions),
            student.embed_expressions(self.expressions),
        )
        text, mask = _concatenate_embeds(written_text, spoken_text)
        rows = keep.nonzero()[:, 0]
        result = student.segment(self.features, self.image2[rows], text[rows], mask[rows])
        masks = self.masks2[rows]
        logits, targets = result.mask_logits, masks
        if model.num_points:
            logits, targets = sample_points(logits, targets, model.num_points)
        self.table.add('loss_mask', mask_bce_loss(logits, targets))
        self.table.add('loss_dice', dice_loss(logits, targets))
        answers = result.answer_ids.expand(len(rows), -1)
        self.table.add('loss_llm', caption_loss(result.answer_logits, answers))
        is_human = rows >= self.num_written
        losses = iou_loss(result.mask_logits, masks)
        self.table.add('loss_iou', losses, is_human)
        names = [self.datasets[i] for i in rows.tolist() if i >= self.num_written]
        self._log_by_dataset('loss_iou', losses[is_human], names)
        iou = mask_iou(result.mask_logits > 0, masks)[is_human]
        self._log_by_dataset('iou', iou, names)

    def _read_signals(self, captions: CaptionIds, bridge_iou: Tensor | None) -> None:
        written = self.written
        controls = caption_controls(
            self.model.segmenter, self.features, (self.image1[written], self.image2[written]),
            captions, (self.masks1[written], self.masks2[written]),
        )  # fmt: skip
        for name, values in controls.items():
            self.logs[f'signal/{name}'] = values.mean()
        if self.model.bridges and bridge_iou is not None:
            self.logs['signal/soft_discrete_gap'] = (bridge_iou - controls['caption_iou']).mean()
        texts = self.text.decode(captions)
        for name, value in caption_statistics(texts, captions).items():
            self.logs[f'signal/{name}'] = torch.tensor(value)

    def _log_by_dataset(self, name: str, values: Tensor, datasets: Sequence[str]) -> None:
        for dataset in sorted(set(datasets)):
            rows = [i for i, d in enumerate(datasets) if d == dataset]
            self.logs[f'{dataset}/{name}'] = values[rows].mean().detach()


def _merged_weights(weights: dict[str, float]) -> dict[str, float]:
    unknown = sorted(set(weights) - set(LOSS_WEIGHTS))
    if unknown:
        raise ValueError(f'loss_weights names {unknown}; the losses are {sorted(LOSS_WEIGHTS)}.')
    return LOSS_WEIGHTS | weights


def _check_choice(name: str, value: str, choices: Sequence[str] = ('teacher', 'student')) -> None:
    if value not in choices:
        raise ValueError(f'{name}={value!r} is not one of {", ".join(map(repr, choices))}.')


def _concatenate_embeds(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of two ``[R, T, D]`` embeddings and ``[R, T]`` masks, padded to the longer."""
    width = max(first[0].shape[1], second[0].shape[1])
    pad = torch.nn.functional.pad
    embeds = [pad(e, (0, 0, 0, width - e.shape[1])) for e, _ in (first, second)]
    masks = [pad(m, (0, width - m.shape[1]), value=False) for _, m in (first, second)]
    return torch.cat(embeds), torch.cat(masks)
