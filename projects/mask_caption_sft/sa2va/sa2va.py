"""Sa2VA behind two verbs: *describe* (image, mask -> caption), *segment* (image, text -> mask)."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from mmengine.logging import print_log
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from ..backbones import backbone_of
from ..checkpoints.config import read_config
from ..checkpoints.key_map import KeyMap
from ..checkpoints.released import ReleasedWeights, load_native, native_tensors
from ..checkpoints.stored_dtypes import stored_dtypes
from ..checkpoints.tokenizer import load_tokenizer
from ..grounding import grounding_kind_of
from ..ops import prompts
from ..ops.mask import resize_masks
from ..ops.pixels import normalize_tiles
from ..ops.precision import without_gradient
from ..structures import (
    CaptionLogits,
    Captions,
    ImageFeatures,
    Piece,
    RegionBatch,
    RegionViews,
    Segmentation,
    TextEmbeds,
    join,
)
from .architecture import build_text_hidden_fcs
from .base_dtype import float32_embeddings, frozen_dtype, has_half_precision, set_dtypes
from .base_sizes import base_sizes
from .frozen import frozen_modules
from .generation import Sampling
from .merged_lora import merged_lora
from .prefix import Prefix
from .prompt_forest import PromptForest
from .prompt_pieces import describe_piece, image_piece, segment_piece
from .questions import Questions
from .recomputation import check_share, num_recomputed, recompute_first
from .rollout import write_captions
from .start_weights import StartWeights, adapters_of
from .text_codec import TextCodec
from .token_rows import TokenRows
from .trunk import let_trunks_run


class Sa2VA(nn.Module):
    """A language-vision model and SAM 2 or 3, joined by ``text_hidden_fcs``; a released checkpoint's weights.

    Trainable are LoRA, the projector, the mask decoder and
    ``text_hidden_fcs``; everything else is frozen.

    Attributes:
        backbone: What is peculiar to its language-vision model.
        grounding_kind: What is peculiar to its grounding encoder.
        first_token_map, last_token_map: ``[V]`` long, see :class:`TextCodec`.
        frozen: The largest modules without a trained weight; always in eval mode.

    Args:
        base: Directory in the released layout.
        lora: ``dict(r=128, lora_alpha=256, lora_dropout=0.05)``, arguments of
            ``peft.LoraConfig``; None for no LoRA.
        train_embeddings: Also train token embeddings and output matrix.
        train_tokens: Train the embeddings of these tokens alone; for ``<vp>`` where the base never saw it.
        train_all: Train every weight; for training a base from scratch.
        base_dtype: In what the frozen weights are held: ``'float32'``, ``'bfloat16'``, or ``'released'``
            for what the checkpoint stores. In half precision the model runs under autocast only.
            What is trained is float32.
        activation_checkpointing: The share of the language model's layers, rounded up, that run again in the
            backward pass instead of keeping their activations, the first ones; True for all. With any
            of them the mask decoder runs again too. The frozen encoders have no backward pass.
        merge_to_write: Write captions with LoRA inside copies of the weights, see :func:`merged_lora`.
        compile_to_write: Write captions through ``torch.compile``, once for all lengths.
        prompt_template: Name of a prompt template; by default the one that ``config.json`` states.
        newline_before_answer: Inference form of the template (see PromptTemplate).
        round_grounding_stats: Round the grounding encoder's mean and std as upstream's inference does.
        config, tokenizer: Given instead of read from ``base``; then no weights
            are loaded, which also works on the meta device.
    """

    first_token_map: Tensor
    last_token_map: Tensor

    def __init__(
        self,
        base: str | Path | None = None,
        lora: dict[str, Any] | None = None,
        train_embeddings: bool = False,
        train_tokens: Sequence[str] = (),
        train_all: bool = False,
        base_dtype: str = 'float32',
        activation_checkpointing: float = False,
        merge_to_write: bool = False,
        compile_to_write: bool = False,
        prompt_template: str | None = None,
        newline_before_answer: bool = True,
        round_grounding_stats: bool = False,
        config: dict[str, Any] | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        super().__init__()
        self.start_weights: StartWeights | None = None
        if base is None and (config is None or tokenizer is None):
            raise ValueError('Sa2VA needs `base`, a directory in the released layout (model.sa2va.base).')
        self.base = None if base is None else str(base)
        self.base_fingerprint: str | None = None
        self.config = read_config(str(base)) if config is None else config
        where = f'{self.base}/config.json'
        self.backbone = backbone_of(self.config, where)
        self.grounding_kind = grounding_kind_of(self.config, where)
        self.key_map = KeyMap(self.backbone, self.grounding_kind)
        self.sizes = base_sizes(self.config)
        if tokenizer is None:
            tokenizer = load_tokenizer(str(base))
        template = prompts.PromptTemplate.named(
            self._template_name(prompt_template), newline_before_answer, self.backbone.system
        )
        marks = self.backbone.image_marks
        self.text = TextCodec(tokenizer, template, self.backbone.vocab_size, self.base, marks)
        self.round_grounding_stats = round_grounding_stats
        self.merge_to_write, self.compile_to_write = merge_to_write, compile_to_write
        self._frozen_dtype = frozen_dtype(base_dtype, config)
        self._build(without_values=config is None)
        if config is None:
            weights = ReleasedWeights(str(base))
            self.base_fingerprint = weights.fingerprint()
            self.grounding_kind.check_weights(weights.shapes('grounding_encoder.'), str(base))
            if base_dtype == 'released':
                stored_dtypes(weights, self.key_map)
            tensors = native_tensors(weights.keys(), weights.__getitem__, self.key_map, str(base))
            load_native(self, tensors, self.key_map, str(base))
        self.register_buffer('first_token_map', self.text.first_token_map(), persistent=False)
        self.register_buffer('last_token_map', self.text.last_token_map(), persistent=False)
        self._set_trainable(lora, train_embeddings, train_all)
        self._add_token_rows(train_tokens, train_embeddings or train_all)
        set_dtypes(self, self._frozen_dtype, self.backbone.exact_modules(self.mllm))
        float32_embeddings(self.mllm.get_input_embeddings())
        self.frozen = list(frozen_modules(self))
        self.remember_start()
        self.activation_checkpointing = check_share(activation_checkpointing)
        self.recompute_masks = activation_checkpointing > 0  # the teacher's too, whose layers keep theirs
        self.train()

    # ------------------------------------------------------------------ construction

    def _build(self, without_values: bool) -> None:
        """The modules; without values their parameters are on the meta device until they are loaded."""
        with init_empty_weights(include_buffers=False) if without_values else nullcontext():
            self.mllm = self.backbone.build(self.text.image_token_id)
            self.grounding_encoder = self.grounding_kind.build()
            widths = self.backbone.hidden_size, self.grounding_kind.hidden_size
            self.text_hidden_fcs = build_text_hidden_fcs(*widths)
        let_trunks_run(self.language_model)
        self.mllm.tie_weights()  # on the meta device every assignment makes a parameter of its own

    def replace_weights(self, tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
        """Take other values for all weights but LoRA, see :func:`load_native`."""
        load_native(self, tensors, self.key_map, where)
        set_dtypes(self, self._frozen_dtype, self.backbone.exact_modules(self.mllm))
        self.token_rows.read(self.embedding)
        self.remember_start()

    def _template_name(self, given: str | None) -> str:
        stated: str | None = self.config.get('template')
        name = given or stated
        if name is None:
            raise ValueError(
                f'config.json of {self.base} states no "template". Add the one it was trained with there '
                '("template": "phi3_chat" for Sa2VA-4B, "qwen_chat" for Sa2VA-1B); for one run, set '
                'model.sa2va.prompt_template.'
            )
        if given is not None and stated is not None and given != stated:
            print_log(
                f'prompt_template={given!r} is used, but config.json of {self.base} says {stated!r}. Leave '
                'model.sa2va.prompt_template out unless that is meant.',
                'current',
                logging.WARNING,
            )
        return name

    @property
    def grounding_size(self) -> int:
        """Side of the grounding encoder's input in pixels."""
        return self.sizes.grounding_size

    @property
    def max_context(self) -> int:
        """The longest sequence of tokens that the language model takes."""
        return self.sizes.max_context

    @property
    def device(self) -> torch.device:
        return next(self.text_hidden_fcs.parameters()).device

    @property
    def embedding(self) -> Tensor:
        """``[V, D]``, the token embeddings."""
        return self.mllm.get_input_embeddings().weight

    @property
    def language_model(self) -> Any:
        """The transformer, from embeddings to the last hidden states."""
        return self.backbone.language_model(self.mllm)

    @property
    def projector(self) -> nn.Module:
        return self.backbone.projector(self.mllm)

    def _set_trainable(self, lora: dict[str, Any] | None, train_embeddings: bool, train_all: bool) -> None:
        self.requires_grad_(train_all)
        if lora is not None:
            inject_adapter_in_model(
                LoraConfig(**{'target_modules': self.backbone.lora_targets, **lora}),
                self.language_model,
            )
        modules = [self.projector, self.grounding_encoder.mask_decoder, self.text_hidden_fcs]
        if train_embeddings:
            modules += [self.mllm.get_input_embeddings(), self.mllm.lm_head]
        for module in modules:
            module.requires_grad_(True)

    def _add_token_rows(self, tokens: Sequence[str], has_whole_matrix: bool) -> None:
        if tokens and has_whole_matrix:
            raise ValueError(
                f'train_tokens={list(tokens)}, but the whole embedding matrix is trained. Leave '
                'model.sa2va.train_tokens out.'
            )
        # A part of the caption path, so that `reference` has its first values too.
        self.mllm.token_rows = TokenRows(self.embedding, [self.text.single(token) for token in tokens])

    @property
    def token_rows(self) -> TokenRows:
        """The embeddings that are trained alone."""
        return self.mllm.token_rows

    def remember_start(self) -> None:
        """Keep the caption path's trained weights as they are now, for :meth:`reference`."""
        self.start_weights = StartWeights(self.mllm)

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the caption path has the weights from before training; without gradient only."""
        if self.start_weights is None:
            raise RuntimeError('This copy of the model does not keep the weights from before training.')
        return self.start_weights.swapped_in(self.mllm)

    def _apply(self, function, recurse: bool = True):
        if self.start_weights is not None:
            self.start_weights.apply(function)
        return super()._apply(function, recurse)

    def _set_checkpointing(self, share: float) -> None:
        language_model = self.language_model
        recompute_first(language_model, num_recomputed(share, len(language_model.layers)))

    def train(self, mode: bool = True) -> 'Sa2VA':
        """Train or eval mode; what is frozen stays in eval mode, as do the encoders."""
        super().train(mode)
        encoders = self.backbone.vision_encoder(self.mllm), self.grounding_encoder.vision_encoder
        for module in (*self.frozen, *encoders):
            module.eval()
        self._set_checkpointing(self.activation_checkpointing)
        return self

    @property
    def lora_scaling(self) -> float | None:
        """``lora_alpha / r`` as peft applies it; None without LoRA."""
        adapters = adapters_of(self.mllm)
        return adapters[0].scaling['default'] if adapters else None

    @property
    def needs_autocast(self) -> bool:
        """Whether frozen weights are in half precision."""
        return has_half_precision(self)

    def trained_state_dict(self) -> dict[str, Tensor]:
        """Names and values of what is trained."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def freeze(self) -> 'Sa2VA':
        """No weight takes a gradient any more; activations still pass one on."""
        return self.requires_grad_(False)

    # ------------------------------------------------------------------ text

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[..., D]`` of ids ``[...]``."""
        return self.token_rows.put_in(self.mllm.get_input_embeddings()(ids), ids)

    def embed_text(self, text: str) -> Tensor:
        """Token embeddings ``[L, D]`` of a text of ours after a special token, special tokens included."""
        return self._embed_list(self.text.encode(text))

    def embed_inside(self, text: str) -> Tensor:
        """The same where other text ends, see :meth:`TextCodec.encode_inside`."""
        return self._embed_list(self.text.encode_inside(text))

    def embed_beginning(self, text: str) -> Tensor:
        """The same for what begins a prompt, see :meth:`TextCodec.encode_beginning`."""
        return self._embed_list(self.text.encode_beginning(text))

    def _embed_list(self, ids: list[int]) -> Tensor:
        return self.embed_ids(torch.tensor(ids, dtype=torch.long, device=self.device))

    def segment_answer(self) -> Tensor:
        """``[A]`` long, the tokens of "Sure, [SEG]." and end of turn."""
        ids = self.text.encode(prompts.SEGMENT_ANSWER + self.text.template.end_of_turn)
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    def embed_captions(self, texts: Sequence[str]) -> TextEmbeds:
        """Written texts as the segment prompt holds them, tokenised anew from the text.

        After a space a tokenizer may split a text otherwise than at the beginning of an answer, and
        the last token may hold part of the end of turn. The text is what an exported model gets.
        """
        return self._embed_rows(self.text.encode_captions(texts))

    def embed_expressions(self, texts: Sequence[str]) -> TextEmbeds:
        """People's texts in the same place, tokenised as upstream's prompt is.

        Raises:
            ValueError: A text contains a special token.
        """
        return self._embed_rows(self.text.encode_expressions(texts))

    def _embed_rows(self, rows: Sequence[Sequence[int]]) -> TextEmbeds:
        ids = [torch.tensor(row, dtype=torch.long, device=self.device) for row in rows]
        width = max(map(len, ids), default=0)
        masks = torch.arange(width, device=self.device) < torch.tensor(
            [len(row) for row in ids], dtype=torch.long, device=self.device
        ).view(-1, 1)
        padded = pad_sequence(ids, batch_first=True) if ids else masks.long()
        return TextEmbeds(self.embed_ids(padded), masks)

    # ------------------------------------------------------------------ images

    def look(self, batch: RegionBatch, segment_first: bool = True) -> tuple[RegionViews, RegionViews]:
        """Both views of every region, from the frozen encoders, each distinct image once.

        Args:
            batch: R regions.
            segment_first: Whether anything is segmented in first views; else no one encodes them for it.
        """
        segmented = [batch.image_index1, batch.image_index2] if segment_first else [batch.image_index2]
        features = self.encode_images(
            batch.pixel_values,
            batch.num_tiles,
            batch.g_pixel_values,
            torch.cat(segmented).unique(),
            batch.grids,
        )
        size = (self.sizes.mask_size,) * 2
        return (
            RegionViews(features, batch.image_index1, batch.visual_prompts, resize_masks(batch.masks1, size)),
            RegionViews(features, batch.image_index2, masks=resize_masks(batch.masks2, size)),
        )

    @without_gradient()
    def encode_images(
        self,
        pixel_values: Tensor,
        num_tiles: list[int],
        g_pixel_values: Tensor,
        segmented: Tensor | None = None,
        grids: Sequence[tuple[int, int]] | None = None,
    ) -> ImageFeatures:
        """Features of I distinct images from the frozen encoders, without gradient.

        Args:
            pixel_values: ``[sum(num_tiles), 3, S, S]`` uint8 RGB, or normalised float.
            num_tiles: I counts.
            g_pixel_values: ``[I, 3, G, G]`` in 0..255.
            segmented: Numbers of the images that the grounding encoder sees; by default all.
            grids: Rows and columns of each image's prompt cells; for a backbone that takes images whole.
        """
        seen = g_pixel_values if segmented is None else g_pixel_values[segmented]
        vit = self.encode_tiles(pixel_values, grids)
        grounding = self.encode_grounding(seen)
        return ImageFeatures(vit, list(num_tiles), grounding, segmented, list(grids) if grids else None)

    def encode_tiles(self, pixel_values: Tensor, grids: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Features ``[tiles, tokens, C]`` of the vision encoder, before the projector."""
        tiles = normalize_tiles(pixel_values, *self.backbone.pixel_stats)
        return self.backbone.encode(self.mllm, tiles, grids)

    def encode_grounding(self, g_pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The grounding encoder's FPN levels, see :class:`ImageFeatures`."""
        dtype = self.grounding_encoder.dtype
        pixels = self.grounding_kind.normalize(g_pixel_values, self.round_grounding_stats, dtype)
        return self.grounding_kind.encode(self.grounding_encoder, pixels)

    def image_tokens(self, features: ImageFeatures, image: int) -> Piece:
        """Projected tokens of one image."""
        grid = None if features.grids is None else features.grids[image]
        return self.backbone.image_tokens(self.mllm, features.vit.split(features.num_tiles)[image], grid)

    def read(self, features: ImageFeatures) -> Prefix:
        """The image's part of every prompt, for :meth:`describe` and :meth:`segment`; see :class:`Prefix`."""
        return Prefix(self, features)

    # ------------------------------------------------------------------ describe

    @without_gradient()
    def describe(
        self,
        views: RegionViews,
        max_caption_len: int,
        num_captions: int = 1,
        sampling: Sampling | None = None,
        prefix: Prefix | None = None,
    ) -> Captions:
        """Captions of R regions, written with a KV cache, without gradient and without dropout.

        Args:
            views: The regions with their visual prompts.
            max_caption_len: The most tokens of a caption; the end of turn comes on top.
            num_captions: K, captions of each region: one is greedy, the others are sampled.
            sampling: How; by default from the whole distribution.
            prefix: What the model, with its present weights, has read of the images.

        Returns:
            K * R captions: the greedy ones of all regions, then the second ones, and so on.

        Raises:
            ValueError: Prompt and caption together exceed the model's context.
        """
        if len(views) == 0:
            return self.text.captions([]).to(self.device)
        prefix = prefix or self.read(views.features)
        merged = merged_lora(self.language_model) if self.merge_to_write else nullcontext()
        with self.without_recomputation(), merged:
            return write_captions(self, views, prefix, max_caption_len, num_captions, sampling or Sampling())

    def check_context(self, prompt_len: int, answer_len: int) -> None:
        """Raise ``ValueError`` if prompt and answer together are longer than the model's context."""
        if prompt_len + answer_len > self.max_context:
            raise ValueError(
                f'A prompt of {prompt_len} tokens and an answer of up to {answer_len} exceed the '
                f"model's context of {self.max_context}. Lower max_caption_len or "
                f'{self.backbone.size_setting}.'
            )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, the model is in eval mode; where it is already, its thousands of modules are let be."""
        was_training = self.training
        if was_training:
            self.eval()
        try:
            yield
        finally:
            if was_training:
                self.train()

    @contextmanager
    def without_recomputation(self) -> Iterator[None]:
        """Inside, the model is in eval mode and keeps its activations; recomputing layers keep no cache."""
        checkpointing, self.activation_checkpointing = self.activation_checkpointing, False
        try:
            with self.evaluating():
                self._set_checkpointing(False)
                yield
        finally:
            self.activation_checkpointing = checkpointing
            self._set_checkpointing(checkpointing)

    def score(self, views: RegionViews, captions: Captions) -> CaptionLogits:
        """Scores of exactly the tokens of R captions, one of each region; see :meth:`Questions.score`."""
        return self.ask(views.features).score(views, captions)()

    @without_gradient()
    def score_at_start(self, views: RegionViews, captions: Captions) -> CaptionLogits:
        """Scores by the model before training, without gradient and without dropout."""
        with self.evaluating(), self.reference():
            return self.score(views, captions)

    # ------------------------------------------------------------------ segment

    def segment(self, views: RegionViews, texts: TextEmbeds, prefix: Prefix | None = None) -> Segmentation:
        """Masks of R texts; see :meth:`Questions.segment`.

        Args:
            views: The images to find them in.
            texts: R texts, from :meth:`embed_captions`, :meth:`embed_expressions` or a bridge.
            prefix: What the model has read of the images; then gradients flow to the texts, and
                to the weights from the texts on.
        """
        return self.ask(views.features, prefix).segment(views, texts)()

    def ask(
        self, features: ImageFeatures, prefix: Prefix | None = None, show_images: bool = True
    ) -> Questions:
        """Questions about some images, answered in one pass; see :class:`Questions`."""
        return Questions(self, features, prefix, show_images)

    # ------------------------------------------------------------------ whole prompts

    def describe_prompts(self, views: RegionViews) -> list[Piece]:
        """R embedded prompts that ask for descriptions of R regions, each alone in its image."""
        assert views.visual_prompts is not None
        rows = zip(self._tokens_of(views), views.visual_prompts)
        return [join([image_piece(self, t), describe_piece(self, t, cells[None])]) for t, cells in rows]

    def segment_prompts(self, views: RegionViews, texts: TextEmbeds) -> list[Piece]:
        """R embedded prompts that ask for the masks of R texts, up to the answer."""
        rows = zip(self._tokens_of(views), texts.embeds, texts.mask)
        return [join([image_piece(self, t), segment_piece(self, text[keep])]) for t, text, keep in rows]

    def _tokens_of(self, views: RegionViews) -> list[Piece]:
        """The image tokens of each region; an image is projected once."""
        images = views.image_index.tolist()
        tokens = {image: self.image_tokens(views.features, image) for image in set(images)}
        return [tokens[image] for image in images]

    def states(self, sequences: Sequence[Piece | Tensor]) -> list[Tensor]:
        """The last hidden states ``[L, D]`` (after the final norm) of prompts, or of embedded texts."""
        forest = PromptForest()
        for sequence in sequences:
            forest.root(sequence)
        return self.run(forest)

    def run(self, forest: PromptForest) -> list[Tensor]:
        """The last hidden states ``[L, D]`` of each piece of some prompts, see :meth:`PromptForest.run`.

        Raises:
            ValueError: A prompt is longer than the model's context.
        """
        self.check_context(forest.longest_prompt(), 0)
        return forest.run(self.language_model)
