"""Sa2VA behind two verbs: *describe* (image, mask -> caption), *segment* (image, text -> mask)."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoTokenizer,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
)

from ..checkpoints.config import read_config
from ..checkpoints.released import ReleasedWeights, load_native, native_tensors
from ..checkpoints.trained_tensors import LORA_TARGETS
from ..ops import prompts
from ..ops.xtuner_parts import IGNORE_INDEX
from ..structures import CaptionIds, CaptionLogits, ImageFeatures, Segmentation
from .architecture import build_grounding_encoder, build_mllm, build_text_hidden_fcs, sam2_sizes
from .generation import BanTokens, EndOfTurn, cut_at_end_of_turn
from .grounding import best_candidate, decode_masks, encode_pixels, normalize_pixels
from .start_weights import StartWeights, adapters_of
from .text_codec import TextCodec


class Sa2VA(nn.Module):
    """InternVL and SAM 2, joined by ``text_hidden_fcs``; weights of a released checkpoint.

    Trainable are LoRA, the projector, SAM 2's mask decoder and
    ``text_hidden_fcs``; everything else is frozen.

    Args:
        base: Directory in the released layout.
        lora: ``dict(r=128, lora_alpha=256, lora_dropout=0.05)``, arguments of
            ``peft.LoraConfig``; None for no LoRA.
        train_embeddings: Also train token embeddings and output matrix.
        train_all: Train every weight; for training a base from scratch.
        activation_checkpointing: Recompute the language model's activations.
        prompt_template: Name in ``PROMPT_TEMPLATE``, XTuner's or our own.
        newline_before_answer: Inference form of the template (see PromptTemplate).
        round_grounding_stats: Round SAM 2's mean and std as upstream's inference does.
        config, tokenizer: Given instead of read from ``base``; then no weights
            are loaded, which also works on the meta device.
    """

    def __init__(
        self,
        base: str | Path | None = None,
        lora: dict[str, Any] | None = None,
        train_embeddings: bool = False,
        train_all: bool = False,
        activation_checkpointing: bool = False,
        prompt_template: str = 'phi3_chat',
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
        tokenizer = AutoTokenizer.from_pretrained(str(base)) if tokenizer is None else tokenizer
        if self.config.get('template', prompt_template) != prompt_template:
            print_log(
                f'prompt_template={prompt_template!r}, but config.json of {self.base} says '
                f'{self.config["template"]!r}. Set model.sa2va.prompt_template unless that is meant.',
                'current',
                logging.WARNING,
            )
        template = prompts.PromptTemplate.named(prompt_template, newline_before_answer)
        self.text = TextCodec(tokenizer, template, self.config['llm_config']['vocab_size'], self.base)
        self.round_grounding_stats = round_grounding_stats
        self.mllm = build_mllm(self.config, self.text.image_token_id)
        self.grounding_encoder = build_grounding_encoder(self.config)
        self.text_hidden_fcs = build_text_hidden_fcs(self.config)
        if config is None:
            weights = ReleasedWeights(str(base))
            self.base_fingerprint = weights.fingerprint()
            load_native(self, native_tensors(weights.keys(), weights.__getitem__, str(base)), str(base))
        self.register_buffer('first_token_map', self.text.first_token_map(), persistent=False)
        self._set_trainable(lora, train_embeddings, train_all)
        self.remember_start()
        self.activation_checkpointing = activation_checkpointing
        self._set_checkpointing(activation_checkpointing)

    # ------------------------------------------------------------------ construction

    @property
    def image_size(self) -> int:
        """Side of one ViT tile in pixels."""
        return self.config['force_image_size']

    @property
    def grid_size(self) -> int:
        """Side of a tile's grid of image tokens."""
        return int(
            self.image_size // self.config['vision_config']['patch_size'] * self.config['downsample_ratio']
        )

    @property
    def grounding_size(self) -> int:
        """Side of the grounding encoder's input in pixels."""
        return sam2_sizes(self.config)['image_size']

    @property
    def max_context(self) -> int:
        """The longest sequence of tokens that the language model takes."""
        return self.config['llm_config']['max_position_embeddings']

    @property
    def device(self) -> torch.device:
        return next(self.text_hidden_fcs.parameters()).device

    @property
    def embedding(self) -> Tensor:
        """``[V, D]``, the token embeddings."""
        return self.mllm.get_input_embeddings().weight

    @property
    def projector(self) -> nn.Module:
        return self.mllm.model.multi_modal_projector

    def _set_trainable(self, lora: dict[str, Any] | None, train_embeddings: bool, train_all: bool) -> None:
        self.requires_grad_(train_all)
        if lora is not None:
            inject_adapter_in_model(
                LoraConfig(**{'target_modules': LORA_TARGETS, **lora}),
                self.mllm.model.language_model,
            )
        modules = [self.projector, self.grounding_encoder.mask_decoder, self.text_hidden_fcs]
        if train_embeddings:
            modules += [self.mllm.get_input_embeddings(), self.mllm.lm_head]
        for module in modules:
            module.requires_grad_(True)

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

    def _set_checkpointing(self, enabled: bool) -> None:
        # A layer recomputes only while its own `training` flag is set; its submodules keep theirs,
        # so the teacher can recompute although its dropout is off.
        language_model = self.mllm.model.language_model
        if enabled:
            language_model.gradient_checkpointing_enable({'use_reentrant': False})
        for layer in language_model.layers:
            layer.gradient_checkpointing = enabled
            layer.training = enabled or self.training

    def train(self, mode: bool = True) -> 'Sa2VA':
        """Train or eval mode; the frozen encoders stay in eval mode."""
        super().train(mode)
        self.mllm.model.vision_tower.eval()
        self.grounding_encoder.vision_encoder.eval()
        self._set_checkpointing(self.activation_checkpointing)
        return self

    @property
    def lora_scaling(self) -> float | None:
        """``lora_alpha / r`` as peft applies it; None without LoRA."""
        adapters = adapters_of(self.mllm)
        return adapters[0].scaling['default'] if adapters else None

    def trained_state_dict(self) -> dict[str, Tensor]:
        """Names and values of what is trained."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def freeze(self) -> 'Sa2VA':
        """No weight takes a gradient any more; activations still pass one on."""
        return self.requires_grad_(False)

    # ------------------------------------------------------------------ text

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[..., D]`` of ids ``[...]``."""
        return self.mllm.get_input_embeddings()(ids)

    def embed_text(self, text: str) -> Tensor:
        """Token embeddings ``[L, D]`` of a text of ours, special tokens included."""
        return self.embed_ids(self._ids(text))

    def _ids(self, text: str) -> Tensor:
        return torch.tensor(self.text.encode(text), dtype=torch.long, device=self.device)

    def embed_captions(self, captions: CaptionIds) -> tuple[Tensor, Tensor]:
        """Embeddings ``[R, T, D]`` and mask ``[R, T]`` of captions inside the segment prompt.

        There a caption follows a space, so its first token is replaced by its
        twin with a leading space: the forward then equals that of the text.
        """
        twins: Any = self.first_token_map
        ids = torch.cat([twins[captions.ids[:, :1]], captions.ids[:, 1:]], dim=1)
        return self.embed_ids(ids), captions.mask

    def embed_expressions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of human texts, tokenised as upstream's prompt is."""
        captions = self.text.encode_expressions(texts).to(self.device)
        return self.embed_ids(captions.ids), captions.mask

    # ------------------------------------------------------------------ images

    @torch.no_grad()
    def encode_images(
        self, pixel_values: Tensor, num_tiles: list[int], g_pixel_values: Tensor
    ) -> ImageFeatures:
        """Features of I distinct images from the frozen encoders, without gradient.

        Args:
            pixel_values: ``[sum(num_tiles), 3, S, S]``, ImageNet-normalised.
            num_tiles: I counts.
            g_pixel_values: ``[I, 3, G, G]`` in 0..255.
        """
        return ImageFeatures(
            self.encode_tiles(pixel_values), list(num_tiles), self.encode_grounding(g_pixel_values)
        )

    def encode_tiles(self, pixel_values: Tensor) -> Tensor:
        """ViT features ``[tiles, g * g, 4 C]``, CLS dropped, pixel-shuffled, before the projector."""
        mllm = self.mllm.model
        hidden = mllm.vision_tower(pixel_values=pixel_values.to(self.mllm.dtype)).last_hidden_state[:, 1:]
        side = int(hidden.shape[1] ** 0.5)
        hidden = hidden.reshape(len(hidden), side, side, hidden.shape[-1])
        return mllm.pixel_shuffle(hidden, self.config['downsample_ratio']).flatten(1, 2)

    def encode_grounding(self, g_pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """SAM 2's FPN levels, see :class:`ImageFeatures`."""
        dtype = self.grounding_encoder.dtype
        pixels = normalize_pixels(g_pixel_values, self.round_grounding_stats, dtype)
        return encode_pixels(self.grounding_encoder, pixels)

    def _image_tokens(self, features: ImageFeatures) -> list[Tensor]:
        """Projected tokens ``[tiles, g * g, D]`` of each image; the projector runs once per image."""
        return list(self.projector(features.vit).split(features.num_tiles))

    # ------------------------------------------------------------------ describe

    def describe_prompt(self, image_tokens: Tensor, visual_prompts: Tensor, region: int = 1) -> Tensor:
        """Embedded prompt ``[L, D]`` that asks for a description of one region.

        Args:
            image_tokens: ``[tiles, g * g, D]``.
            visual_prompts: ``[N, g, g]`` bool, the regions that the prompt shows.
            region: Which of them to describe, counted from 1.
        """
        thumbnail = image_tokens[-1]
        parts = [
            self.embed_text(self.text.template.before_input + prompts.IMG_START),
            image_tokens.flatten(0, 1),
        ]
        # Text is tokenised from special token to special token, as one string would be.
        lead = prompts.IMG_END + prompts.DESCRIBE_INTRO.format(count=len(visual_prompts))
        for number, cells in enumerate(visual_prompts, start=1):
            parts += [
                self.embed_text(f'{lead if number == 1 else ", "}region{number}{prompts.VP_START}'),
                thumbnail[cells.flatten()],
                self.embed_text(prompts.VP_END),
            ]
        question = prompts.describe_question(region) + self.text.template.before_answer
        return torch.cat([*parts, self.embed_text(question)])

    def _describe_prompts(
        self, features: ImageFeatures, image_index: Tensor, visual_prompts: Tensor
    ) -> list[Tensor]:
        tokens = self._image_tokens(features)
        return [
            self.describe_prompt(tokens[i], cells[None])
            for i, cells in zip(image_index.tolist(), visual_prompts)
        ]

    @torch.no_grad()
    def describe(
        self,
        features: ImageFeatures,
        image_index: Tensor,
        visual_prompts: Tensor,
        max_new_tokens: int,
        num_captions: int = 1,
        do_sample: bool = False,
        temperature: float = 1.0,
    ) -> CaptionIds:
        """Captions of R regions, written with a KV cache, without gradient and without dropout.

        Args:
            features: Of I images.
            image_index: ``[R]`` long.
            visual_prompts: ``[R, g, g]`` bool.
            max_new_tokens: The most tokens a caption may have.
            num_captions: Captions per region, region-major in the result.
            do_sample: Sample at ``temperature`` instead of taking the likeliest token.
            temperature: Of sampling.

        Raises:
            ValueError: Prompt and caption together exceed the model's context.
        """
        if len(image_index) == 0:
            return self.text.pad([]).to(self.device)
        prompt_list = self._describe_prompts(features, image_index, visual_prompts)
        self._check_context(max(map(len, prompt_list)), max_new_tokens)
        embeds, mask = _pad(prompt_list, left=True)
        ban = BanTokens(
            torch.tensor(self.text.banned_token_ids, device=self.device), len(prompt_list) * num_captions
        )
        marker = self.text.template.end_of_turn
        sampling: dict[str, Any] = dict(temperature=temperature, top_k=0, top_p=1.0) if do_sample else {}
        with self._writing():
            rows: Any = self.mllm.generate(
                inputs_embeds=embeds,
                attention_mask=mask.long(),
                max_new_tokens=max_new_tokens,
                num_return_sequences=num_captions,
                do_sample=do_sample,
                **sampling,
                use_cache=True,
                eos_token_id=None,
                pad_token_id=self.text.tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([ban]),
                stopping_criteria=StoppingCriteriaList([EndOfTurn(self.text.tokenizer, marker)]),
            )
        return cut_at_end_of_turn(rows, self.text.tokenizer, marker, ban.attempts)

    def _check_context(self, prompt_len: int, answer_len: int) -> None:
        if prompt_len + answer_len > self.max_context:
            raise ValueError(
                f'A prompt of {prompt_len} tokens and an answer of up to {answer_len} exceed the '
                f"model's context of {self.max_context}. Lower max_caption_len or max_tiles."
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        was_training, checkpointing = self.training, self.activation_checkpointing
        self.activation_checkpointing = False
        self.eval()
        try:
            yield
        finally:
            self.activation_checkpointing = checkpointing
            self.train(was_training)

    def caption_logits(
        self,
        features: ImageFeatures,
        image_index: Tensor,
        visual_prompts: Tensor,
        captions: CaptionIds,
    ) -> CaptionLogits:
        """Scores of given captions, in one teacher-forced pass with gradient.

        Args:
            features, image_index, visual_prompts: As for :meth:`describe`.
            captions: R captions.
        """
        end = self._ids(self.text.template.end_of_turn)
        answers = [torch.cat([row[keep], end]) for row, keep in zip(captions.ids, captions.mask)]
        targets = pad_sequence(answers, batch_first=True, padding_value=IGNORE_INDEX)
        width = targets.shape[1]
        prompt_list = self._describe_prompts(features, image_index, visual_prompts)
        embed = self.mllm.get_input_embeddings()
        hidden = self._run([torch.cat([p, embed(a)]) for p, a in zip(prompt_list, answers)])
        # The state before a token predicts it.
        first = torch.tensor([len(p) - 1 for p in prompt_list], device=self.device)
        steps = (first[:, None] + torch.arange(width, device=self.device)).clamp(max=hidden.shape[1] - 1)
        states = hidden.gather(1, steps[..., None].expand(-1, -1, hidden.shape[-1]))
        is_caption = nn.functional.pad(captions.mask, (0, max(0, width - captions.mask.shape[1])))
        return CaptionLogits(self.mllm.lm_head(states), targets, is_caption[:, :width])

    # ------------------------------------------------------------------ segment

    def segment(
        self,
        features: ImageFeatures,
        image_index: Tensor,
        text_embeds: Tensor,
        text_mask: Tensor,
        with_image_tokens: bool = True,
    ) -> Segmentation:
        """Masks of R texts, with gradient to the text's embeddings and the trained weights.

        The answer "Sure, [SEG]." is given; the state at ``[SEG]`` prompts SAM 2.

        Args:
            features: Of I images.
            image_index: ``[R]`` long.
            text_embeds: ``[R, T, D]``, from :meth:`embed_captions`,
                :meth:`embed_expressions` or a bridge.
            text_mask: ``[R, T]`` bool.
            with_image_tokens: Without them the language model sees the text only;
                for the first phase of training a base from scratch.
        """
        answer = self._ids(prompts.SEGMENT_ANSWER + self.text.template.end_of_turn)
        sequences = self._segment_prompts(features, image_index, text_embeds, text_mask, with_image_tokens)
        answer_embeds = self.embed_ids(answer)
        lengths = torch.tensor([len(s) for s in sequences], device=self.device)
        hidden = self._run([torch.cat([s, answer_embeds]) for s in sequences])
        seg_position = lengths + self._seg_offset(answer)
        rows = torch.arange(len(sequences), device=self.device)
        seg_embeds = self.text_hidden_fcs(hidden[rows, seg_position])
        candidates = decode_masks(self.grounding_encoder, features.grounding, image_index, seg_embeds)
        mask_logits, iou_scores = best_candidate(*candidates)
        steps = lengths[:, None] - 1 + torch.arange(len(answer), device=self.device)
        answer_states = hidden[rows[:, None], steps]
        return Segmentation(mask_logits, iou_scores, self.mllm.lm_head(answer_states), answer)

    def _seg_offset(self, answer: Tensor) -> int:
        positions = (answer == self.text.seg_token_id).nonzero()[:, 0].tolist()
        if len(positions) != 1:
            raise ValueError(f'The answer holds {len(positions)} [SEG] tokens; exactly one is needed.')
        return positions[0]

    def _segment_prompts(
        self, features: ImageFeatures, image_index: Tensor, text_embeds: Tensor, text_mask: Tensor,
        with_image_tokens: bool,
    ) -> list[Tensor]:  # fmt: skip
        before, after = (
            self.text.template.before_input,
            prompts.SEGMENT_SUFFIX + self.text.template.before_answer,
        )
        suffix = self.embed_text(after)
        if with_image_tokens:
            tokens = [t.flatten(0, 1) for t in self._image_tokens(features)]
            start = self.embed_text(before + prompts.IMG_START)
            middle = self.embed_text(prompts.IMG_END + prompts.SEGMENT_PREFIX)
            heads = [torch.cat([start, t, middle]) for t in tokens]
        else:
            heads = [self.embed_text(before + prompts.SEGMENT_PREFIX)] * len(features.num_tiles)
        return [
            torch.cat([heads[i], text[keep].to(suffix.dtype), suffix])
            for i, text, keep in zip(image_index.tolist(), text_embeds, text_mask)
        ]

    def _run(self, sequences: list[Tensor]) -> Tensor:
        """Last hidden states (after the final norm) ``[R, L, D]`` of right-padded sequences."""
        self._check_context(max(map(len, sequences)), 0)
        embeds, mask = _pad(sequences, left=False)
        return self.mllm.model.language_model(
            inputs_embeds=embeds, attention_mask=mask.long(), use_cache=False
        ).last_hidden_state


def _pad(sequences: list[Tensor], left: bool) -> tuple[Tensor, Tensor]:
    """Embeddings ``[R, L, D]`` padded with zeros on one side, and the mask ``[R, L]``."""
    side = 'left' if left else 'right'
    embeds = pad_sequence(sequences, batch_first=True, padding_side=side)
    masks = [torch.ones(len(s), dtype=torch.bool, device=s.device) for s in sequences]
    return embeds, pad_sequence(masks, batch_first=True, padding_side=side)
