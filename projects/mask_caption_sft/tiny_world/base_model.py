"""A small Sa2VA in the released layout: config, tokenizer, weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2TokenizerFast

from ..checkpoints.key_map import is_ours
from ..checkpoints.released import save_released
from ..ops import prompts
from ..sa2va.sa2va import Sa2VA
from .scene import COLORS, SHAPES

TINY_SIZES: dict[str, Any] = {
    'image_size': 168, 'vit_width': 96, 'vit_layers': 3, 'llm_width': 160, 'llm_layers': 4,
    'grounding_size': 128, 'grounding_embed_dim': 24, 'grounding_width': 64,
    'tie_word_embeddings': False,
}  # fmt: skip


def tiny_config(vocab_size: int, sizes: dict[str, Any] | None = None) -> dict[str, Any]:
    """``config.json`` of a small Sa2VA.

    Args:
        vocab_size: Size of the tokenizer's vocabulary.
        sizes: Replaces some of ``TINY_SIZES``.
    """
    size = TINY_SIZES | (sizes or {})
    dim = size['grounding_embed_dim']
    return {
        'architectures': ['Sa2VAChatModel'],
        'model_type': 'sa2va_chat',
        'downsample_ratio': 0.5,
        'dynamic_image_size': True,
        'force_image_size': size['image_size'],
        'max_dynamic_patch': 1,  # every image of the tiny world is one tile, in training too
        'min_dynamic_patch': 1,
        'ps_version': 'v2',
        'select_layer': -1,
        'template': 'phi3_chat',
        'tie_word_embeddings': False,
        'torch_dtype': 'float32',
        'use_thumbnail': True,
        'llm_config': {
            'architectures': ['Qwen2ForCausalLM'],
            'model_type': 'qwen2',
            'hidden_size': size['llm_width'],
            'intermediate_size': 2 * size['llm_width'],
            'num_attention_heads': 4,
            'num_key_value_heads': 2,
            'num_hidden_layers': size['llm_layers'],
            'max_position_embeddings': 2048,
            'vocab_size': vocab_size,
            'rope_theta': 10000.0,
            'tie_word_embeddings': size['tie_word_embeddings'],
            'use_cache': True,
        },
        'vision_config': {
            'architectures': ['InternVisionModel'],
            'model_type': 'intern_vit_6b',
            'hidden_act': 'gelu',
            'hidden_size': size['vit_width'],
            'image_size': size['image_size'],
            'intermediate_size': 2 * size['vit_width'],
            'layer_norm_eps': 1e-6,
            'norm_type': 'layer_norm',
            'num_attention_heads': 4,
            'num_hidden_layers': size['vit_layers'],
            'patch_size': 14,
            'qk_normalization': False,
            'qkv_bias': True,
        },
        'tiny_sam2': {
            'embed_dim': dim,
            'num_heads': 1,
            'stages': [1, 1, 2, 1],
            'global_att_blocks': [3],
            'window_pos_embed_bkg_spatial_size': [7, 7],
            'window_spec': [8, 4, 8, 4],
            'backbone_channel_list': [dim * 8, dim * 4, dim * 2, dim],
            'image_size': size['grounding_size'],
            'hidden_size': size['grounding_width'],
            'decoder_mlp_dim': 4 * size['grounding_width'],
        },
    }


def tiny_tokenizer(also: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-level BPE of Qwen2's kind that knows the tiny world's words, with Sa2VA's tokens.

    Args:
        also: Further special tokens, for one those of another backbone.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = [
        'the',
        'thing',
        'small',
        'large',
        'top',
        'bottom',
        'left',
        'right',
        'middle',
        'at',
        *COLORS,
        *SHAPES,
    ]
    frames = [
        prompts.SEGMENT_PREFIX,
        prompts.SEGMENT_SUFFIX,
        prompts.SEGMENT_ANSWER.replace(prompts.SEG, ''),
    ]
    frames += [prompts.DESCRIBE_INTRO.format(count=1), 'region1', prompts.describe_question()]
    corpus = [*words, *(f' {word}' for word in words), *frames] * 4
    tokenizer.train_from_iterator(corpus, trainer)
    fast = Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        unk_token='<|endoftext|>', eos_token='<|im_end|>', pad_token='<|endoftext|>',
    )  # fmt: skip
    tokens = [
        '<|endoftext|>',
        '<|im_start|>',
        '<|im_end|>',
        '<img>',
        '</img>',
        '<IMG_CONTEXT>',
        '[SEG]',
    ]
    tokens += ['<p>', '</p>', '<vp>', '</vp>', '<|system|>', '<|user|>', '<|end|>', '<|assistant|>']
    tokens += [token for token in also if token not in tokens]
    fast.add_tokens(
        [AddedToken(token, special=True, normalized=False) for token in tokens], special_tokens=True
    )
    return fast


def new_sa2va(
    seed: int = 0,
    sizes: dict[str, Any] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **kwargs: Any,
) -> Sa2VA:
    """A small Sa2VA with Xavier-initialised weights; ``kwargs`` go to :class:`Sa2VA`.

    The usual standard deviation of 0.02 is far too small at these widths.

    Args:
        seed: Seed of the weights.
        sizes: Replaces some of ``TINY_SIZES``.
        tokenizer: Used instead of :func:`tiny_tokenizer`; its size is the model's vocabulary.
    """
    tokenizer = tiny_tokenizer() if tokenizer is None else tokenizer
    model = initialized(tiny_config(len(tokenizer), sizes), tokenizer, seed, **kwargs)
    model.remember_start()
    return model


def initialized(
    config: dict[str, Any], tokenizer: PreTrainedTokenizerBase, seed: int, **kwargs: Any
) -> Sa2VA:
    """A Sa2VA of any family with Xavier-initialised weights, whose start is not remembered yet."""
    torch.manual_seed(seed)
    model = Sa2VA(config=config, tokenizer=tokenizer, **kwargs)
    xavier_init(model)
    return model


@torch.no_grad()
def xavier_init(model: Sa2VA) -> None:
    """Xavier for matrices, unit variance for token embeddings, small noise for position embeddings."""
    for name, parameter in model.named_parameters():
        if is_ours(name):
            continue
        is_token = name.endswith(('_token.weight', '_tokens.weight'))
        if parameter.dim() >= 2 and 'embed' not in name and not is_token:
            nn.init.xavier_uniform_(parameter)
        elif 'lambda_' in name:
            parameter.fill_(1.0)
        elif is_token:
            nn.init.normal_(parameter, std=0.5)
        elif 'pos' in name or 'embed' in name:
            nn.init.normal_(parameter, std=0.1)


def write_base(model: Sa2VA, out_dir: Path, dtype: torch.dtype | None = None) -> None:
    """Config, tokenizer and weights as a released checkpoint."""
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / 'config.json').write_text(json.dumps(model.config, indent=2) + '\n')
    model.text.tokenizer.save_pretrained(out_dir)
    save_released(model, model.key_map, out_dir, dtype)
