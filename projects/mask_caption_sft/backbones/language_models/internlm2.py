"""InternLM2 and InternLM2.5: Sa2VA-8B and -26B."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaConfig, PretrainedConfig

from ..key_rows import Fused
from .language_model import LAYER, NATIVE, NATIVE_LAYER, LanguageModel


@dataclass(frozen=True)
class HeadGroups:
    """q, k and v of grouped attention in one matrix, group by group: the group's queries, its key, its value.

    Attributes:
        num_groups: Heads of keys and values.
        head_width: Rows of a head.
    """

    num_groups: int
    head_width: int

    def cut(self, tensor: Tensor, count: int) -> list[Tensor]:
        """q, k and v ``[heads * head_width, ...]``: copies, so that each process has its own."""
        heads = tensor.unflatten(0, (self.num_groups, -1, self.head_width))
        parts = heads[:, :-2], heads[:, -2:-1], heads[:, -1:]
        return [part.flatten(0, 2).contiguous() for part in parts]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The inverse of :meth:`cut`."""
        heads = [part.unflatten(0, (self.num_groups, -1, self.head_width)) for part in parts]
        return torch.cat(heads, dim=1).flatten(0, 2)


class InternLM2(LanguageModel):
    """A Llama under other names, with q, k and v in one matrix.

    Source: upstream ``hf/models/modeling_internlm2.py``, ``InternLM2Attention`` and ``InternLM2MLP``.
    """

    name = 'InternLM2'
    architecture = 'InternLM2ForCausalLM'
    renamed = [
        ('language_model.model.tok_embeddings.weight', NATIVE + 'embed_tokens.weight'),
        ('language_model.model.norm.weight', NATIVE + 'norm.weight'),
        ('language_model.output.weight', 'mllm.lm_head.weight'),
        (LAYER + 'attention_norm.weight', NATIVE_LAYER + 'input_layernorm.weight'),
        (LAYER + 'ffn_norm.weight', NATIVE_LAYER + 'post_attention_layernorm.weight'),
        (LAYER + 'attention.wo.{s}', NATIVE_LAYER + 'self_attn.o_proj.{s}'),
        (LAYER + 'feed_forward.w1.weight', NATIVE_LAYER + 'mlp.gate_proj.weight'),
        (LAYER + 'feed_forward.w3.weight', NATIVE_LAYER + 'mlp.up_proj.weight'),
        (LAYER + 'feed_forward.w2.weight', NATIVE_LAYER + 'mlp.down_proj.weight'),
    ]
    released_lora_targets = ['wqkv', 'wo', 'w1', 'w2', 'w3']

    @property
    def fused(self) -> list[Fused]:
        """``wqkv``."""
        layout = HeadGroups(
            self.config['num_key_value_heads'],
            self.config['hidden_size'] // self.config['num_attention_heads'],
        )
        native = tuple(f'{NATIVE_LAYER}self_attn.{part}_proj.{{s}}' for part in 'qkv')
        return [Fused(LAYER + 'attention.wqkv.{s}', native, layout)]

    def native_config(self) -> PretrainedConfig:
        """Llama's.

        The release's "dynamic" scaling of positions is left out: it changes nothing up to
        ``max_position_embeddings``, and no longer sequence is run.
        """
        same = (
            'vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
            'num_key_value_heads', 'hidden_act', 'max_position_embeddings', 'rms_norm_eps', 'rope_theta',
            'tie_word_embeddings',
        )  # fmt: skip
        values = {key: self.config[key] for key in same if key in self.config}
        return LlamaConfig(**values, attention_bias=self.config.get('bias', False))
