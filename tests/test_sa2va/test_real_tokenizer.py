"""The vocabulary of the released 4B, and what it does to the texts of this project."""

import pytest
import torch
from transformers import AutoTokenizer

from projects.mask_caption_sft.ops import prompts
from projects.mask_caption_sft.tiny_world.base_model import write_base
from tests.miniature import miniature_batch, miniature_sa2va

TEXTS = ['shirt.', 'dog)', '7', '10 of 12', '穿红衣服的人', '狗。', '🐕', 'a "cat"\n', "the man's tie"]


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


def pieces(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(ids(tokenizer, text))


# ---------------------------------------------------------------- it is the real one


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        # From the documentation of transformers' Qwen2Tokenizer.
        ('Hello world', [9707, 1879]),
        (' Hello world', [21927, 1879]),
        # From public records of what Qwen2's tokenizer gave; each digit is a token of its own.
        ('This is a test', [1986, 374, 264, 1273]),
        ('Hello, world! 123', [9707, 11, 1879, 0, 220, 16, 17, 18]),
        ('中文分词测试', [104811, 17177, 99689, 81705]),
        ('日本語のテスト 🚀', [101059, 102819, 15767, 140592, 11162, 248, 222]),
        # An "e" and an accent that follows it are read as one letter.
        ('Cafe\u0301', [34, 2577, 963]),
    ],
)
def test_texts_have_the_ids_that_qwen_publishes(real_tokenizer, text, expected):
    assert ids(real_tokenizer, text) == expected


def test_it_has_as_many_tokens_as_the_released_embedding_has_rows(real_tokenizer):
    """151,643 of Qwen, 22 of Qwen2.5, 9 of InternVL, 5 of Sa2VA."""
    assert len(real_tokenizer) == 151_643 + 22 + 9 + 5 == 151_679
    assert sorted(real_tokenizer.get_vocab().values()) == list(range(151_679))


@pytest.mark.parametrize(
    ('token', 'expected'),
    [
        ('<|endoftext|>', 151643),
        ('<|im_start|>', 151644),
        ('<|im_end|>', 151645),
        ('<|video_pad|>', 151656),
        ('<|file_sep|>', 151664),
        ('<img>', 151665),
        ('<IMG_CONTEXT>', 151667),
        ('</box>', 151673),
        ('[SEG]', 151674),
        ('</vp>', 151678),
    ],
)
def test_added_tokens_have_their_released_ids(real_tokenizer, token, expected):
    assert ids(real_tokenizer, f'a{token}a') == [64, expected, 64]


def test_it_ends_with_im_end_and_pads_with_endoftext(real_tokenizer):
    assert (real_tokenizer.eos_token_id, real_tokenizer.pad_token_id) == (151645, 151643)
    assert real_tokenizer.bos_token is None
    assert real_tokenizer.unk_token is None


# ---------------------------------------------------------------- what it does to our texts


def test_the_markers_of_the_phi3_template_are_ordinary_text(real_tokenizer):
    assert pieces(real_tokenizer, '<|end|>') == ['<', '|', 'end', '|', '>']
    for marker in ('<|user|>', '<|assistant|>', '<|end|>'):
        assert len(ids(real_tokenizer, marker)) == 5
        assert real_tokenizer.convert_tokens_to_ids(marker) is None


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('shirt.<|end|>', ['shirt', '.<', '|', 'end', '|', '>']),
        ('dog)<|end|>', ['dog', ')<', '|', 'end', '|', '>']),
        ('7<|end|>', ['7', '<', '|', 'end', '|', '>']),
    ],
)
def test_the_end_marker_swallows_punctuation_before_it(real_tokenizer, text, expected):
    assert pieces(real_tokenizer, text) == expected


@pytest.mark.parametrize('text', TEXTS)
def test_a_text_comes_back_from_its_tokens(real_tokenizer, text):
    assert real_tokenizer.decode(ids(real_tokenizer, text)) == text


def test_an_emoji_is_one_token_alone_and_three_after_a_space(real_tokenizer):
    """No leading-space twin exists for its token; cut inside, it ends in the replacement character."""
    assert ids(real_tokenizer, '🚀') == [145836]
    assert pieces(real_tokenizer, ' 🚀') == ['ĠðŁ', 'ļ', 'Ģ']
    assert real_tokenizer.decode(ids(real_tokenizer, ' 🚀')[:2]) == ' \ufffd'


# ---------------------------------------------------------------- a small model with it


@pytest.fixture(scope='module')
def model(real_tokenizer):
    return miniature_sa2va(tokenizer=real_tokenizer).eval()


def test_a_miniature_has_a_row_for_every_token(model):
    assert model.mllm.get_input_embeddings().weight.shape == (151_679, 32)
    assert model.text.seg_token_id == 151674
    assert model.text.image_token_id == 151667


@torch.no_grad()
def test_a_miniature_describes_and_segments(model):
    batch = miniature_batch([None], ['the man with 2 dogs (left).'])
    views1, views2 = model.look(batch)
    captions = model.describe(views1, 4)
    assert captions.ids[captions.in_caption].max() < 151_643  # added tokens are never written
    assert len(captions.texts) == 2
    masks = model.segment(views2, model.embed_captions(captions.texts)).mask_logits
    assert masks.shape == (2, 32, 32)


def test_a_written_checkpoint_has_the_same_tokens(model, tmp_path):
    write_base(model, tmp_path)
    found = AutoTokenizer.from_pretrained(tmp_path)
    text = f'{TEXTS}{prompts.SEG}<|end|>'
    assert len(found) == 151_679
    assert ids(found, text) == ids(model.text.tokenizer, text)
