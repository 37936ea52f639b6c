"""What is sampled is what is taught and scored, token by token, with the 4B's own vocabulary."""

import random
from functools import reduce
from pathlib import Path

import pytest
import torch

from projects.mask_caption_sft.ops import prompts
from projects.mask_caption_sft.sa2va.text_codec import TextCodec
from projects.mask_caption_sft.structures import Captions
from tests.miniature import miniature_batch, miniature_sa2va
from tests.scripted_writing import writes

#: Captions whose last letters meet the end marker, "<|end|>", in different ways.
CAPTIONS = [
    'a red shirt.',
    'the dog (left)',
    'bus number 7',
    '穿红衣服的人',
    '狗。',
    'a cat 🐕',
    'it is a "cat"',
]
#: As first words, 32 of them are tokenised otherwise after a space than at the beginning of an answer.
COCO_CLASSES = Path('tests/data/coco_classes.txt').read_text().splitlines()


@pytest.fixture(scope='module')
def codec(real_tokenizer):
    template = miniature_sa2va().text.template
    assert template.end_of_turn == '<|end|>'
    return TextCodec(real_tokenizer, template, 151_679)


@pytest.fixture(scope='module')
def model(real_tokenizer):
    return miniature_sa2va(tokenizer=real_tokenizer).eval()


# ---------------------------------------------------------------- the end of a caption


@pytest.mark.parametrize('text', CAPTIONS)
def test_a_caption_keeps_its_last_letters_and_the_tokens_that_were_sampled(codec, text):
    sampled = codec.encode(text + '<|end|>')
    captions = codec.captions([[*sampled, 42, 43]], max_caption_len=32)
    assert captions.texts == [text]
    assert captions.ids.tolist() == [sampled]
    assert captions.has_ended.tolist() == [True]


def test_a_full_stop_shares_its_token_with_the_marker_and_stays_in_the_caption(codec):
    captions = codec.encode_answers(['a red shirt.', 'a red shirt'])
    pieces = [codec.tokenizer.convert_ids_to_tokens(row.tolist()) for row in captions.ids]
    assert pieces[0] == ['a', 'Ġred', 'Ġshirt', '.<', '|', 'end', '|', '>']
    assert captions.in_caption.tolist() == [[True] * 4 + [False] * 4, [True] * 3 + [False] * 5]
    assert captions.shares_last.tolist() == [True, False]


@pytest.mark.slow
def test_what_is_scored_is_what_was_sampled_for_a_thousand_random_captions(model):
    """Any tokens in any order, and the marker cut in any way: nothing is tokenised anew in between."""
    generator, views1 = random.Random(0), model.look(miniature_batch([None]))[0]
    allowed = sorted(set(range(151_643)) - set(model.text.banned_token_ids))
    splits = ['< | end | >', '< | e nd | >', '.< | end | >']
    ends = [model.text.tokenizer.convert_tokens_to_ids(split.split()) for split in splits]
    assert all(token is not None for end in ends for token in end)
    rows, expected = [], []
    for _ in range(1000):
        written = [generator.choice(allowed) for _ in range(generator.randint(0, 12))]
        answer = written + generator.choice(ends)
        rows.append([*answer, generator.choice(allowed)])
        expected.append(answer)
    parts = []
    for begin in range(0, 1000, 100):
        with writes(rows[begin : begin + 100]):
            parts.append(model.describe(views1, 32, num_captions=100))
    captions = reduce(Captions.cat, parts)
    assert captions.has_ended.all()
    assert [row[keep].tolist() for row, keep in zip(captions.ids, captions.mask)] == expected
    some = torch.arange(0, 1000, 100)
    scores = model.score(views1[torch.zeros(10, dtype=torch.long)], captions[some])
    assert [row[row >= 0].tolist() for row in scores.targets] == expected[::100]


def test_the_likeliest_token_is_the_written_one_with_the_real_vocabulary_too(model):
    views1 = model.look(miniature_batch([None, None]))[0]
    captions = model.describe(views1, 6)
    allowed = model.score(views1, captions).logits.index_fill(
        -1, torch.tensor(model.text.banned_token_ids), -1e9
    )
    assert torch.equal(allowed.argmax(-1)[captions.mask], captions.ids[captions.mask])


