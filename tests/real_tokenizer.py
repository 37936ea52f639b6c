"""The tokenizer of the released Sa2VA-4B, built from its parts; no copy of the vocabulary is kept here.

The 151,643 tokens of Qwen come with the package ``dashscope``, in tiktoken's form. Qwen's release, from
which Sa2VA descends, has them as ``vocab.json`` and ``merges.txt``. These two are written to a temporary
folder and read as a user's checkpoint is, so that transformers' own Qwen2 classes make the tokenizer.
"""

import base64
import functools
import itertools
import json
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

#: From each of the 256 bytes to a printable character.
LETTERS = bytes_to_unicode()
#: Added tokens in the order of their ids, from 151,643 on, each line with who added it.
QWEN2 = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
QWEN2_5 = [
    '<|object_ref_start|>', '<|object_ref_end|>', '<|box_start|>', '<|box_end|>', '<|quad_start|>',
    '<|quad_end|>', '<|vision_start|>', '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>',
]  # fmt: skip
#: Qwen2.5 counts these as words: decoding with ``skip_special_tokens`` keeps them.
QWEN2_5_NOT_SPECIAL = [
    '<tool_call>', '</tool_call>', '<|fim_prefix|>', '<|fim_middle|>', '<|fim_suffix|>', '<|fim_pad|>',
    '<|repo_name|>', '<|file_sep|>',
]  # fmt: skip
INTERNVL = ['<img>', '</img>', '<IMG_CONTEXT>', '<quad>', '</quad>', '<ref>', '</ref>', '<box>', '</box>']
SA2VA = ['[SEG]', '<p>', '</p>', '<vp>', '</vp>']


@functools.cache
def real_tokenizer() -> PreTrainedTokenizerFast:
    """Sa2VA-4B's tokenizer of 151,679 tokens; three to four seconds the first time in a process.

    The same object every time: copy it before changing it.

    Raises:
        ModuleNotFoundError: ``dashscope`` is not installed.

    Source:
        Names and order of the added tokens: Qwen2.5-3B-Instruct, InternVL2.5 and Sa2VA. End of text
        ``<|im_end|>`` and padding ``<|endoftext|>``: Qwen2.5-Instruct, kept by InternVL2.5.
    """
    ranks = _read_ranks()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'vocab.json').write_text(json.dumps({_as_text(token): i for token, i in ranks.items()}))
        pairs = [_merged_from(token, ranks) for token in ranks if len(token) > 1]
        lines = [f'{_as_text(left)} {_as_text(right)}\n' for left, right in pairs]
        (folder / 'merges.txt').write_text('#version: 0.2\n' + ''.join(lines), encoding='utf-8')
        (folder / 'tokenizer_config.json').write_text(json.dumps(_config(len(ranks))))
        return AutoTokenizer.from_pretrained(folder)


def _read_ranks() -> dict[bytes, int]:
    """Each token's bytes and its id, which is also the order in which it was learnt."""
    try:
        # Found without an import: that would need the dozen packages dashscope asks for.
        file = distribution('dashscope').locate_file('dashscope/resources/qwen.tiktoken')
    except PackageNotFoundError as error:
        raise ModuleNotFoundError(
            "The tests read Qwen's vocabulary from the package dashscope, which is not installed. "
            'Run: bash tools/setup_env.sh dev (or pip install --no-deps -r requirements-vocabulary.txt).'
        ) from error
    lines = Path(str(file)).read_bytes().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}


def _merged_from(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two earlier tokens whose merge made ``token``.

    Where several pairs would give it, the bytes are merged as an encoder does, the earliest learnt
    pair first, until two pieces are left. (Without the first line this takes twice as long.)
    """
    splits = [(token[:i], token[i:]) for i in range(1, len(token))]
    known = [(left, right) for left, right in splits if left in ranks and right in ranks]
    if len(known) == 1:
        return known[0]
    pieces = [bytes([byte]) for byte in token]
    while len(pieces) > 2:
        merged = [left + right for left, right in itertools.pairwise(pieces)]
        i = min(range(len(merged)), key=lambda i: ranks.get(merged[i], len(ranks)))
        pieces[i : i + 2] = [merged[i]]
    return pieces[0], pieces[1]


def _as_text(token: bytes) -> str:
    """Bytes as the printable characters that stand for them in ``vocab.json``; a space is ``Ġ``."""
    return token.decode('latin-1').translate(LETTERS)


def _config(first_id: int) -> dict:
    """``tokenizer_config.json``, but for the chat template, which Sa2VA does not use."""
    names = [*QWEN2, *QWEN2_5, *QWEN2_5_NOT_SPECIAL, *INTERNVL, *SA2VA]
    flags = dict(lstrip=False, rstrip=False, single_word=False, normalized=False)
    return {
        'tokenizer_class': 'Qwen2Tokenizer',
        'added_tokens_decoder': {
            str(i): dict(content=name, special=name not in QWEN2_5_NOT_SPECIAL, **flags)
            for i, name in enumerate(names, start=first_id)
        },
        'additional_special_tokens': [*QWEN2[1:], *QWEN2_5, *INTERNVL, *SA2VA],
        'bos_token': None,
        'eos_token': '<|im_end|>',
        'pad_token': '<|endoftext|>',
        'unk_token': None,
        'clean_up_tokenization_spaces': False,
        'split_special_tokens': False,
        'model_max_length': 8192,
    }
