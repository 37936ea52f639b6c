"""A checkpoint in the released layout, run plainly: whole prompts, one at a time, nothing shared or packed.

Tensors are taken by their released names, without the project's key tables. Qwen2, Qwen3 and Phi3 are
transformers' own classes, which have these names; InternViT and InternLM2, which transformers has under
other names or not at all, are written out.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_NATIVE = {
    'Qwen2ForCausalLM': (Qwen2Config, Qwen2ForCausalLM),
    'Qwen3ForCausalLM': (Qwen3Config, Qwen3ForCausalLM),
    'Phi3ForCausalLM': (Phi3Config, Phi3ForCausalLM),
}


class PlainFamily:
    """Vision tokens, hidden states and logits of a checkpoint.

    Args:
        folder: In the released layout, one file.
        config: Its ``config.json``.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.tensors, self.config = load_file(folder / 'model.safetensors'), config
        self.llm = config['llm_config']
        self._native: Any = None
        kinds = _NATIVE.get(self.llm['architectures'][0])
        if kinds is not None:
            values = {k: v for k, v in self.llm.items() if k != 'auto_map'}
            if values.get('rope_scaling'):  # its first name, which transformers 5 does not know
                assert values['rope_scaling']['type'] == 'su'
                values['rope_scaling'] = values['rope_scaling'] | {'type': 'longrope'}
            self._native = kinds[1](kinds[0](**values)).eval()
            prefix = 'language_model.'
            state = {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}
            missing, unexpected = self._native.load_state_dict(state, strict=False)
            assert not unexpected
            assert missing == (['lm_head.weight'] if self.llm['tie_word_embeddings'] else [])
            self._native.tie_weights()

    # ------------------------------------------------------------------ images

    def vision_tokens(self, tiles: Tensor) -> Tensor:
        """``[tiles, g * g, D]``: InternViT, pixel shuffle v2, ``mlp1``."""
        t, vision = self.tensors, self.config['vision_config']
        x = F.conv2d(
            tiles,
            t['vision_model.embeddings.patch_embedding.weight'],
            t['vision_model.embeddings.patch_embedding.bias'],
            stride=vision['patch_size'],
        )
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([t['vision_model.embeddings.class_embedding'].expand(len(x), -1, -1), x], 1)
        x = x + t['vision_model.embeddings.position_embedding']
        for number in range(vision['num_hidden_layers']):
            x = self._vit_layer(x, f'vision_model.encoder.layers.{number}.')
        side = int((x.shape[1] - 1) ** 0.5)
        x = x[:, 1:].unflatten(1, (side // 2, 2, side // 2, 2)).transpose(2, 3)
        x = x.flatten(3).flatten(1, 2)
        x = F.layer_norm(x, x.shape[-1:], t['mlp1.0.weight'], t['mlp1.0.bias'])
        return self._linear(F.gelu(self._linear(x, 'mlp1.1')), 'mlp1.3')

    def _vit_layer(self, x: Tensor, layer: str) -> Tensor:
        t, vision = self.tensors, self.config['vision_config']
        qkv = self._linear(self._vit_norm(x, layer + 'norm1'), layer + 'attn.qkv')
        q, k, v = qkv.chunk(3, -1)
        if vision['qk_normalization']:
            q, k = (
                _rms_norm(part, t[f'{layer}attn.{name}_norm.weight'], vision['layer_norm_eps'])
                for part, name in ((q, 'q'), (k, 'k'))
            )
        heads = vision['num_attention_heads']
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self._linear(attended, layer + 'attn.proj') * t[layer + 'ls1']
        hidden = F.gelu(self._linear(self._vit_norm(x, layer + 'norm2'), layer + 'mlp.fc1'))
        return x + self._linear(hidden, layer + 'mlp.fc2') * t[layer + 'ls2']

    def _vit_norm(self, x: Tensor, name: str) -> Tensor:
        vision, weight = self.config['vision_config'], self.tensors[name + '.weight']
        if vision['norm_type'] == 'rms_norm':
            return _rms_norm(x, weight, vision['layer_norm_eps'])
        return F.layer_norm(x, x.shape[-1:], weight, self.tensors[name + '.bias'], vision['layer_norm_eps'])

    # ------------------------------------------------------------------ language

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[L, D]``."""
        name = 'embed_tokens' if self._native is not None else 'tok_embeddings'
        return self.tensors[f'language_model.model.{name}.weight'][ids]

    @torch.no_grad()
    def states(self, embeds: Tensor) -> Tensor:
        """The last hidden states ``[L, D]``, after the final norm."""
        if self._native is not None:
            return self._native.model(inputs_embeds=embeds[None], use_cache=False).last_hidden_state[0]
        x = embeds
        for number in range(self.llm['num_hidden_layers']):
            x = self._internlm2_layer(x, f'language_model.model.layers.{number}.')
        return _rms_norm(x, self.tensors['language_model.model.norm.weight'], self.llm['rms_norm_eps'])

    @torch.no_grad()
    def logits(self, states: Tensor) -> Tensor:
        """``[..., V]``."""
        if self._native is not None:
            return self._native.lm_head(states)
        return states @ self.tensors['language_model.output.weight'].T

    def _internlm2_layer(self, x: Tensor, layer: str) -> Tensor:
        t, llm = self.tensors, self.llm
        groups = llm['num_attention_heads'] // llm['num_key_value_heads']
        qkv = self._linear(
            _rms_norm(x, t[layer + 'attention_norm.weight'], llm['rms_norm_eps']), layer + 'attention.wqkv'
        )
        # Group by group: so many queries, then their key, then their value.
        qkv = qkv.unflatten(-1, (llm['num_key_value_heads'], groups + 2, -1))
        q = self._turned(qkv[:, :, :groups])
        k = self._turned(qkv[:, :, groups : groups + 1]).expand_as(q)
        v = qkv[:, :, groups + 1 :].expand_as(q)
        q, k, v = (part.flatten(1, 2).transpose(0, 1) for part in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).flatten(1)
        x = x + self._linear(attended, layer + 'attention.wo')
        hidden = _rms_norm(x, t[layer + 'ffn_norm.weight'], llm['rms_norm_eps'])
        gate = F.silu(self._linear(hidden, layer + 'feed_forward.w1'))
        up = self._linear(hidden, layer + 'feed_forward.w3')
        return x + self._linear(gate * up, layer + 'feed_forward.w2')

    def _turned(self, x: Tensor) -> Tensor:
        """``[L, ..., head]`` turned by position: number i of the first half with number i of the second."""
        half = x.shape[-1] // 2
        angles = torch.arange(len(x)).view(-1, 1, 1, 1) * self.llm['rope_theta'] ** (
            -torch.arange(half) / half
        )
        first, second = x[..., :half], x[..., half:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.tensors[name + '.weight'], self.tensors.get(name + '.bias'))


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * (x.pow(2).mean(-1, keepdim=True) + eps).rsqrt() * weight
