"""The count without values: worked by hand, and against what true steps keep."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.engine.step_memory import (
    SavedTensors,
    StepShapes,
    count_saved,
    count_weights,
)
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.ops.prompt_tree import groups_of_like_length
from projects.mask_caption_sft.sa2va.meta import build_on_meta
from projects.mask_caption_sft.sa2va.prompt_pieces import describe_piece, segment_piece
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from tests.miniature import LORA, SIZES, miniature_model, miniature_sample, objectives
from tests.scripted_writing import writes


def test_a_storage_counts_once_while_a_graph_holds_it_and_a_weight_never():
    weights = nn.Linear(10, 1)
    saved = SavedTensors(weights)
    with saved.hooks:
        x = torch.zeros(3, 10, requires_grad=True)
        y = x.exp()  # keeps its result, 30 numbers
        z = weights(y) + y[:1].sum()  # keeps the same result, and the weight
    assert saved.count() == 4 * 30
    del z, y
    assert saved.count() == 0


def test_the_sizes_of_a_4b_step_are_those_of_its_config():
    config = Config.fromfile('configs/mask_caption_sft_4b.py')
    settings = {key: value for key, value in config.model.items() if key != 'type'}
    settings['sa2va'] = build_on_meta(**{k: v for k, v in config.model.sa2va.items() if k != 'base'})
    model = MaskCaptionSFT(**settings)
    shapes = StepShapes.largest(config, model, num_regions=4)
    assert shapes.num_tiles == [7, 7, 7, 7]  # 2 images in 2 views, 6 tiles and the thumbnail
    assert shapes.first_image == [0, 0, 0, 0, 2, 2, 2, 2]
    assert shapes.image == [1, 1, 1, 1, 3, 3, 3, 3]  # view 2 of each
    assert 25 < shapes.describe_len - 25 < 100  # a region on a tenth of 256 cells, and words
    assert 32 < shapes.segment_len < 100
    weights = count_weights(model, with_autocast=True)
    trained = 4 * 260_999_749  # bytes of float32
    frozen = sum(p.numel() for p in model.student.parameters() if not p.requires_grad)
    assert 3.9e9 < frozen < 3.95e9
    # Two bytes each; norms, layer scales and positions have four, and are less than a thousandth.
    assert 2 * frozen < weights['frozen weights'] < 2.002 * frozen
    assert weights['trained weights'] == weights["the teacher's own weights"] == trained
    assert weights["AdamW's two moments"] == weights['their gradients, and the copies that DDP sends']
    assert weights["AdamW's two moments"] == 2 * trained
    projector = 4 * (2 * 4096 + 4096 * 2048 + 2048 + 2048 * 2048 + 2048)  # norm, two layers
    assert weights['weights from before training'] == projector


def model_of(checkpointing: bool) -> MaskCaptionSFT:
    """Every objective on, all captions taught and all gates open; points are sampled.

    Of so many layers that, as in the 4B, the language model keeps the most.
    """
    sizes = SIZES | dict(llm_layers=24)
    return miniature_model(
        sa2va=new_sa2va(0, sizes, lora=LORA, activation_checkpointing=checkpointing),
        objectives=objectives(best_of_k=BestOfK(margin_iou=-1.0, min_iou=0.0)),
        segmentation_losses=dict(num_points=200),
        num_captions=2,
        max_caption_len=8,
        signal_interval=10**9,
    ).train()


def true_step(model: MaskCaptionSFT, num_regions: int, dtype=None) -> tuple[int, StepShapes]:
    """Bytes that the losses of a real batch keep, and its sizes: images of 13 and 7 tiles, in two views."""
    samples = [
        miniature_sample(f'image{i}', [None] * num_regions, seed=i, num_tiles=n)
        for i, n in enumerate((13, 7))
    ]
    batch = collate_regions(samples)['batch']
    student, num_described = model.student, 2 * num_regions
    words = student.text.encode('the red star and a large blue circle')[: model.max_caption_len]
    captions = [
        words[n:] + words[:n] for n in (0, 3) for _ in range(num_described)
    ]  # no two of a region alike
    views1, _ = student.look(batch)
    tokens = student.image_tokens(views1.features, 0)
    (text,) = student.text.encode_captions([student.text.captions([words]).texts[0]])
    asked = segment_piece(student, student.embed_ids(torch.tensor(text)))
    shapes = StepShapes(
        num_tiles=batch.num_tiles,
        first_image=batch.image_index1.tolist(),
        image=batch.image_index2.tolist(),
        describe_len=len(describe_piece(student, tokens, views1.visual_prompts[:1])),
        caption_len=len(words),
        segment_len=len(asked) + len(student.segment_answer()),
    )
    saved = SavedTensors(model)
    by_region = [row for n in range(num_described) for row in captions[n::num_described]]
    autocast = torch.autocast('cpu', torch.bfloat16, enabled=dtype is not None)
    with writes(by_region, num_described), autocast, saved.hooks:
        kept = model.loss(batch)
    assert {'loss_best', 'loss_iou', 'loss_mask', 'loss_kl'} <= kept.keys()
    return saved.count(), shapes


@pytest.mark.slow
@pytest.mark.parametrize(
    ('checkpointing', 'dtype'), [(False, None), (True, None), (True, torch.bfloat16)],
    ids=['kept', 'recomputed', 'recomputed in bfloat16'],
)  # fmt: skip
def test_it_counts_what_a_true_step_keeps(checkpointing, dtype):
    true, shapes = true_step(model_of(checkpointing), 4, dtype)
    counted = count_saved(model_of(checkpointing), shapes, dtype)
    layer = counted.pop('one recomputed layer')
    assert sum(counted.values()) == pytest.approx(true, rel=0.04)
    assert (layer > 0) == checkpointing


@pytest.mark.slow
def test_a_recomputed_layer_is_what_a_step_keeps_of_it_without_recomputation():
    """One pass of 24 layers; its largest batch counts as the layer."""
    kept, shapes = true_step(model_of(checkpointing=False), 4)
    recomputed, _ = true_step(model_of(checkpointing=True), 4)
    layer = count_saved(model_of(checkpointing=True), shapes)['one recomputed layer']
    tokens = sequences_of(shapes)
    batches = [len(group) * max(tokens[n] for n in group) for group in groups_of_like_length(tokens)]
    assert kept - recomputed == pytest.approx(24 * layer * sum(batches) / max(batches), rel=0.1)


def sequences_of(shapes: StepShapes) -> list[int]:
    """Tokens of each image's sequence in the student's pass: its four regions described, or segmented."""
    per_tile = 4
    first, second = sorted(set(shapes.first_image)), sorted(set(shapes.image))
    return [
        *(per_tile * shapes.num_tiles[i] + 4 * (shapes.describe_len + 2 * shapes.caption_len) for i in first),
        *(per_tile * shapes.num_tiles[i] + 4 * shapes.segment_len for i in second),
    ]
