"""What an expression becomes with a wrong word, and where the word decides."""

import numpy as np

from projects.mask_caption_sft.evaluation.word_probe.variants import word_cases
from projects.mask_caption_sft.evaluation.word_probe.word_list import WordList

COLOURS = ['red', 'green', 'blue', 'yellow']


def cases(regions: list[list[str]], seed: int = 0, **kinds):
    words = WordList('test', kinds or {'colour': COLOURS})
    return list(word_cases(regions, words, np.random.default_rng(seed)))


def test_a_word_decides_where_the_wrong_one_leads_to_another_region():
    """Only "blue" makes of it what people have called the second region, in two expressions together."""
    regions = [['the Red thing at the left'], ['the blue star', 'the thing at the left'], ['the green star']]
    for seed in range(10):
        case = cases(regions, seed)[0]
        assert (case.kind, case.word, case.region) == ('colour', 'red', 0)
        assert (case.wrong_word, case.rivals) == ('blue', (1,))
        assert case.replaced == 'the blue thing at the left'
        assert case.dropped == 'the thing at the left'
        assert case.expression == 'the Red thing at the left'


def test_a_word_does_not_decide_where_another_region_lacks_one_of_the_words():
    case = cases([['the red thing'], ['the blue star'], ['a thing']])[0]
    assert case.rivals == ()
    assert case.wrong_word in ('green', 'blue', 'yellow')


def test_all_regions_that_the_wrong_word_leads_to_are_named():
    case = cases([['red star'], ['blue star'], ['red square'], ['the star', 'blue thing']])[0]
    assert (case.wrong_word, case.rivals) == ('blue', (1, 3))


def test_a_part_of_a_phrase_that_people_use_for_a_region_does_not_lead_there():
    place = ['left', 'right', 'top left', 'top right']
    regions = [['star on the right'], ['star on the top left']]
    for seed in range(10):
        case = cases(regions, seed, place=place)[0]
        assert (case.wrong_word, case.rivals) == ('top left', (1,))  # and not "left"


def test_a_word_that_people_use_for_the_region_itself_is_not_wrong():
    """ "blue" would lead to the second region, but it is true of the first as well."""
    regions = [['red star', 'blue star'], ['blue star', 'old star']]
    for seed in range(10):
        assert cases(regions, seed)[0].wrong_word in ('green', 'yellow')


def test_where_every_other_word_is_true_too_there_is_no_case():
    regions = [['red star', 'blue star']]
    assert cases(regions, colour=['red', 'blue']) == []
    assert len(cases(regions, colour=['red', 'blue', 'green'])) == 2


def test_every_listed_word_of_every_expression_has_a_case():
    found = cases([['red star left of the blue square', 'a red one'], ['nothing']])
    assert [(case.expression, case.word) for case in found] == [
        ('red star left of the blue square', 'red'),
        ('red star left of the blue square', 'blue'),
        ('a red one', 'red'),
    ]


def test_the_seed_chooses_among_wrong_words():
    regions = [['red star']] * 12
    assert cases(regions, seed=0) == cases(regions, seed=0)
    assert cases(regions, seed=0) != cases(regions, seed=1)
    assert {case.wrong_word for case in cases(regions)} == {'green', 'blue', 'yellow'}
