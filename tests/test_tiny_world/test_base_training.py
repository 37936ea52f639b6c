"""How a tiny base is trained: what learns in which phase, and from what."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.ops.build import build
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import ImageFeatures, RegionBatch
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from projects.mask_caption_sft.tiny_world.base_training import DrawnScenes, Sa2VABaseTraining
from projects.mask_caption_sft.tiny_world.base_training.captions import CaptionStyle
from projects.mask_caption_sft.tiny_world.base_training.queries import draw_queries, shortened, telling
from projects.mask_caption_sft.tiny_world.base_training.trainer import forget_words, pick_loss
from projects.mask_caption_sft.tiny_world.base_training.word_maps import (
    VOCABULARY,
    WordMaps,
    token_features,
    true_words,
)
from projects.mask_caption_sft.tiny_world.qwen_base import (
    new_qwen3_vl,
    qwen_tokenizer,
    tiny_qwen3_vl_config,
)
from projects.mask_caption_sft.tiny_world.scene import SHAPES
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE, TRAINED_QWEN3_VL
from tests.miniature import SIZES
from tests.workplace import ROOT

PARTS = (
    'vision_tower', 'multi_modal_projector', 'language_model', 'grounding_encoder.vision_encoder',
    'mask_decoder', 'text_hidden_fcs', 'word_maps.words', 'word_maps.cells', 'codes',
)  # fmt: skip


def drawn(number: int = 2, seed: int = 0, model: Sa2VA | None = None) -> RegionBatch:
    sizes = (model or new_sa2va(0, SIZES)).sizes
    packing = dict(
        type=PackRegions,
        image_size=sizes.image_size,
        grid_size=sizes.grid_size,
        grounding_size=sizes.grounding_size,
        image_cut=sizes.image_cut,
        max_tiles=1,
        min_pixels=32 * 32,
        mask_sampling='nearest-exact',
    )
    scenes = DrawnScenes(number, seed, [packing])
    return collate_regions([scenes[i] for i in range(number)])['batch']


def trainer(*phases: dict, **kwargs) -> Sa2VABaseTraining:
    return Sa2VABaseTraining(new_sa2va(0, SIZES, train_all=True), phases, **kwargs).train()


def learning(model: Sa2VABaseTraining, batch: RegionBatch, parts: tuple[str, ...] = PARTS) -> set[str]:
    """The parts that get a gradient."""
    model.zero_grad()
    total, _ = model.parse_losses(model.loss(batch))
    total.backward()
    with_gradient = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    return {part for part in parts if any(part in name for name in with_gradient)}


def test_each_phase_teaches_its_parts():
    model = trainer(
        dict(iters=1, see=('grounding', 'vit')),
        dict(iters=2, see=('vit',), prompt='codes'),
        dict(iters=1, prompt='text', code_weight=1.0),
        dict(iters=1, prompt='image', caption=True),
        caption_ratio=1.0,
    )
    batch = drawn()
    seen = {'vision_tower', 'word_maps.cells'}
    assert learning(model, batch) == seen | {'grounding_encoder.vision_encoder', 'word_maps.words'}
    for _ in range(2):
        assert learning(model, batch) == seen | {'mask_decoder', 'codes'}
    assert learning(model, batch) == {'language_model', 'text_hidden_fcs', 'mask_decoder'}
    together = {'language_model', 'text_hidden_fcs', 'mask_decoder', 'multi_modal_projector'}
    assert learning(model, batch) == together
    assert learning(model, batch) == together  # the last phase goes on


def test_each_phase_teaches_the_same_parts_of_qwen3_vl():
    student = new_qwen3_vl(0, train_all=True)
    parts = (
        'visual.blocks',
        'visual.merger',
        'deepstack_merger_list',
        'language_model',
        'mask_decoder',
        'text_hidden',
    )
    phases = [
        dict(iters=1, see=('vit',)),
        dict(iters=1, prompt='codes'),
        dict(iters=1, prompt='text', code_weight=1.0),
        dict(iters=1, prompt='image', caption=True),
    ]
    model, batch = Sa2VABaseTraining(student, phases, caption_ratio=1.0).train(), drawn(model=student)
    assert {'see': learning(model, batch, parts), 'codes': learning(model, batch, parts)} == {
        'see': {'visual.blocks'}, 'codes': {'mask_decoder'},
    }  # fmt: skip
    assert learning(model, batch, parts) == {'language_model', 'text_hidden', 'mask_decoder'}
    assert learning(model, batch, parts) == {*parts} - {'visual.blocks'}


def test_words_are_read_off_the_marked_cells_of_images_of_unlike_sizes():
    """Of two images of 1 x 2 and 2 x 1 cells, prompts are filled up to 2 x 2."""
    vit = torch.arange(16.0).view(4, 2, 2)  # four cells, of two layers
    features = ImageFeatures(vit, [2, 2], (vit, vit, vit), grids=[(1, 2), (2, 1)])
    assert token_features(features, 1).tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]
    prompts = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [1, 0]]]).bool()
    maps = WordMaps(grounding_width=4, token_width=4)
    maps.cells = torch.nn.Identity()
    batch = SimpleNamespace(image_index1=torch.tensor([0, 1]), visual_prompts=prompts)
    assert maps._vit(features, batch).tolist() == [[2, 3, 4, 5], [12, 13, 14, 15]]


def test_the_base_on_qwen3_vl_starts_with_the_sam_2_of_the_other_one():
    own = dict(new_qwen3_vl(0, TRAINED_BASE).grounding_encoder.named_parameters())
    other = dict(Sa2VA(TRAINED_BASE).grounding_encoder.named_parameters())
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], value) for name, value in other.items())


def test_the_shipped_base_on_qwen3_vl_is_what_this_code_builds():
    stated = json.loads((TRAINED_QWEN3_VL / 'config.json').read_text())
    assert stated == tiny_qwen3_vl_config(len(qwen_tokenizer()))


def test_a_resumed_training_is_in_the_same_phase():
    model = trainer(dict(iters=1, see=('vit',)), dict(iters=1, prompt='codes'))
    model.loss(drawn())
    other = trainer(dict(iters=1, see=('vit',)), dict(iters=1, prompt='codes'))
    other.load_state_dict(model.state_dict())
    assert other.phase.prompt == 'codes'


def test_a_scene_is_drawn_from_its_number():
    first, again, other = drawn(2), drawn(2), drawn(2, seed=1)
    assert first.expressions == again.expressions
    assert torch.equal(first.pixel_values, again.pixel_values)
    assert first.expressions != other.expressions


FULL = [
    'the small red star at the top left',
    'the small red circle at the left',
    'the large red star at the top',
]


def test_what_tells_by_hand():
    assert telling(FULL, ('color',)) == []
    assert telling(FULL, ('shape',)) == [1]
    assert telling(FULL, ('size',)) == [2]
    assert telling(FULL, ('place',)) == [0]  # the second's "left" and the third's "top" are the first's, too
    assert telling(FULL, ('size', 'shape')) == [0, 1, 2]


def test_a_text_is_shortened_by_hand():
    assert shortened(FULL[0], ('size', 'shape')) == 'the small star'
    assert shortened(FULL[0], ('place',)) == 'the thing at the top left'
    assert shortened(FULL[0], ('size', 'color', 'shape', 'place')) == FULL[0]


def test_true_words_by_hand():
    (row,) = true_words([FULL[0]]).tolist()
    assert {word for word, holds in zip(VOCABULARY, row) if holds} == {'small', 'red', 'star', 'top', 'left'}


def test_every_query_is_about_its_region_only():
    batch = drawn(8)
    np.random.seed(0)
    queries = draw_queries(batch, 4, 0.5, dict(size=1, color=1, shape=1, place=1))
    assert len(queries.texts) == 32
    for row, text in zip(queries.rows.tolist(), queries.texts):
        assert fitting_regions(batch, row, text) == [row]


def test_no_query_holds_an_unheard_word():
    unheard = {'orange', 'star', 'left'}
    queries = draw_queries(drawn(16), 4, 0.5, dict(size=1, color=1, shape=1, place=1), unheard)
    assert len(queries.texts) > 16
    assert all(unheard.isdisjoint(text.split()) for text in queries.texts)
    assert telling(FULL, ('size', 'shape'), {'star'}) == [1]


def test_forgotten_words_are_drawn_anew_and_no_others():
    model = new_sa2va(0, SIZES, train_all=True)
    before = model.embedding.detach().clone()
    forget_words(model, ['orange', 'star'])
    changed = (model.embedding != before).all(1).nonzero()[:, 0].tolist()
    assert sorted(model.text.tokenizer.decode(token) for token in changed) == [' orange', ' star']
    with pytest.raises(ValueError, match='zebra'):
        forget_words(model, ['zebra'])


def test_a_caption_leaves_out_one_kind_at_most():
    texts = {CaptionStyle().caption(FULL[0]) for _ in range(200)}
    assert texts == {
        FULL[0],
        'the red star at the top left',
        'the small star at the top left',
        'the small red thing at the top left',
        'the small red star',
    }


def test_an_unsaid_word_becomes_another_of_its_kind_and_is_said_now_and_then():
    style = CaptionStyle(unsaid=['star', 'triangle'], known_ratio=0.2)
    texts = [style.caption('the small red star at the left') for _ in range(1000)]
    said = [next((w for w in text.split() if w in SHAPES), None) for text in texts]
    assert {word for word in said if word} == {'circle', 'square', 'star'}
    assert said.count('star') / sum(word is not None for word in said) == pytest.approx(0.2, abs=0.05)
    assert all('red' in text.split() for text in texts if 'thing' in text)


def test_now_and_then_a_thing_is_called_what_another_one_is():
    full = ['the small red star at the left'] * 2 + ['the large blue circle at the right'] * 2
    texts = [CaptionStyle(neighbour_ratio=0.5).captions(full) for _ in range(200)]
    wrong = [('blue' in t or 'circle' in t) for captions in texts for t in captions[:1]]
    assert sum(wrong) / len(wrong) == pytest.approx(0.5, abs=0.12)  # the first one's neighbour is the last
    assert not any('blue' in captions[1] for captions in texts)


def fitting_regions(batch: RegionBatch, row: int, text: str) -> list[int]:
    words = set(text.split()) - {'thing'}
    image = batch.image_index1[row]
    regions = (batch.image_index1 == image).nonzero()[:, 0].tolist()
    return [r for r in regions if words <= {*str(batch.expressions[r]).split(), 'the', 'at'}]


@pytest.mark.parametrize('kind', ['size', 'color', 'shape', 'place'])
def test_a_kind_is_asked_for_as_often_as_it_is_weighted(kind):
    weights = dict.fromkeys(['size', 'color', 'shape', 'place'], 0) | {kind: 1}
    queries = draw_queries(drawn(8), 4, 1.0, weights)
    alone = {
        'size': 'the {} thing',
        'color': 'the {} thing',
        'shape': 'the {}',
        'place': 'the thing at the {}',
    }
    prefix, _, suffix = alone[kind].partition('{}')
    singles = [t for t in queries.texts if t.startswith(prefix) and t.endswith(suffix)]
    assert len(singles) >= 6  # where the kind tells nothing in an image, others are asked for


def test_pick_loss_by_hand():
    masks = torch.tensor([[[1, 0]], [[0, 1]]]).bool()
    logits = torch.tensor([[[20.0, 0.0]], [[20.0, 0.0]]])  # both say the first; a tenth of 20 is 2
    right, wrong = -math.log(math.e**2 / (math.e**2 + 1)), -math.log(1 / (math.e**2 + 1))
    found = pick_loss(logits, masks, torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert found.item() == pytest.approx((right + wrong) / 2)


def test_regions_that_nobody_asks_for_compete_and_those_of_other_images_do_not():
    masks = torch.tensor([[[1, 0]], [[0, 1]], [[0, 1]]]).bool()
    logits = torch.tensor([[[20.0, 0.0]]])
    found = pick_loss(logits, masks, torch.tensor([0]), torch.tensor([0, 0, 1]))
    assert found.item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + 1)))


@pytest.mark.parametrize('name', ['sa2va_tiny_base', 'sa2va_tiny_qwen3_vl_base'])
def test_what_is_written_is_the_student_alone(tmp_path, name):
    config = str(ROOT / 'configs' / f'{name}.py')
    model = build(Config.fromfile(config).model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'iter_1.pth')
    command = ['tools/write_tiny_base.py', config, str(tmp_path / 'iter_1.pth'), str(tmp_path / 'base')]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, timeout=900)
    written = dict(Sa2VA(tmp_path / 'base').named_parameters())
    own = dict(model.student.named_parameters())
    assert written.keys() == own.keys()
    assert all(torch.equal(written[name], p.half().float()) for name, p in own.items())
