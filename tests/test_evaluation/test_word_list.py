"""Which words a list finds in a text, and which others say something else."""

import json

import pytest

from projects.mask_caption_sft.evaluation.word_probe.word_list import WordList, read_word_list
from tests.tiny_base import write_images


def found(word_list: WordList, text: str) -> list[tuple[str, str]]:
    return [(word.kind, word.word) for word in word_list.find(text)]


@pytest.fixture(scope='module')
def tiny() -> WordList:
    return read_word_list('tiny')


@pytest.fixture(scope='module')
def coco() -> WordList:
    return read_word_list('coco')


def test_words_are_found_from_left_to_right_whatever_their_case(tiny):
    words = [('size', 'small'), ('colour', 'red'), ('shape', 'circle'), ('place', 'left')]
    assert found(tiny, 'The small RED circle, at the Left') == words


def test_a_phrase_is_found_as_a_whole_and_not_by_its_parts(tiny):
    assert found(tiny, 'the thing at the top left') == [('place', 'top left')]
    assert found(tiny, 'the thing at the Top  left') == [('place', 'top left')]  # two spaces
    assert found(tiny, 'left, at the top') == [('place', 'left'), ('place', 'top')]


def test_a_word_inside_another_word_is_not_found(tiny):
    assert found(tiny, 'tired circles, unsquare, redder') == []
    assert found(tiny, 'red-haired (blue)') == [('colour', 'red'), ('colour', 'blue')]


def test_a_word_is_replaced_and_dropped_where_it_was_found(tiny):
    first, second = (word for word in tiny.find('red thing near the red star') if word.kind == 'colour')
    assert first.replaced_by('blue') == 'blue thing near the red star'
    assert second.replaced_by('blue') == 'red thing near the blue star'
    assert first.dropped() == 'thing near the red star'
    assert second.dropped() == 'red thing near the star'
    (alone,) = tiny.find('left')
    assert alone.dropped() == ''


def test_other_words_are_of_the_same_kind_and_say_something_else(tiny, coco):
    assert tiny.others('circle') == ['square', 'triangle', 'star']
    # What is at the left may be at the top left, and the other way round.
    assert tiny.others('left') == ['right', 'top', 'bottom', 'middle', 'top right', 'bottom right']
    assert tiny.others('top left') == [
        'right',
        'bottom',
        'middle',
        'top right',
        'bottom left',
        'bottom right',
    ]
    assert 'large' not in coco.others('big')
    assert 'little' in coco.others('big')


def test_peoples_words(coco):
    text = 'second man from Left in grey shirt, standing in front'
    assert found(coco, text) == [
        ('order', 'second'), ('person', 'man'), ('left or right', 'left'), ('colour', 'grey'),
        ('posture', 'standing'), ('front or back', 'front'),
    ]  # fmt: skip
    assert found(coco, 'woman on the far left') == [('person', 'woman'), ('left or right', 'far left')]


def test_every_word_of_the_drawn_worlds_expressions_is_listed_but_those_that_say_nothing(tiny, tmp_path):
    for sample in write_images(tmp_path, num_images=6):
        for text in sample.expressions:
            for word in reversed(list(tiny.find(text))):
                text = text[: word.start] + text[word.end :]
            assert set(text.split()) <= {'the', 'thing', 'at'}


def test_a_file_is_read_as_the_shipped_lists_are(tmp_path):
    path = tmp_path / 'words.json'
    path.write_text(json.dumps({'taste': ['Sweet', ['sour', 'acid  drop']], 'size': ['big', 'small']}))
    words = read_word_list(str(path))
    assert words.kinds == {'taste': [('sweet',), ('sour', 'acid drop')], 'size': [('big',), ('small',)]}
    assert words.others('acid drop') == ['sweet']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"colour": ["red", ', r'is not JSON \(.*\)\. Write {"colour": \["red", "blue"'),
        ('[]', 'holds no kind of words. Write {'),
        ('{}', 'holds no kind of words. Write {'),
        ('{"colour": "red"}', "'colour' is 'red', not a list of words"),
        ('{"colour": []}', r"no word of the kind 'colour' can be replaced: it has 0 meaning\(s\), \[\]"),
        ('{"colour": ["red"]}', "no word of the kind 'colour' can be .* Add one, or leave the kind out"),
        ('{"colour": [["grey", "gray"]]}', "no word of the kind 'colour' can be replaced"),
        ('{"colour": ["red", " "]}', "'colour' holds ' ', which is no word"),
        ('{"colour": ["red", 5]}', "'colour' holds 5, which is no word"),
        ('{"colour": ["red", []]}', r"'colour' holds \[\], which is no word"),
        (
            '{"colour": ["red", "orange"], "food": ["Orange", "pizza"]}',
            "'orange' is listed under 'colour' and again under 'food'. Leave it in one place",
        ),
        ('{"colour": ["red", "blue", "red"]}', "'red' is listed under 'colour' and again under 'colour'"),
    ],
)
def test_a_file_that_is_no_word_list_is_refused_by_name_in_one_line(tmp_path, content, message):
    path = tmp_path / 'words.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_word_list(str(path))
    assert str(path) in str(refused.value)
    assert '\n' not in str(refused.value)


def test_a_file_that_is_not_there_is_named_beside_the_lists_that_ship(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no file of words\. Give a JSON file, or 'coco'"):
        read_word_list(str(tmp_path / 'words.json'))
