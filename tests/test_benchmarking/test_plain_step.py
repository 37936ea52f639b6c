"""The step and the same step written plainly give the same losses and the same gradients."""

import pytest
import torch

from projects.mask_caption_sft.benchmarking.plain_objectives import teach
from projects.mask_caption_sft.benchmarking.plain_step import PlainStep, full_copy
from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.loop.bridges import SoftTokenBridge, StraightThroughBridge
from projects.mask_caption_sft.loop.caption_weights import (
    AdvantageWeights,
    MinimumRiskWeights,
    SoftmaxWeights,
)
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import (
    BestOfK,
    HumanExpressions,
    NearStart,
    SegmentCaptions,
    TeacherIoU,
    WeightedCaptions,
)
from projects.mask_caption_sft.loop.objectives.segment_captions import confidence
from projects.mask_caption_sft.loop.reward import Reward
from projects.mask_caption_sft.loop.word_credit import WordCredit
from projects.mask_caption_sft.structures import Captions, RegionBatch
from tests.miniature import double_sa2va, miniature_model, miniature_sa2va, miniature_sample

#: Largest difference of a loss or gradient; and of a gradient relative to the largest of its tensor, which
#: in float32 is rounding: some are sums of large terms that cancel. Measured: 2e-6 and 3e-5; 1e-11 in double.
TOLERANCE, RELATIVE = 1e-5, 1e-4
LOSSES = {
    'loss_best', 'loss_caption', 'loss_dice', 'loss_iou', 'loss_kl', 'loss_llm', 'loss_mask',
}  # fmt: skip


def model_of(**settings) -> MaskCaptionSFT:
    """Every default objective, with thresholds so low that all teach; the teacher is not the student."""
    bridge = settings.pop('bridge', None) or SoftTokenBridge()
    model = miniature_model(
        sa2va=settings.pop('sa2va', None) or miniature_sa2va(activation_checkpointing=True),
        objectives=dict(
            best_of_k=BestOfK(margin_iou=-1.0, min_iou=0.0),
            teacher_iou=TeacherIoU(bridge),
            segment_captions=SegmentCaptions(gate_iou=settings.pop('gate_iou', 1e-6)),
            human_expressions=HumanExpressions(),
            near_start=NearStart(),
        ),
        num_captions=3,
        signal_interval=10**9,
        **settings,
    )
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            if parameter.shape == model.teacher.text_hidden_fcs[0].weight.shape:
                parameter.add_(0.01)
        next(iter(model.student.projector.parameters())).add_(0.1)
    return model.train()


def batch_of() -> RegionBatch:
    """Images of 3, 1 and 2 tiles; two described regions in the first, one and an expression in the second."""
    return collate_regions(
        [
            miniature_sample('a', [None, None], 'sa1b', seed=1, num_tiles=3),
            miniature_sample('b', ['the red circle', None], 'refcoco', seed=2),
            miniature_sample('c', ['star'], 'refcoco', seed=3, num_tiles=2),
        ]
    )['batch']


def captions_of(model: MaskCaptionSFT) -> Captions:
    """Three of each of the three described regions, of different lengths; none is empty."""
    texts = [
        'red circle',
        'the star',
        'blue',
        'a star at the top',
        'red',
        'thing',
        'left',
        'small red thing',
        'at',
    ]
    return model.student.text.encode_answers(texts)


def losses_and_gradients(model: MaskCaptionSFT, losses: dict) -> tuple[dict, dict]:
    model.zero_grad()
    total, _ = model.parse_losses(losses)
    total.backward()
    found = {name: value.item() for name, value in losses.items() if name.startswith('loss_')}
    return found, {n: p.grad.clone() for n, p in model.student.named_parameters() if p.grad is not None}


