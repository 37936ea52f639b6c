"""Captions against human expressions."""

import json
import math
import shutil
from collections import Counter

import pytest
import torch

from projects.mask_caption_sft.evaluation.region_caption_metric import RegionCaptionMetric
from projects.mask_caption_sft.evaluation.upstream_caption import upstream_caption
from projects.mask_caption_sft.ops.text import words
from projects.mask_caption_sft.structures import RegionPrediction

needs_java = pytest.mark.skipif(shutil.which('java') is None, reason='METEOR and its tokenizer are Java')


def prediction(number: int, caption: str | None, expression: str | None) -> RegionPrediction:
    mask = torch.zeros(4, 4).bool()
    mask.view(-1)[number] = True
    return RegionPrediction('refcoco', f'image {number}', ('a', 'a'), expression, caption, mask, mask)


def scores(*predictions, **kwargs):
    metric = RegionCaptionMetric(**{'meteor': False, **kwargs})
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


@pytest.mark.parametrize(
    ('written', 'cleaned'),
    [
        ('a small bright shape near the corner<|end|>', 'a small bright shape near the corner'),
        ('The region marked by region1 is a red circle.<|end|>', 'a red circle.'),
        ('The region marked as Region1 shows a man: tall', 'a man tall'),
        ('This disk is on his wrist', 'Th dk on h wrt'),  # every "is" goes, inside words too
        ("'the <p>cat</p> [SEG]'", 'the cat'),
        ('region1:\n', ''),
    ],
)
def test_upstreams_clean_up_by_hand(written, cleaned):
    assert upstream_caption(written) == cleaned


def test_the_clean_up_agrees_with_recorded_captions(shared_dir):
    recorded = json.loads((shared_dir / 'parity' / 'region_caption_predictions.json').read_text())
    for call, result in zip(recorded['calls'], recorded['results'], strict=True):
        assert upstream_caption(call['prediction']) == result['caption']


def test_the_own_protocol_keeps_every_word(monkeypatch):
    monkeypatch.setattr('shutil.which', lambda name: None)
    texts = ['this disk is red', 'that island is green', 'his wrist']
    same = [prediction(i, text, text) for i, text in enumerate(texts)]
    own = scores(*same)['region_caption/CIDEr']
    assert own > 2 * scores(*same, protocol='upstream')['region_caption/CIDEr_own_words']


def test_without_java_a_figure_does_not_pass_for_an_official_one(monkeypatch):
    monkeypatch.setattr('shutil.which', lambda name: None)
    found = scores(prediction(0, 'a cat', 'a cat'), protocol='upstream', meteor='auto')
    assert found.keys() == {f'region_caption/{n}' for n in ('CIDEr_own_words', 'counted', 'invalid')}


def test_an_unknown_protocol_is_named():
    with pytest.raises(ValueError, match="protocol='official' is not one of 'words', 'upstream'"):
        RegionCaptionMetric(protocol='official')


@needs_java
@pytest.mark.slow
def test_the_official_figures_are_those_of_cocos_own_evaluation():
    """Its steps on files like upstream's: one caption per item, tokenised, scored."""
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    pairs = [
        ("The man's hat is red (left).", "a man's red hat"),
        ('This is a disk-like plate', 'the plate, round'),
        (None, 'nothing'),
        ('two dogs', 'two dogs'),
    ]
    cleaned = ["The man's hat red (left).", 'Th a dk-like plate', '', 'two dogs']
    tokenize = PTBTokenizer().tokenize
    references = tokenize({i: [{'caption': text}] for i, (_, text) in enumerate(pairs)})
    captions = tokenize({i: [{'caption': text}] for i, text in enumerate(cleaned)})
    found = scores(
        *(prediction(i, *pair) for i, pair in enumerate(pairs)), protocol='upstream', meteor='auto'
    )
    assert found['region_caption/CIDEr'] == pytest.approx(Cider().compute_score(references, captions)[0])
    assert found['region_caption/METEOR'] == pytest.approx(0.31335, abs=1e-5)  # METEOR 1.5 gave it
    assert (found['region_caption/counted'], found['region_caption/invalid']) == (4, 1)


@needs_java
def test_officially_each_expression_is_an_item_with_one_reference():
    twice = [prediction(0, 'a cat', 'a cat'), prediction(0, 'a cat', 'some animal')]
    assert scores(*twice, protocol='upstream')['region_caption/counted'] == 2
    assert scores(*twice)['region_caption/counted'] == 1  # one region, two references
