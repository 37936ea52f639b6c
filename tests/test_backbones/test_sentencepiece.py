"""InternLM2's tokenizer is read from its ``tokenizer.model``, and none of the checkpoint's code is run."""

import json
from itertools import pairwise

import pytest

from projects.mask_caption_sft.checkpoints.tokenizer import load_tokenizer
from projects.mask_caption_sft.ops.prompts import PromptTemplate
from projects.mask_caption_sft.sa2va.text_codec import TextCodec
from tests.family_bases import SPECIAL, write_sentencepiece

TEXT = 'Please segment the red eare,\nthe bluest  circle ünd \u2581.'


def merged(text: str, scores: dict[str, float]) -> list[str]:
    """SentencePiece's way: of all neighbours join those that make the best piece, the first of equals."""
    pieces = list(text.replace(' ', '▁'))
    while True:
        pairs = [(scores.get(a + b), -n) for n, (a, b) in enumerate(pairwise(pieces))]
        known = [pair for pair in pairs if pair[0] is not None]
        if not known:
            return [part for piece in pieces for part in as_known(piece, scores)]
        at = -max(known)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


def as_known(piece: str, scores: dict[str, float]) -> list[str]:
    return [piece] if piece in scores else [f'<0x{byte:02X}>' for byte in piece.encode()]


@pytest.mark.parametrize('prefix', [False, True])
def test_texts_are_cut_as_sentencepiece_cuts_them(tmp_path, prefix):
    model = write_sentencepiece(tmp_path, add_dummy_prefix=prefix)
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type == 1}
    expected = merged(f' {TEXT}' if prefix else TEXT, scores)
    assert {'▁segment', '▁', '<0x0A>', '<0xC3>'} <= set(expected)
    assert load_tokenizer(tmp_path).tokenize(TEXT) == expected


def test_added_tokens_have_the_numbers_that_the_settings_say(tmp_path):
    model = write_sentencepiece(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    first = len(model.pieces) - 2  # two unused pieces have new names, the others follow
    assert tokenizer.convert_tokens_to_ids(SPECIAL) == list(range(first, first + len(SPECIAL)))
    assert len(tokenizer) == first + len(SPECIAL)
    assert tokenizer.tokenize('red[SEG]') == ['red', '[SEG]']
    assert tokenizer('red').input_ids == [1, *tokenizer.encode('red', add_special_tokens=False)]


@pytest.mark.parametrize('prefix', [False, True])
def test_a_prompt_in_pieces_has_the_tokens_of_one_string(tmp_path, prefix):
    write_sentencepiece(tmp_path, add_dummy_prefix=prefix)
    tokenizer = load_tokenizer(tmp_path)
    codec = TextCodec(tokenizer, PromptTemplate.named('internlm2_chat'), len(tokenizer))
    parts = [
        codec.encode_beginning('<|im_start|>user\n<img>'),
        codec.encode('</img>\n Please segment'),
        *codec.encode_expressions(['the red ear']),
        codec.encode_inside(' in this image.<|im_end|>\n'),
    ]
    whole = '<|im_start|>user\n<img></img>\n Please segment the red ear in this image.<|im_end|>\n'
    assert [i for part in parts for i in part] == tokenizer(whole).input_ids


def test_a_caption_is_read_back_from_its_tokens(tmp_path):
    write_sentencepiece(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    codec = TextCodec(tokenizer, PromptTemplate.named('internlm2_chat'), len(tokenizer))
    captions = codec.encode_answers(['the red ünd circle'])
    assert captions.texts == ['the red ünd circle']
    red, spaced = tokenizer.convert_tokens_to_ids(['red', '▁red'])
    assert codec.first_token_map()[red] == spaced
    assert codec.first_token_map()[spaced] == spaced


def test_tokens_beyond_a_gap_are_refused(tmp_path):
    write_sentencepiece(tmp_path)
    path = tmp_path / 'tokenizer_config.json'
    settings = json.loads(path.read_text())
    settings['added_tokens_decoder']['5000'] = dict(content='[FAR]', special=True)
    path.write_text(json.dumps(settings))
    with pytest.raises(
        ValueError, match=r"tokenizer_config\.json adds '\[FAR\]' as token 5000, but there are only"
    ):
        load_tokenizer(tmp_path)


def test_a_file_that_is_no_sentencepiece_model_is_named(tmp_path):
    write_sentencepiece(tmp_path)
    (tmp_path / 'tokenizer.model').write_bytes(b'\xff' * 40)
    with pytest.raises(ValueError, match=r'tokenizer\.model is truncated or no SentencePiece model'):
        load_tokenizer(tmp_path)
    (tmp_path / 'tokenizer.model').write_bytes(b'')
    with pytest.raises(ValueError, match='not a SentencePiece model of the kind BPE'):
        load_tokenizer(tmp_path)


def test_a_model_that_changes_letters_first_is_refused(tmp_path):
    model = write_sentencepiece(tmp_path)
    model.normalizer_spec.name, model.normalizer_spec.precompiled_charsmap = 'nmt_nfkc', b'\x01'
    (tmp_path / 'tokenizer.model').write_bytes(model.SerializeToString())
    with pytest.raises(
        ValueError, match="changes letters or spaces before it cuts a text \\(normalizer 'nmt_nfkc'"
    ):
        load_tokenizer(tmp_path)