def assert_same(
    model: MaskCaptionSFT,
    batch: RegionBatch,
    captions: Captions,
    tolerance: float = TOLERANCE,
    relative: float = RELATIVE,
) -> dict[str, float]:
    plain = PlainStep(model)
    expected, gradients = losses_and_gradients(model, plain.loss(batch, captions))
    model.student.describe = lambda *args, **kwargs: captions
    found, ours = losses_and_gradients(model, model.loss(batch))
    assert found == pytest.approx(expected, abs=tolerance)
    assert ours.keys() == gradients.keys()
    for name, gradient in gradients.items():
        error, largest = (ours[name] - gradient).abs().max(), gradient.abs().max()
        assert error < tolerance, (name, error.item())
        # A key's bias moves no softmax: its gradient is zero, and what is there is rounding.
        assert error < relative * largest or error < tolerance / 10, (name, error.item(), largest.item())
    return found


@pytest.mark.parametrize('bridge', [SoftTokenBridge(), StraightThroughBridge()], ids=['soft', 'straight'])
def test_losses_and_gradients_agree(bridge):
    model = model_of(bridge=bridge)
    losses = assert_same(model, batch_of(), captions_of(model))
    assert losses.keys() == LOSSES
    assert all(value > 0 for value in losses.values())


def test_in_double_precision_they_are_equal():
    """Nothing but the order of sums tells the two apart."""
    model = model_of(sa2va=double_sa2va(activation_checkpointing=True))
    assert_same(model, batch_of(), captions_of(model), tolerance=1e-10, relative=1e-8)


def test_a_caption_that_is_empty_or_cut_off_is_the_same_in_both():
    model = model_of()
    text = model.student.text
    end = text.end_ids
    rows = [[*text.encode(t), *end] for t in ('', 'the star', 'blue', 'red', 'a', 'b')]
    rows += [text.encode(t) for t in ('left left left left left left', 'small red thing', 'at')]
    losses = assert_same(model, batch_of(), text.captions(rows, model.max_caption_len))
    assert losses.keys() == LOSSES


def test_thresholds_between_the_captions_let_the_same_ones_pass():
    model = model_of()
    model.objectives['best_of_k'].margin_iou = 0.0
    captions, batch = captions_of(model), batch_of()
    model.student.describe = lambda *args, **kwargs: captions
    seen = []
    read = model.objectives['best_of_k']
    read_teach = type(read).teach
    read.teach = lambda step, asked: seen.append(step.greedy_iou.tolist()) or read_teach(read, step, asked)
    taught_ratio = model.loss(batch)['signal/taught_ratio'].item()
    assert 0 < taught_ratio < 1
    del read.teach
    gate = sorted(seen[0])[1]
    assert sorted(seen[0])[0] < gate
    model.objectives['segment_captions'].gate_iou = gate
    assert_same(model, batch, captions)


def test_the_gate_by_confidence_lets_the_same_captions_pass():
    model = model_of(gate_iou=0.0)
    captions, batch = captions_of(model), batch_of()
    greedy = torch.arange(3)
    views, _ = model.student.look(batch)
    start = model.student.score_at_start(views[torch.tensor([0, 1, 3])], captions[greedy])
    model.objectives['segment_captions'].min_confidence = confidence(start).sort().values[:2].mean().item()
    losses = assert_same(model, batch, captions)
    model.objectives['segment_captions'].min_confidence = 0.0
    assert model.loss(batch)['loss_mask'].item() != pytest.approx(losses['loss_mask'])


WEIGHTINGS = [
    WeightedCaptions(SoftmaxWeights(), Reward(confuser_weight=0.5, token_cost=0.01)),
    WeightedCaptions(AdvantageWeights(normalize=True), min_spread=0.001),
    WeightedCaptions(MinimumRiskWeights(), Reward(token_cost=0.1), by_token=False),
]


def weighted_model(objective: WeightedCaptions) -> MaskCaptionSFT:
    model = model_of()
    model.objectives = {'weighted_captions': objective} | model.objectives
    del model.objectives['best_of_k']
    return model


