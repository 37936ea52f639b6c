"""What a training step keeps for its backward pass, counted on tensors without values."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from weakref import WeakSet

import torch
from mmengine.config import Config
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from ..datasets.transforms import PackRegions
from ..loop.mask_caption_sft import MaskCaptionSFT
from ..loop.objectives import BestOfK, HumanExpressions, NearStart, SegmentCaptions, TeacherIoU
from ..losses import LossTable, caption_loss, iou_loss, kl_loss
from ..ops.caption_bridge import TokenTwins
from ..ops.precision import at_least_float32, autocast_dtype
from ..sa2va.grounding import best_candidate, decode_masks
from ..sa2va.prompt_forest import KeysValues, PromptForest
from ..sa2va.sa2va import Sa2VA
from ..structures import RegionViews, Segmentation
from .base_sizes import packers
from .dry_run import describe_text

#: Tokens of "Sure, [SEG]." and its end of turn, and of all other words around an expression.
_ANSWER_LEN, _SEGMENT_WORDS = 10, 16


@dataclass
class StepShapes:
    """The sizes of one step on one GPU.

    Attributes:
        num_tiles: Of each distinct image, the thumbnail included; both views count.
        first_image: The image that each region is described in.
        image: The image that it is segmented in.
        describe_len: Tokens of a describe prompt behind its image.
        caption_len: Tokens of a caption and its end of turn.
        segment_len: Tokens of a segment prompt behind its image, with text and answer.
    """

    num_tiles: list[int]
    first_image: list[int]
    image: list[int]
    describe_len: int
    caption_len: int
    segment_len: int

    @classmethod
    def largest(cls, config: Config, model: MaskCaptionSFT, num_regions: int) -> 'StepShapes':
        """Of a config's training: every image in all its tiles, every caption of the longest length.

        Args:
            config: Whose batch size and tiles count.
            model: Built from it.
            num_regions: Per image; each covers a tenth of it.
        """
        packs = [transform for _, transform in packers(config.train_dataloader, 'train_dataloader')]
        tiles = max(pack.get('max_tiles', PackRegions.MAX_TILES) for pack in packs)
        tiles += tiles > 1  # the thumbnail
        text, cells = model.student.text, model.student.sizes.grid_size**2
        describe_words = len(text.encode(describe_text(text.template))) + cells // 10
        images = range(config.train_dataloader.batch_size)
        return cls(
            num_tiles=[tiles] * (2 * len(images)),
            first_image=[2 * image for image in images for _ in range(num_regions)],
            image=[2 * image + 1 for image in images for _ in range(num_regions)],
            describe_len=describe_words,
            caption_len=model.max_caption_len + len(text.end_ids),
            segment_len=_SEGMENT_WORDS + model.max_caption_len + _ANSWER_LEN,
        )


class SavedTensors:
    """Counts what autograd keeps: inside, every saved tensor is noted, and forgotten with its graph."""

    def __init__(self, weights: torch.nn.Module) -> None:
        self._own = {_storage(p) for p in [*weights.parameters(), *weights.buffers()]}
        self._live: WeakSet[_Saved] = WeakSet()
        self.hooks = saved_tensors_hooks(self._pack, lambda saved: saved.tensor)

    def _pack(self, tensor: Tensor) -> '_Saved':
        saved = _Saved(tensor.detach())  # a saved output would hold its own graph
        self._live.add(saved)
        return saved

    def count(self) -> int:
        """Bytes of the distinct storages that live graphs hold, weights left out."""
        sizes = {_storage(s.tensor): s.tensor.untyped_storage().nbytes() for s in self._live}
        return sum(size for storage, size in sizes.items() if storage not in self._own)


class _Saved:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def count_weights(model: MaskCaptionSFT, with_autocast: bool) -> dict[str, int]:
    """Bytes that stay on the GPU from step to step, trained with AdamW on several GPUs."""
    student = model.student
    own = {id(p) for p in student.parameters()}
    trained = sum(p.nbytes for p in student.parameters() if p.requires_grad)
    return {
        'frozen weights': sum(p.nbytes for p in student.parameters()) - trained,
        'trained weights': trained,
        'their gradients, and the copies that DDP sends': 2 * trained,
        "AdamW's two moments": 2 * trained,
        "the teacher's own weights": sum(p.nbytes for p in model.teacher.parameters() if id(p) not in own),
        'weights from before training': student.start_weights.num_bytes if student.start_weights else 0,
        "autocast's half-precision copies of trained weights": trained // 2 * with_autocast,
    }


def count_saved(
    model: MaskCaptionSFT, shapes: StepShapes, dtype: torch.dtype | None = None
) -> dict[str, int]:
    """Bytes that one step holds when its backward pass begins, by pass and objective; one recomputed layer.

    Every region is described, its best caption is taught and its gate is open: no step holds more. The
    student is asked about all images in one pass. A region with a human expression asks for less.

    Args:
        model: On any device, the meta device for one; it loses its values.
        shapes: Of the step.
        dtype: Of autocast; None for none.

    Raises:
        TypeError: An objective is none of ours, so what it keeps is not known.
    """
    found: dict[str, int] = {}
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        _drop_values(model)
        model.train()
        if dtype is not None:
            stack.enter_context(torch.autocast('cpu', dtype))
            stack.enter_context(_NormsInFloat32())
        step, kept, total = _Step(model, shapes), [], 0
        saved = SavedTensors(model)
        asked = {name: step.ask(objective) for name, objective in model.objectives.items()}
        works = {"the student's pass": step.answer}
        works |= {name: partial(step.teach, model.objectives[name], asked[name]) for name in asked}
        for name, work in works.items():
            with saved.hooks:
                kept.append(work())
            found[name] = saved.count() - total
            total += found[name]
        found['one recomputed layer'] = step.count_layer()
    return found


def _drop_values(module: torch.nn.Module) -> None:
    """``to_empty``, but once for a module that student and teacher share; a second time it fails."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                empty = torch.empty_like(parameter, device='cpu')
                part._parameters[name] = torch.nn.Parameter(empty, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty_like(buffer, device='cpu')


class _NormsInFloat32(TorchFunctionMode):
    """What autocast does on a GPU and not on a CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.layer_norm:
            args = (args[0].float(), *args[1:])
        return function(*args, **kwargs or {})


class _Step:
    """The objectives' passes as ``loop.step`` makes them, without what depends on values."""

    def __init__(self, model: MaskCaptionSFT, shapes: StepShapes) -> None:
        self.model, self.shapes, self.student = model, shapes, model.student
        sizes, num_images = model.student.sizes, len(shapes.num_tiles)
        pixels = torch.zeros(sum(shapes.num_tiles), 3, sizes.image_size, sizes.image_size)
        grounding = torch.zeros(num_images, 3, sizes.grounding_size, sizes.grounding_size)
        features = self.student.encode_images(pixels, shapes.num_tiles, grounding)
        side = sizes.grounding_size // 4
        self.masks = torch.zeros(len(shapes.image), side, side, dtype=torch.bool)
        self.views = RegionViews(features, torch.tensor(shapes.image), masks=self.masks)
        self.targets = torch.zeros(len(shapes.image), shapes.caption_len, dtype=torch.long)
        self.table = LossTable(torch.zeros(()))
        self.forest, self.states = PromptForest(), [torch.zeros(0)]
        self.images = [self.projected(self.student, image) for image in range(num_images)]
        self.roots = [self.forest.root(tokens) for tokens in self.images]
        self.questions = [
            self.forest.add(self.words(shapes.describe_len), self.roots[image])
            for image in shapes.first_image
        ]

    def projected(self, sa2va: Sa2VA, image: int) -> Tensor:
        """``[tiles * g * g, D]``, the tokens of one image."""
        return at_least_float32(sa2va.image_tokens(self.views.features, image).flatten(0, 1))

    def words(self, length: int) -> Tensor:
        """Words of ours, ``[length, D]``."""
        return torch.zeros(length, self.student.embedding.shape[1])

    # ------------------------------------------------------------------ what the student is asked

    def ask(self, objective: Any) -> list[int]:
        """Numbers of the pieces that the objective's ``ask`` adds, one of each region."""
        if isinstance(objective, BestOfK):
            return self.captions()
        if isinstance(objective, (TeacherIoU, NearStart)):
            return self.greedy
        if isinstance(objective, SegmentCaptions):
            texts = self.student.embed_ids(self.targets)
            return [
                self.forest.add(p, self.roots[i]) for p, i in zip(self.masks_of(texts), self.shapes.image)
            ]
        if isinstance(objective, HumanExpressions):
            return []
        raise TypeError(
            f'{type(objective).__name__} is no objective of loop.objectives; count it here first.'
        )

    @cached_property
    def greedy(self) -> list[int]:
        return self.captions()

    def captions(self) -> list[int]:
        return [
            self.forest.add(self.student.embed_ids(row), question)
            for row, question in zip(self.targets, self.questions)
        ]

    def masks_of(self, texts: Tensor) -> list[Tensor]:
        """``[L, D]`` for each text ``[T, D]``: what asks for its mask, and the answer."""
        return [torch.cat([text, self.words(self.shapes.segment_len - len(text))]) for text in texts]

    def answer(self) -> list[Tensor]:
        self.states = self.forest.run(self.student.language_model)
        return self.states

    # ------------------------------------------------------------------ what the objectives do with it

    def teach(self, objective: Any, asked: list[int]) -> Any:
        """What ``objective.teach`` would keep."""
        if isinstance(objective, BestOfK):
            return caption_loss(self.logits(asked), self.targets)
        if isinstance(objective, TeacherIoU):
            return iou_loss(self.teachers_masks(objective).mask_logits, self.masks)
        if isinstance(objective, SegmentCaptions):
            result = self.segmentation(self.student, torch.stack([self.states[n] for n in asked]))
            names = [''] * len(self.views)
            self.model.segmentation_losses.teach(self.table, result, self.views, names)
            return self.table
        if isinstance(objective, NearStart):
            return kl_loss(self.greedy_logits, self.greedy_logits.detach().clone(), self.targets == 0)
        return None

    def logits(self, numbers: list[int]) -> Tensor:
        return self.student.mllm.lm_head(torch.stack([self.states[number] for number in numbers]))

    @cached_property
    def greedy_logits(self) -> Tensor:
        return self.logits(self.greedy)

    def teachers_masks(self, objective: TeacherIoU) -> Segmentation:
        """One pass over what follows the images, which were read without gradient."""
        reader, shared = self.model.segmenter, self.targets > 0
        twins = TokenTwins(reader.first_token_map, reader.last_token_map, shared)
        carried = objective.bridge(self.greedy_logits.clone(), self.targets, reader.embedding, twins)
        forest = PromptForest()
        roots = {image: forest.known_root(self.read(reader, image)) for image in set(self.shapes.image)}
        pieces = zip(self.masks_of(carried), self.shapes.image)
        numbers = [forest.add(piece, roots[image]) for piece, image in pieces]
        states = forest.run(reader.language_model)
        return self.segmentation(reader, torch.stack([states[number] for number in numbers]))

    def read(self, reader: Sa2VA, image: int) -> KeysValues:
        """What the teacher has read of an image."""
        config, length = reader.language_model.config, len(self.images[image])
        width = config.hidden_size // config.num_attention_heads
        shape = (1, config.num_key_value_heads, length, width)
        dtype = autocast_dtype(torch.device('cpu')) or torch.float32
        pair = (torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype))
        return KeysValues([pair] * config.num_hidden_layers)

    def segmentation(self, sa2va: Sa2VA, states: Tensor) -> Segmentation:
        """Masks from the states ``[R, L, D]`` of what asks for them."""
        tails = states[:, -_ANSWER_LEN - 1 :]
        seg_embeds = sa2va.text_hidden_fcs(tails[:, 1])
        grounding = self.views.features.grounding
        rows, recompute = self.views.image_index, sa2va.recompute_masks
        candidates = decode_masks(sa2va.grounding_encoder, grounding, rows, seg_embeds, recompute)
        answer_logits = sa2va.mllm.lm_head(tails[:, :-1])
        ids = torch.zeros(_ANSWER_LEN, dtype=torch.long)
        return Segmentation(*best_candidate(*candidates), answer_logits, ids)

    def count_layer(self) -> int:
        """Bytes that the backward pass of one layer of the largest batch keeps; 0 without recomputation."""
        language_model = self.student.mllm.model.language_model
        if not self.student.activation_checkpointing:
            return 0
        layer, width = language_model.layers[0], language_model.config.hidden_size
        rows, length = max(self.forest.shapes(), key=lambda shape: shape[0] * shape[1])
        hidden = torch.zeros(rows, length, width, requires_grad=True)
        turned = language_model.rotary_emb(hidden, torch.arange(length)[None])
        saved = SavedTensors(self.model)
        layer.gradient_checkpointing = False
        with saved.hooks:
            kept = layer(hidden, attention_mask=None, position_embeddings=turned)
        layer.gradient_checkpointing = True
        return saved.count() if kept is not None else 0
