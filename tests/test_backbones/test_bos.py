"""InternLM2's prompts begin with ``<s>``, once, in training and in evaluation, as upstream's do.

Upstream's training puts it before the first question (``get_bos_eos_token_ids`` in both trainers), its
``predict_forward`` has ``tokenizer.encode`` do so.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from projects.mask_caption_sft.sa2va.answer import region_question, segment_question
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionViews
from tests.family_bases import write_family_base

BOS = 1


def views_of(model: Sa2VA) -> RegionViews:
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randn(2, 3, 56, 56, generator=generator)
    pixels = torch.randint(0, 256, (1, 3, 128, 128), generator=generator, dtype=torch.uint8)
    cells = torch.tensor([[[True, False], [True, True]]])
    return RegionViews(model.encode_images(tiles, [2], pixels), torch.zeros(1, dtype=torch.long), cells)


def places(model: Sa2VA, prompt: Tensor) -> list[int]:
    """Where ``<s>`` stands in an embedded prompt."""
    return (prompt == model.embedding[BOS]).all(-1).nonzero()[:, 0].tolist()


def set_bos(base: Path, value: bool | None) -> None:
    path = base / 'tokenizer_config.json'
    settings = json.loads(path.read_text())
    if value is None:
        del settings['add_bos_token']
    else:
        settings['add_bos_token'] = value
    path.write_text(json.dumps(settings))


@pytest.fixture(scope='module', params=[None, True, False], ids=['not stated', 'true', 'false'])
def stated(request):
    return request.param


@pytest.fixture(scope='module')
def model(stated, tmp_path_factory) -> Sa2VA:
    base = write_family_base('internlm2', tmp_path_factory.mktemp('base'))
    set_bos(base, stated)
    return Sa2VA(base).eval()


@pytest.fixture
def expected(stated) -> list[int]:
    return [] if stated is False else [0]


@torch.no_grad()
def test_in_evaluation(model, expected):
    views = views_of(model)
    questions = [
        segment_question(model, views.features, 'the red ear'),
        region_question(model, views.features, views.visual_prompts),
    ]
    for question in questions:
        assert places(model, question.embeds) == expected


@torch.no_grad()
def test_in_training_where_an_image_is_read_once_for_all_its_questions(model, expected):
    views, rows = views_of(model), []
    hook = model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: rows.extend(kwargs['inputs_embeds']), with_kwargs=True
    )
    questions = model.ask(views.features)
    scores = questions.score(views, model.text.encode_answers(['the blue circle']))
    masks = questions.segment(views, model.embed_expressions(['the red ear']))
    scores(), masks()
    hook.remove()
    (packed,) = rows  # the image, and behind it a region with its caption and an expression with its answer
    assert places(model, packed) == expected


def test_no_caption_expression_or_answer_brings_its_own(model):
    codec = model.text
    rows = [
        *codec.encode_answers(['the blue circle']).ids.tolist(),
        *codec.encode_captions(['the blue circle']),
        *codec.encode_expressions(['the red ear']),
        model.segment_answer().tolist(),
    ]
    assert not any(BOS in row for row in rows)
