"""Four phases: see, listen to codes, read, and all together."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from ...grounding import best_candidate
from ...loop.data_preprocessor import RegionDataPreprocessor
from ...loop.predict import predict_regions
from ...losses import caption_loss, dice_loss, iou_loss, mask_bce_loss
from ...ops.build import build
from ...ops.mask import mask_iou, resize_masks
from ...sa2va.sa2va import Sa2VA
from ...structures import ImageFeatures, RegionBatch, RegionPrediction, RegionViews, Segmentation
from ..expressions import attributes
from ..scene import KIND_OF, KINDS
from .captions import CaptionStyle
from .queries import Queries, draw_queries
from .word_maps import NUMBER_OF, VOCABULARY, WordMaps, token_features


@dataclass
class Phase:
    """Some iterations, and what is taught in them.

    Attributes:
        iters: How many.
        see: The encoders that learn, from words only; ``'grounding'`` and ``'vit'``. Gradients of masks
            and captions would first of all undo what a decoder that knows nothing cannot use.
        prompt: What the mask decoder is prompted with: None for no masks; ``'codes'`` for the sum of the
            words' codes, without a language model; ``'text'`` for the language model's state after the
            text alone; ``'image'`` for that after image and text.
        code_weight: Weight of the distance between the prompt and the words' codes.
        single_ratio, kind_weights: See :func:`draw_queries`.
        caption: Whether captions are taught.
    """

    iters: int
    see: tuple[str, ...] = ()
    prompt: str | None = None
    code_weight: float = 0.0
    single_ratio: float = 0.5
    kind_weights: dict[str, float] = field(
        default_factory=lambda: {'size': 4.0, 'color': 1.0, 'shape': 2.0, 'place': 2.0}
    )
    caption: bool = False


class Sa2VABaseTraining(BaseModel):
    """A small Sa2VA from random weights to one that hears every word.

    Trained at once, everything stays at "segment all things" for thousands of iterations: what prompts
    the decoder means nothing yet, and the decoder has no use for it. So the encoders learn
    first what there is to see; then the decoder learns which of it is asked for, from codes that are
    told apart from the start; then the language model learns to write these codes.

    Args:
        sa2va: The model.
        phases: In their order.
        queries_per_image: Texts about each image, in every iteration.
        code_scale: Standard deviation of the words' codes at the start.
        pick_weight: Weight of :func:`pick_loss`. Much larger, its gradient leaves none to the overlap:
            the right thing has the largest logits, and others are in the mask too.
        caption_ratio: Share of regions that teach captioning.
        captions: How the texts say it that teach captioning.
        unheard: Words that no query holds. A base that heard them before forgets them: their token
            embeddings are drawn anew.
        max_caption_len: Longest caption in tokens, for validation.
    """

    _num_iters: Tensor

    def __init__(
        self,
        sa2va: Sa2VA | dict[str, Any],
        phases: Sequence[Phase | dict[str, Any]],
        queries_per_image: int = 4,
        code_scale: float = 1.0,
        pick_weight: float = 0.2,
        caption_ratio: float = 0.5,
        captions: CaptionStyle | dict[str, Any] | None = None,
        unheard: Collection[str] = (),
        max_caption_len: int = 12,
    ) -> None:
        super().__init__(dict(type=RegionDataPreprocessor))
        self.student: Sa2VA = build(sa2va, Sa2VA)
        self.phases = [phase if isinstance(phase, Phase) else Phase(**phase) for phase in phases]
        self.queries_per_image, self.pick_weight = queries_per_image, pick_weight
        self.max_caption_len = max_caption_len
        self.caption_ratio = caption_ratio
        self.captions = build(captions or {}, CaptionStyle)
        self.unheard = set(unheard)
        forget_words(self.student, sorted(self.unheard))
        width = self.student.text_hidden_fcs[2].out_features
        self.word_maps = WordMaps(width, _token_width(self.student))
        self.codes = nn.Embedding(len(VOCABULARY), width)
        nn.init.normal_(self.codes.weight, std=code_scale)
        self.register_buffer('_num_iters', torch.zeros((), dtype=torch.long))

    def forward(self, batch: RegionBatch, mode: str = 'loss') -> dict[str, Tensor] | list[RegionPrediction]:
        """Run ``'loss'`` or ``'predict'``, whichever MMEngine asks for."""
        if mode == 'predict':
            return predict_regions(self.student, batch, self.max_caption_len)
        return self.loss(batch)

    @property
    def phase(self) -> Phase:
        """The phase of the present iteration; the last one goes on for ever."""
        end = 0
        for phase in self.phases:
            end += phase.iters
            if self._num_iters < end:
                return phase
        return self.phases[-1]

    def loss(self, batch: RegionBatch) -> dict[str, Tensor]:
        """The losses of the present phase."""
        phase = self.phase
        self._num_iters += 1
        features = self._look(phase, batch)
        masks = resize_masks(batch.masks1, features.grounding[0].shape[-2:])
        losses = self.word_maps(features, batch, masks, phase.see)
        seen = detached(features)
        if phase.prompt is not None:
            queries = draw_queries(
                batch, self.queries_per_image, phase.single_ratio, phase.kind_weights, self.unheard
            )
            losses |= self._listen(phase, seen, batch, masks, queries)
        if phase.caption:
            losses['loss_caption'] = self._caption_loss(seen, batch)
        return losses

    def _look(self, phase: Phase, batch: RegionBatch) -> ImageFeatures:
        with torch.set_grad_enabled('vit' in phase.see):
            vit = self.student.encode_tiles(batch.pixel_values, batch.grids)
        with torch.set_grad_enabled('grounding' in phase.see):
            grounding = self.student.encode_grounding(batch.g_pixel_values)
        return ImageFeatures(vit, batch.num_tiles, grounding, grids=batch.grids)

    # ------------------------------------------------------------------ listening

    def _listen(
        self, phase: Phase, features: ImageFeatures, batch: RegionBatch, masks: Tensor, queries: Queries
    ) -> dict[str, Tensor]:
        images = batch.image_index1[queries.rows]
        codes = self.codes_of(queries.texts)
        losses: dict[str, Tensor] = {}
        if phase.prompt == 'codes':
            candidates = self.student.grounding_kind.decode(
                self.student.grounding_encoder, features.grounding, images, codes
            )
            logits, iou_scores = best_candidate(*candidates)
        else:
            read, prompts = self._read(features, images, queries.texts, phase.prompt == 'image')
            logits, iou_scores = read.mask_logits, read.iou_scores
            answers = read.answer_ids.expand(len(codes), -1)
            losses['loss_llm'] = 0.1 * caption_loss(read.answer_logits, answers).mean()
            losses['loss_code'] = phase.code_weight * mse_loss(prompts, codes.detach())
        own = masks[queries.rows]
        # The predicted IoU chooses among the candidates, so it has to learn the real one.
        iou = mask_iou(logits > 0, own)
        return (
            losses
            | {
                'loss_mask': 2.0 * mask_bce_loss(logits, own).mean(),
                'loss_dice': dice_loss(logits, own).mean(),
                'loss_iou': iou_loss(logits, own).mean(),
                'loss_score': (iou_scores - iou).square().mean(),
                'loss_pick': self.pick_weight * pick_loss(logits, masks, queries.rows, batch.image_index1),
                'iou': iou.mean(),
            }
            | _iou_by_kind(iou, queries.texts)
        )

    def codes_of(self, texts: Sequence[str]) -> Tensor:
        """``[R, C]``, the sum of the codes of each text's words."""
        return torch.stack(
            [self.codes.weight[[NUMBER_OF[w] for w in attributes(text)]].sum(0) for text in texts]
        )

    def _read(
        self, features: ImageFeatures, images: Tensor, texts: list[str], show_images: bool
    ) -> tuple[Segmentation, Tensor]:
        """The masks of Q texts that the language model reads, and its prompts ``[Q, C]`` to the decoder."""
        model = self.student
        kept: list[Tensor] = []
        hook = model.text_hidden_fcs.register_forward_hook(lambda module, inputs, output: kept.append(output))
        ask = model.ask(features, show_images=show_images)
        found = ask.segment(RegionViews(features, images), model.embed_expressions(texts))()
        hook.remove()
        return found, kept[0]

    # ------------------------------------------------------------------ captions

    def _caption_loss(self, features: ImageFeatures, batch: RegionBatch) -> Tensor:
        """Captioning of a share of the regions."""
        index = (torch.rand(len(batch)) < self.caption_ratio).nonzero()[:, 0].to(batch.image_index1.device)
        if not len(index):
            return features.vit.sum() * 0
        texts = self.captions.captions([str(text) for text in batch.expressions])
        taught = [texts[row] for row in index.tolist()]
        views1 = RegionViews(features, batch.image_index1[index], batch.visual_prompts[index])
        scores = self.student.score(views1, self.student.text.encode_answers(taught).to(self.student.device))
        return caption_loss(scores.logits, scores.targets).mean()

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of ``loss_*``; everything else is only logged."""
        total = torch.stack([value for name, value in losses.items() if name.startswith('loss_')]).sum()
        return total, {'loss': total.detach()} | {name: value.detach() for name, value in losses.items()}


@torch.no_grad()
def forget_words(model: Sa2VA, words: Sequence[str]) -> None:
    """Draw the token embeddings of some words anew, with the spread of all others.

    Raises:
        ValueError: A word is more than one token, which it shares with others.
    """
    weight = model.embedding
    for word in words:
        ids = model.text.tokenizer.encode(f' {word}', add_special_tokens=False)
        if len(ids) != 1:
            raise ValueError(f'{word!r} is {len(ids)} tokens; only a word of one token can be forgotten.')
        weight[ids[0]] = torch.randn_like(weight[ids[0]]) * weight.std()


@torch.no_grad()
def _token_width(model: Sa2VA) -> int:
    """Features of an image token before the projector: those of one black tile, or cell."""
    side, grid = model.sizes.image_size, (model.sizes.grid_size,) * 2
    vit = model.encode_tiles(torch.zeros(1, 3, side, side), [grid])
    return token_features(ImageFeatures(vit, [1], (vit, vit, vit), grids=[grid]), 0).shape[-1]


def detached(features: ImageFeatures) -> ImageFeatures:
    """The same values, through which no gradient passes."""
    fine, middle, coarse = (level.detach() for level in features.grounding)
    return replace(features, vit=features.vit.detach(), grounding=(fine, middle, coarse))


def pick_loss(mask_logits: Tensor, masks: Tensor, rows: Tensor, image_index: Tensor) -> Tensor:
    """Which region of its image a text picks: cross-entropy over the regions' mean logits.

    The overlap losses alone get stuck for a long time at "segment every shape", where their
    sigmoids are saturated; this one has a gradient there.

    Args:
        mask_logits: ``[Q, h, w]``, one per text.
        masks: ``[R, h, w]`` bool, all regions.
        rows: ``[Q]`` long, the region that each text is about.
        image_index: ``[R]`` long; regions of the same image compete.

    Returns:
        Scalar; 0 for a text about the only region of its image.
    """
    areas = masks.flatten(1).sum(1).clamp(min=1)
    scores = 0.1 * mask_logits.flatten(1) @ masks.flatten(1).to(mask_logits.dtype).t() / areas
    other_image = image_index[rows][:, None] != image_index
    return cross_entropy(scores.masked_fill(other_image, -torch.inf), rows)


def _iou_by_kind(iou: Tensor, texts: list[str]) -> dict[str, Tensor]:
    """Mean IoU of the texts that say words of one kind only, for the log."""
    kinds = [{KIND_OF[word] for word in attributes(text)} for text in texts]
    found: dict[str, Tensor] = {}
    for kind in KINDS:
        rows = [row for row, said in enumerate(kinds) if said == {kind}]
        if rows:
            found[f'iou_{kind}'] = iou[rows].mean().detach()
    return found
