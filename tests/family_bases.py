"""Tiny random checkpoints of each family of backbones, in the released layout."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import import_protobuf

from projects.mask_caption_sft.checkpoints.released import save_released
from projects.mask_caption_sft.checkpoints.tokenizer import load_tokenizer
from projects.mask_caption_sft.ops import prompts
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import tiny_config, tiny_tokenizer, xavier_init
from projects.mask_caption_sft.tiny_world.scene import COLORS, SHAPES
from tests.miniature import SIZES

_LLAMA_LIKE = dict(rms_norm_eps=1e-5, rope_theta=1e6, hidden_act='silu')
_INTERNLM2 = dict(
    _LLAMA_LIKE, architectures=['InternLM2ForCausalLM'], model_type='internlm2', bias=False,
    auto_map={'AutoModel': 'modeling_internlm2.InternLM2ForCausalLM'},
    rope_scaling=dict(factor=2.0, type='dynamic'),
)  # fmt: skip
_PHI3 = dict(
    _LLAMA_LIKE, architectures=['Phi3ForCausalLM'], model_type='phi3', num_key_value_heads=4, pad_token_id=0
)  # fmt: skip
_VIT_6B = dict(qk_normalization=True, norm_type='rms_norm', qkv_bias=False)

#: What differs from the miniature: ``llm_config``, ``vision_config``, the template, the kind of tokenizer.
FAMILIES: dict[str, dict[str, Any]] = {
    'qwen2': dict(llm={}),
    'qwen2 tied': dict(llm=dict(tie_word_embeddings=True), template='qwen_chat'),
    'qwen3': dict(
        llm=dict(
            architectures=['Qwen3ForCausalLM'], model_type='qwen3', head_dim=12, attention_bias=False,
            rms_norm_eps=1e-6, rope_theta=1e6,
        ),
        template='qwen_chat',
    ),
    'internlm2': dict(llm=_INTERNLM2, template='internlm2_chat', tokenizer='pieces'),
    'internlm2 6b': dict(llm=_INTERNLM2, vision=_VIT_6B, template='internlm2_chat', tokenizer='pieces'),
    'phi3': dict(llm=_PHI3, tokenizer='pieces after a space'),
    'phi3 long': dict(
        llm=_PHI3
        | dict(
            original_max_position_embeddings=1024,
            rope_scaling=dict(type='su', short_factor=[1.0, 1.5, 2.0, 3.0], long_factor=[4.0] * 4),
        )
    ),
}  # fmt: skip


def write_family_base(family: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """A checkpoint of one of ``FAMILIES``; InternLM2's tokenizer is the ``tokenizer.model`` alone."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _write_tokenizer(FAMILIES[family].get('tokenizer', 'bytes'), folder)
    model = _new_model(family, tokenizer, seed)
    (folder / 'config.json').write_text(json.dumps(model.config))
    save_released(model, model.key_map, folder, dtype)
    return folder


def family_config(family: str, vocab_size: int) -> dict[str, Any]:
    """Its ``config.json``."""
    differs = FAMILIES[family]
    config = tiny_config(vocab_size, SIZES)
    config['llm_config'].update(differs['llm'])
    config['vision_config'].update(differs.get('vision', {}))
    config['template'] = differs.get('template', 'phi3_chat')
    return config


def _new_model(family: str, tokenizer: PreTrainedTokenizerBase, seed: int) -> Sa2VA:
    torch.manual_seed(seed)
    model = Sa2VA(config=family_config(family, len(tokenizer)), tokenizer=tokenizer)
    xavier_init(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # norms, biases, layer scales: no value may be a neutral one
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


# ---------------------------------------------------------------- tokenizers

SPECIAL = ['<|im_start|>', '<|im_end|>', '<|user|>', '<|end|>', '<|assistant|>', '<img>', '</img>',
           '<IMG_CONTEXT>', '[SEG]', '<p>', '</p>', '<vp>', '</vp>']  # fmt: skip


def _write_tokenizer(kind: str, folder: Path) -> PreTrainedTokenizerBase:
    if kind == 'bytes':
        tokenizer = tiny_tokenizer()
        tokenizer.save_pretrained(folder)
        return tokenizer
    write_sentencepiece(folder, add_dummy_prefix=kind == 'pieces after a space')
    tokenizer = load_tokenizer(folder)
    if kind == 'pieces after a space':  # as Phi3's, released as a tokenizer.json that adds no <s>
        (folder / 'tokenizer.model').unlink()
        tokenizer.save_pretrained(folder)
    return tokenizer


def write_sentencepiece(folder: Path, add_dummy_prefix: bool = False) -> Any:
    """``tokenizer.model`` and ``tokenizer_config.json`` as InternLM2's; the model's content.

    The last two pieces are unused, and ``added_tokens_decoder`` gives them other names.
    """
    words = [*COLORS, *SHAPES, 'the', 'Sure', 'Please', 'segment', 'image', 'region', 'picture', 'ear', 'are']
    model = import_protobuf().ModelProto()
    model.trainer_spec.model_type, model.trainer_spec.unk_id = 2, 0
    model.normalizer_spec.add_dummy_prefix = add_dummy_prefix
    model.normalizer_spec.remove_extra_whitespaces = False
    kinds = [('<unk>', 2), ('<s>', 3), ('</s>', 3), *((f'<0x{byte:02X}>', 6) for byte in range(256))]
    grown = [f'{space}{word}'[:n] for space in ('▁', '') for word in words for n in range(2, len(word) + 2)]
    text = ''.join([*words, prompts.DESCRIBE_QUESTION, prompts.DESCRIBE_INTRO, prompts.SEGMENT_PREFIX])
    letters = sorted(set(text + prompts.SEGMENT_ANSWER + '▁,<|>_\'"') - {' ', '\n'})
    kinds += [(piece, 1) for piece in dict.fromkeys(p for p in [*grown, *letters] if p)]
    kinds += [('[UNUSED_1]', 5), ('[UNUSED_2]', 5)]
    for number, (piece, kind) in enumerate(kinds):
        model.pieces.add(piece=piece, score=-float(number), type=kind)
    (folder / 'tokenizer.model').write_bytes(model.SerializeToString())
    first = len(kinds) - 2
    settings = dict(
        tokenizer_class='InternLM2Tokenizer', unk_token='<unk>', bos_token='<s>', eos_token='</s>',
        pad_token='</s>', auto_map={'AutoTokenizer': ['tokenization_internlm2.InternLM2Tokenizer', None]},
        add_bos_token=not add_dummy_prefix,
        added_tokens_decoder={
            **{str(n): dict(content=t, special=True) for n, t in enumerate(['<unk>', '<s>', '</s>'])},
            **{str(first + n): dict(content=t, special=True) for n, t in enumerate(SPECIAL)},
        },
    )  # fmt: skip
    (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
    return model