def test_the_marker_s_five_tokens_are_outside_the_caption_s_length(codec):
    sampled = codec.encode('a red shirt<|end|>')
    assert codec.captions([sampled], max_caption_len=3).texts == ['a red shirt']
    cut = codec.captions([sampled], max_caption_len=2)
    assert (cut.texts, cut.has_ended.tolist(), cut.ids.tolist()) == (['a red'], [False], [sampled[:2]])


def test_a_caption_ends_at_the_tokenizers_end_of_sequence_too(codec):
    """Upstream's generation stops at both."""
    eos, words = codec.eos_token_id, codec.encode('a red shirt')
    assert codec.tokenizer.convert_ids_to_tokens(eos) == '<|im_end|>'
    captions = codec.captions([[*words, eos, *words], [eos], [*words, *codec.end_ids, eos]])
    assert captions.texts == ['a red shirt', '', 'a red shirt']
    assert captions.ids[0, : len(words) + 1].tolist() == [*words, eos]
    assert captions.mask.sum(1).tolist() == [len(words) + 1, 1, len(words) + 5]
    assert eos not in codec.banned_token_ids


# ---------------------------------------------------------------- in the segment prompt


def asked(codec: TextCodec, text: str) -> list[int]:
    """What the evaluation scripts ask, tokenised as one string."""
    question = f'{prompts.IMG_END}{prompts.SEGMENT_PREFIX} {text}{prompts.SEGMENT_SUFFIX}'
    return codec.encode(question + codec.template.before_answer)


@pytest.mark.parametrize(
    'text', [*COCO_CLASSES, *CAPTIONS, '7 buses', '🚀', '🚀 in the sky', 'iPhone', "'s tie"]
)
def test_a_caption_is_read_as_the_exported_model_will_be_asked(codec, text):
    head = codec.encode(prompts.IMG_END + prompts.SEGMENT_PREFIX)
    tail = codec.encode(prompts.SEGMENT_SUFFIX + codec.template.before_answer)
    assert head + codec.encode_captions([text])[0] + tail == asked(codec, text)


def test_for_a_third_of_the_coco_classes_the_twin_of_the_first_token_is_another_text(codec):
    twins = codec.first_token_map()
    assert len(COCO_CLASSES) == 80
    differ = 0
    for name in COCO_CLASSES:
        ids = codec.encode(name)
        differ += [int(twins[ids[0]]), *ids[1:]] != codec.encode_captions([name])[0]
    assert differ == 32


def test_the_last_token_is_read_without_the_markers_first_letters(codec):
    twins, vocabulary = codec.last_token_map(), codec.tokenizer.get_vocab()
    for piece, read in {'.<': '.', ')<': ')', 'shirt': 'shirt'}.items():
        assert int(twins[vocabulary[piece]]) == vocabulary[read]


@pytest.mark.parametrize(
    ('text', 'letters'),
    [
        ('A zebra.', ['A', 'zebra']),
        ('  two  spaces (here)', ['two', 'spaces', 'here']),
        ('斑马 在 left', ['斑马', '在', 'left']),
        ('a 🦓 zebra...', ['a', '🦓', 'zebra']),
        ('snowboarder-like', ['snowboarder-like']),
    ],
)
def test_each_token_belongs_to_the_word_of_its_last_letter_and_punctuation_to_none(codec, text, letters):
    ids = codec.encode(text)
    numbers = codec.word_of_tokens(ids)
    assert [n for n in numbers if n >= 0] == sorted(n for n in numbers if n >= 0)
    for number, word in enumerate(letters):
        mine = [i for i, n in zip(ids, numbers) if n == number]
        assert codec.tokenizer.decode(mine).strip() == word
    others = codec.tokenizer.decode([i for i, n in zip(ids, numbers) if n == -1])
    assert not any(letter.isalnum() for letter in others)