@pytest.mark.parametrize('objective', WEIGHTINGS, ids=lambda o: type(o.weighting).__name__)
def test_all_captions_weighted_agree_where_some_are_equal_or_empty(objective):
    model = weighted_model(objective)
    text = model.student.text
    texts = ['red circle', 'the star', 'blue', 'red circle', 'red', '', 'left', 'the star', 'at']
    captions = text.captions([[*text.encode(t), *text.end_ids] for t in texts], model.max_caption_len)
    losses = assert_same(model, batch_of(), captions)
    assert losses.keys() == LOSSES - {'loss_best'} | {'loss_weighted'}
    assert abs(losses['loss_weighted']) > 1e-3


def test_captions_that_are_worth_the_same_are_left_out_of_both():
    model = weighted_model(WeightedCaptions(AdvantageWeights(), min_spread=2.0))
    assert assert_same(model, batch_of(), captions_of(model))['loss_weighted'] == 0


def test_the_best_caption_by_another_reward_is_the_same_in_both():
    model = model_of()
    model.objectives['best_of_k'].reward = Reward(confuser_weight=0.5, token_cost=1.0)
    captions = captions_of(model)
    ious = assert_same(model, batch_of(), captions)['loss_best']
    model.objectives['best_of_k'].reward = Reward(token_cost=-1.0)  # the longest ones
    assert assert_same(model, batch_of(), captions)['loss_best'] != pytest.approx(ious, abs=1e-3)


def test_what_has_no_plain_form_is_named():
    model = model_of()
    model.objectives['best_of_k'].credit = WordCredit()
    with pytest.raises(TypeError, match="BestOfK's credit has no plain form"):
        PlainStep(model).loss(batch_of(), captions_of(model))


def test_without_described_regions_and_without_expressions():
    model = model_of()
    only_words = collate_regions([miniature_sample('b', ['the red circle', 'star'], 'refcoco', seed=2)])
    none = model.student.text.captions([])
    assert assert_same(model, only_words['batch'], none).keys() == LOSSES - {'loss_best', 'loss_kl'}
    only_masks = collate_regions([miniature_sample('a', [None, None, None], 'sa1b', seed=1)])
    losses = assert_same(model, only_masks['batch'], captions_of(model))
    assert losses.keys() == LOSSES - {'loss_caption'}


def test_the_student_may_segment_in_the_teachers_place():
    model = model_of(segment_with='student')
    assert PlainStep(model).teacher is model.student
    assert_same(model, batch_of(), captions_of(model))


def test_captions_are_written_one_by_one_as_the_student_writes_them():
    model, batch = model_of(), batch_of()
    views1, _ = model.student.look(batch)
    rows = torch.tensor([i for i, text in enumerate(batch.expressions) if text is None])
    greedy = model.student.describe(views1[rows], model.max_caption_len)
    written = []
    generate = model.student.mllm.generate
    model.student.mllm.generate = lambda **kw: written.append((kw, generate(**kw))) or written[-1][1]
    PlainStep(model).loss(batch)
    assert [kw['do_sample'] for kw, _ in written] == [False] * 3 + [True] * 6
    assert {len(kw['inputs_embeds']) for kw, _ in written} == {1}
    text = model.student.text
    found = text.captions([ids[0].tolist() for _, ids in written[:3]], model.max_caption_len)
    assert found.texts == greedy.texts
    assert model.student.training
    assert model.student.activation_checkpointing
    assert all(layer.gradient_checkpointing for layer in model.student.mllm.model.language_model.layers)


def test_a_full_copy_shares_no_storage():
    model = model_of()
    storages = [
        {t.untyped_storage().data_ptr() for t in [*m.parameters(), *m.buffers()] if t.numel()}
        for m in (model.student, model.teacher, full_copy(model.teacher))
    ]
    assert storages[0] & storages[1]  # the loop's teacher shares what is frozen
    assert not (storages[0] | storages[1]) & storages[2]


def test_an_objective_without_a_plain_form_is_named():
    with pytest.raises(TypeError, match='list has no plain form'):
        teach([], None)
