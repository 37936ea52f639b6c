"""What a Sa2VA is made of: its modules, which of their weights are trained, and in which mode they run."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import init_empty_weights
from mmengine.logging import print_log
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ..backbones import backbone_of
from ..checkpoints.config import read_config
from ..checkpoints.key_map import KeyMap
from ..checkpoints.released import ReleasedWeights, load_native, native_tensors
from ..checkpoints.stored_dtypes import stored_dtypes
from ..checkpoints.tokenizer import load_tokenizer
from ..grounding import grounding_kind_of
from ..ops import prompts
from .architecture import build_text_hidden_fcs
from .base_dtype import float32_embeddings, frozen_dtype, has_half_precision, set_dtypes
from .base_sizes import base_sizes
from .frozen import frozen_modules
from .recomputation import check_share, num_recomputed, recompute_first
from .start_weights import StartWeights, adapters_of
from .text_codec import TextCodec
from .token_rows import TokenRows
from .trunk import let_trunks_run


class Sa2VAModules(nn.Module):
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
        """Keep the trained weights as they are now, for :meth:`reference` and :class:`InterpolateHook`."""
        self.start_weights = StartWeights(self)

    def reference(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights from before training; without gradient only."""
        if self.start_weights is None:
            raise RuntimeError('This copy of the model does not keep the weights from before training.')
        return self.start_weights.swapped_in(self)

    def _apply(self, function, recurse: bool = True):
        if self.start_weights is not None:
            self.start_weights.apply(function)
        return super()._apply(function, recurse)

    def _set_checkpointing(self, share: float) -> None:
        language_model = self.language_model
        recompute_first(language_model, num_recomputed(share, len(language_model.layers)))

    def train(self, mode: bool = True) -> Self:
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

    def freeze(self) -> Self:
        """No weight takes a gradient any more; activations still pass one on."""
        return self.requires_grad_(False)

    # ------------------------------------------------------------------ modes

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
