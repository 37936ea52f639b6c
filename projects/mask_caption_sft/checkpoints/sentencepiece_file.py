"""A SentencePiece model as a fast tokenizer, without the code that a checkpoint brings along."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import import_protobuf

FILE, SETTINGS = 'tokenizer.model', 'tokenizer_config.json'
_BPE = 2  # of TrainerSpec.ModelType
_NAMES = ('unk_token', 'bos_token', 'eos_token', 'pad_token')


def read_sentencepiece(base: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint that holds a ``tokenizer.model`` only, as InternLM2's do.

    Args:
        base: Its directory, also with ``tokenizer_config.json``, whose ``added_tokens_decoder`` names tokens
            beyond the model's pieces and gives some of its pieces other names.

    Raises:
        FileNotFoundError: No ``tokenizer_config.json``.
        ValueError: The files are damaged, do not fit each other, or need what is not supported.

    Source:
        SentencePiece's ``sentencepiece_model.proto``; pieces are merged in the order of their scores.
        ``<s>`` comes first unless ``add_bos_token`` is false, as in upstream's ``InternLM2Tokenizer``.
    """
    base = Path(base)
    model, settings = _read_model(base / FILE), json.loads((base / SETTINGS).read_text())
    names = {key: _content(settings[key]) for key in _NAMES if settings.get(key)}
    added = {int(n): _content(token) for n, token in settings.get('added_tokens_decoder', {}).items()}
    pieces = _with_added([piece.piece for piece in model.pieces], added, base / SETTINGS)
    scores = {piece.piece: piece.score for n, piece in enumerate(model.pieces) if n not in added}
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(vocabulary, scores),
            unk_token=pieces[model.trainer_spec.unk_id],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    first = [normalizers.Prepend('▁')] if model.normalizer_spec.add_dummy_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(' ', '▁')])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(added[number], special=True, normalized=False) for number in sorted(added)]
    )
    if settings.get('add_bos_token', True) and 'bos_token' in names:
        bos = names['bos_token']
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f'{bos} $A', special_tokens=[(bos, vocabulary[bos])]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _read_model(path: Path) -> Any:
    model = import_protobuf().ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's own DecodeError
        raise ValueError(f'{path} is truncated or no SentencePiece model ({error}).') from error
    if model.trainer_spec.model_type != _BPE or not len(model.pieces):
        raise ValueError(f'{path} is not a SentencePiece model of the kind BPE, as those of InternLM2 are.')
    spec = model.normalizer_spec
    if spec.precompiled_charsmap or spec.remove_extra_whitespaces:
        raise ValueError(
            f'{path} changes letters or spaces before it cuts a text (normalizer {spec.name!r}), which '
            "InternLM2's does not. Use the file of a released checkpoint."
        )
    return model


def _with_added(pieces: list[str], added: dict[int, str], where: Path) -> list[str]:
    """All tokens in the order of their numbers."""
    for number in sorted(added):
        if number > len(pieces):
            raise ValueError(
                f'{where} adds {added[number]!r} as token {number}, but there are only {len(pieces)} tokens '
                f'before it, in {FILE} and among the added ones. Use both files of one checkpoint.'
            )
        pieces[number : number + 1] = [added[number]]
    return pieces


def _merges(vocabulary: dict[str, int], scores: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs of pieces that make a piece, in the order in which they are merged."""
    found = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                found.append((-score, vocabulary[left], vocabulary[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _content(token: Any) -> str:
    return token['content'] if isinstance(token, dict) else token
