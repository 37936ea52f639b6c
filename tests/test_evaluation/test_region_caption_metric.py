"""Captions against human expressions."""

import math
from collections import Counter

import pytest
import torch

from projects.mask_caption_sft.evaluation.region_caption_metric import RegionCaptionMetric, words
from projects.mask_caption_sft.structures import RegionPrediction


def prediction(number: int, caption: str | None, expression: str | None) -> RegionPrediction:
    mask = torch.zeros(4, 4).bool()
    mask.view(-1)[number] = True
    return RegionPrediction('refcoco', f'image {number}', ('a', 'a'), expression, caption, mask, mask)


def scores(*predictions):
    metric = RegionCaptionMetric(meteor=False)
    metric.process({}, predictions)
    return metric.evaluate(size=len({p.sample_id for p in predictions}))


def cider_of_single_words(captions, references) -> float:
    """By its definition, for texts of one word: the cosine of two tf-idf vectors, times 10 / 4."""
    documents = Counter(word for texts in references for word in set(texts))
    values = []
    for caption, texts in zip(captions, references):
        weight = {w: math.log(len(references)) - math.log(documents.get(w, 1)) for w in [caption, *texts]}
        same = [float(caption == text) * (weight[caption] > 0) for text in texts]
        values.append(10 / 4 * sum(same) / len(texts))
    return sum(values) / len(values)


def test_cider_by_hand_for_single_words():
    captions, references = ['cat', 'dog', 'bird'], [['cat', 'pet'], ['dog'], ['fish']]
    predictions = [
        prediction(number, caption, text)
        for number, (caption, texts) in enumerate(zip(captions, references))
        for text in texts
    ]
    found = scores(*predictions)
    assert found['region_caption/CIDEr'] == pytest.approx(cider_of_single_words(captions, references))
    assert found['region_caption/counted'] == 3


def test_better_captions_score_higher():
    texts = ['the red circle', 'the blue square', 'a large green star']
    good = scores(*(prediction(i, text, text) for i, text in enumerate(texts)))
    bad = scores(*(prediction(i, texts[i - 1], text) for i, text in enumerate(texts)))
    assert good['region_caption/CIDEr'] > 3 * bad['region_caption/CIDEr']


def test_regions_without_a_human_text_do_not_count_and_missing_captions_are_invalid():
    found = scores(
        prediction(0, 'cat', None), prediction(1, None, 'the dog'), prediction(2, 'a cat', 'a cat')
    )
    assert (found['region_caption/counted'], found['region_caption/invalid']) == (2, 1)
    assert scores(prediction(0, 'cat', None)) == {'region_caption/counted': 0, 'region_caption/invalid': 0}


def test_punctuation_and_case_do_not_count():
    assert words('The red, ROUND thing.') == 'the red round thing'
