"""How far two texts say the same, by hand."""

import pytest

from projects.mask_caption_sft.evaluation.caption_probe.agreement import (
    Agreement,
    TextPair,
    same_by_kind,
    shared_words,
)
from projects.mask_caption_sft.evaluation.caption_probe.report import agreement_data, agreement_table
from projects.mask_caption_sft.evaluation.word_probe.word_list import WordList, read_word_list

WORDS = WordList('test', {'colour': ['red', 'blue', ['grey', 'gray']], 'shape': ['circle', 'square']})


@pytest.mark.parametrize(
    ('first', 'second', 'share'),
    [
        ('red circle', 'red square', 0.5),  # one of two and one of two
        ('the red circle', 'red circle', 0.8),  # 2 * 2 / (3 + 2)
        ('The red shirt.', 'the red, red shirt', 1),
        ('red', 'blue', 0),
        ('', 'blue', 0),
        ('', '...', 0),
    ],
)
def test_shared_words_are_counted_once_without_case_and_punctuation(first, second, share):
    assert shared_words(first, second) == pytest.approx(share)
    assert shared_words(second, first) == pytest.approx(share)


def test_of_a_kind_both_say_the_same_where_neither_contradicts():
    assert same_by_kind('the red circle', 'the red square', WORDS) == {'colour': True, 'shape': False}
    assert same_by_kind('Gray thing', 'grey circle.', WORDS) == {'colour': True}
    assert same_by_kind('red and blue', 'blue', WORDS) == {'colour': True}
    assert same_by_kind('thing', 'red circle', WORDS) == {}
    places = read_word_list('tiny')
    assert same_by_kind('left', 'top left', places) == {'place': True}
    assert same_by_kind('bottom left', 'top left', places) == {'place': False}


def test_an_agreement_is_the_mean_over_pairs_with_another_regions_beside_it():
    pairs = [
        TextPair('red circle', 'red circle', 'blue square'),
        TextPair('red circle', 'blue circle', 'red square'),
        TextPair('circle', 'red square', None),
    ]
    agreement = Agreement.of(pairs, WORDS)
    assert agreement.num_pairs == 3
    assert agreement.shared == pytest.approx((1 + 0.5 + 0) / 3)
    assert agreement.shared_with_other == pytest.approx((0 + 0.5) / 2)
    assert agreement.equal == pytest.approx(1 / 3)
    assert agreement.by_kind == {'colour': (2, 0.5), 'shape': (3, pytest.approx(2 / 3))}
    *_, row = agreement_table({'people': agreement}).splitlines()
    assert row == '| people | 3 | 0.500 | 0.250 | 0.333 | 0.500 (2) | 0.667 (3) |'
    assert agreement_data(agreement)['by_kind']['colour'] == {'num_pairs': 2, 'same': 0.5}


def test_of_no_pair_nothing_is_said():
    agreement = Agreement.of([], WORDS)
    assert (agreement.shared, agreement.shared_with_other, agreement.equal) == (None, None, None)
    *_, row = agreement_table({'nobody': agreement}).splitlines()
    assert row == '| nobody | 0 | - | - | - | - (0) | - (0) |'
