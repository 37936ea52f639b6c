"""The two-stage loop: who learns from what."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.loop.bridges import DetachedBridge, SoftTokenBridge, StraightThroughBridge
from projects.mask_caption_sft.loop.objectives import (
    HumanExpressions,
    NearStart,
    TeacherIoU,
)
from projects.mask_caption_sft.loop.predict import upsample_mask
from projects.mask_caption_sft.structures import BrokenRecord
from tests.miniature import (
    double_sa2va,
    miniature_batch,
    miniature_model,
    miniature_sa2va,
    objectives,
)

WITHOUT_TEXT = [None, None]


def through(bridge) -> dict:
    """Nothing but the teacher's IoU."""
    return dict(teacher_iou=TeacherIoU(bridge))


def total_loss(model, batch):
    return model.parse_losses(model.loss(batch))[0]


def gradients(model, batch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    total_loss(model, batch).backward()
    return {n: p.grad.clone() for n, p in model.student.named_parameters() if p.grad is not None}


def lora_gradient(grads, layer: int = 0) -> float:
    found = [g.abs().max().item() for n, g in grads.items() if f'layers.{layer}.' in n and 'lora_B' in n]
    return max(found, default=0.0)


@pytest.mark.parametrize('bridge', [SoftTokenBridge(), StraightThroughBridge()])
def test_the_teachers_iou_reaches_the_students_first_layer_and_no_teacher_weight(bridge):
    model = miniature_model(objectives=through(bridge))
    grads = gradients(model, miniature_batch(WITHOUT_TEXT))
    assert lora_gradient(grads, layer=0) > 0
    assert all(
        p.grad is None and not p.requires_grad for n, p in model.teacher.named_parameters() if 'lora' in n
    )


def test_with_the_caption_detached_the_gradient_is_exactly_zero():
    model = miniature_model(objectives=through(DetachedBridge()))
    losses = model.loss(miniature_batch(WITHOUT_TEXT))
    assert losses['loss_iou'] > 0
    losses['loss_iou'].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.student.parameters())


def test_the_gradient_through_the_whole_loop_agrees_with_finite_differences():
    student = double_sa2va()
    model = miniature_model(sa2va=student, objectives=through(SoftTokenBridge(1.0, 10_000)))
    batch = miniature_batch([None])
    batch.pixel_values = batch.pixel_values.double()
    model.eval()  # the caption is written once for all: it must not change under the probe
    captions = model.student.describe(model.student.look(batch)[0], 5)
    model.student.describe = lambda *args, **kwargs: captions
    parameter = next(p for n, p in student.named_parameters() if 'layers.0.self_attn.v_proj.lora_B' in n)
    total_loss(model, batch).backward()
    direction = parameter.grad / parameter.grad.norm()
    step, values = 1e-4, []
    with torch.no_grad():
        for sign in (1, -1):
            parameter += sign * step * direction
            values.append(total_loss(model, batch).item())
            parameter -= sign * step * direction
    measured = (values[0] - values[1]) / (2 * step)
    assert measured == pytest.approx(parameter.grad.norm().item(), rel=1e-6)


def test_activation_checkpointing_leaves_the_gradients_as_they_are():
    plain = miniature_model(sa2va=miniature_sa2va())
    saving = miniature_model(sa2va=miniature_sa2va(activation_checkpointing=True))
    batch = miniature_batch()
    expected, found = gradients(plain.train(), batch), gradients(saving.train(), batch)
    assert lora_gradient(expected) > 0
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_the_teacher_recomputes_nothing_and_so_keeps_what_it_has_read():
    """Layers that recompute drop the keys and values of the images, with a warning once."""
    model = miniature_model(sa2va=miniature_sa2va(activation_checkpointing=True)).train()
    layers = {name: getattr(model, name).language_model.layers for name in ('student', 'teacher')}
    assert all(layer.gradient_checkpointing for layer in layers['student'])
    assert not any(layer.gradient_checkpointing or layer.training for layer in layers['teacher'])
    model.loss(miniature_batch())
    assert all(layer.gradient_checkpointing and layer.training for layer in layers['student'])


def test_the_teacher_stays_in_eval_mode_when_the_loop_calls_train():
    model = miniature_model(sa2va=miniature_sa2va(lora=dict(r=4, lora_dropout=0.5))).train()
    modules = [m for m in model.teacher.modules() if isinstance(m, torch.nn.Dropout)]
    assert modules
    assert not any(m.training for m in modules)
    assert any(m.training for m in model.student.modules() if isinstance(m, torch.nn.Dropout))


@pytest.mark.parametrize(
    'batch',
    [
        miniature_batch(['the red circle', 'the blue square']),
        miniature_batch(WITHOUT_TEXT),
        collate_regions([BrokenRecord('sav', 'a.npz', 'gone')])['batch'],
    ],
    ids=['no mask without text', 'no human expression', 'nothing at all'],
)
def test_every_batch_gives_finite_losses_with_a_graph(batch):
    model = miniature_model()
    losses = model.loss(batch)
    for name in (name for name in losses if name.startswith('loss_')):
        assert torch.isfinite(losses[name])
        assert losses[name].requires_grad, name
    total = total_loss(model, batch)
    assert torch.isfinite(total)
    total.backward()


def test_a_loss_without_an_item_is_left_out_of_the_log():
    human, masks = ({*miniature_model().loss(miniature_batch(t))} for t in (['the red circle'], WITHOUT_TEXT))
    assert {n for n in human if n.startswith('loss_')} == {
        'loss_caption', 'loss_dice', 'loss_iou', 'loss_llm', 'loss_mask',
    }  # fmt: skip
    assert {n for n in masks if n.startswith('loss_')} == {
        'loss_dice', 'loss_iou', 'loss_kl', 'loss_llm', 'loss_mask',
    }  # fmt: skip
    model = miniature_model()
    _, logged = model.parse_losses(model.loss(collate_regions([])['batch']))
    assert logged.keys() == {'loss'}


def test_an_empty_mask_gives_finite_losses():
    batch = miniature_batch()
    batch.masks2 = [torch.zeros_like(mask) for mask in batch.masks2]
    assert torch.isfinite(total_loss(miniature_model(), batch))


def test_an_expression_that_fits_nothing_teaches_the_segmenter_and_no_caption():
    model, batch = miniature_model(), miniature_batch(['the red one', 'the white cat'])
    before = model.loss(batch)
    batch.masks1[1], batch.masks2[1] = torch.zeros_like(batch.masks1[1]), torch.zeros_like(batch.masks2[1])
    batch.visual_prompts[1] = False
    losses = model.loss(batch)
    assert all(torch.isfinite(value).all() for value in losses.values() if isinstance(value, torch.Tensor))
    alone = model.loss(miniature_batch(['the red one']))
    assert losses['loss_caption'].item() == pytest.approx(alone['loss_caption'].item(), rel=1e-4)
    assert losses['loss_mask'].item() != before['loss_mask'].item()


def test_a_region_with_an_expression_is_not_described():
    model = miniature_model()
    described = []
    write = model.student.describe
    model.student.describe = lambda views, *args: described.append(len(views)) or write(views, *args)
    model.loss(miniature_batch(WITHOUT_TEXT, ['the red circle']))
    assert described == [2]


def test_frozen_encoders_run_once_per_distinct_image():
    model = miniature_model()
    seen = []
    for encoder in (
        model.student.mllm.model.vision_tower,
        model.student.grounding_encoder.vision_encoder,
    ):
        encoder.register_forward_hook(lambda m, i, o: seen.append(1))
    # The teacher has the same two, so that its calls would be counted.
    assert model.teacher.mllm.model.vision_tower is model.student.mllm.model.vision_tower
    assert model.teacher.grounding_encoder.vision_encoder is model.student.grounding_encoder.vision_encoder
    batch = miniature_batch([None, None], ['the red circle'])
    assert len(batch.num_tiles) == 4  # two samples, two views each; three regions
    model.loss(batch)
    assert len(seen) == 2


def test_the_kl_to_the_start_is_zero_at_the_start_and_grows():
    student = miniature_sa2va()
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if 'lora_B' in name:
                parameter.zero_()
    model = miniature_model(sa2va=student, objectives=dict(near_start=NearStart()))
    assert model.loss(miniature_batch(WITHOUT_TEXT))['loss_kl'].item() == pytest.approx(0, abs=1e-7)
    with torch.no_grad():
        next(iter(student.projector.parameters())).add_(0.5)
    assert model.loss(miniature_batch(WITHOUT_TEXT))['loss_kl'] > 1e-6


def test_without_objectives_on_captions_only_human_expressions_teach():
    model = miniature_model(objectives=dict(human=HumanExpressions()))
    alone = total_loss(model, miniature_batch(['the red circle']))
    seen = []
    model.student.grounding_encoder.vision_encoder.register_forward_hook(
        lambda m, i, o: seen.append(len(i[0]))
    )
    mixed = total_loss(model, miniature_batch(['the red circle'], WITHOUT_TEXT))
    torch.testing.assert_close(alone, mixed)
    assert seen == [2]  # the other sample's two images are not even looked at


def test_the_student_can_take_the_teachers_place():
    model = miniature_model(segment_with='student', objectives=through(SoftTokenBridge()))
    grads = gradients(model, miniature_batch(WITHOUT_TEXT))
    assert any('mask_decoder' in name for name in grads)
    with pytest.raises(ValueError, match="segment_with='nobody' is not one of"):
        miniature_model(segment_with='nobody')


def test_one_hundredth_of_the_weight_gives_one_hundredth_of_the_loss():
    heavy, light = (
        miniature_model(segmentation_losses=dict(num_points=0, dice_weight=weight)).loss(miniature_batch())
        for weight in (1.0, 0.01)
    )
    torch.testing.assert_close(light['loss_dice'], heavy['loss_dice'] / 100)


def test_only_losses_are_summed_and_datasets_are_logged():
    model = miniature_model().train()
    losses = model.loss(miniature_batch())
    total, logged = model.parse_losses(losses)
    torch.testing.assert_close(total, sum(v for n, v in losses.items() if n.startswith('loss_')))
    assert {
        'sav/loss_iou',
        'refcoco/loss_iou',
        'signal/shuffled_iou',
        'signal/blank_iou',
    } <= logged.keys()
    assert logged['sav/caption_iou'] == logged['signal/caption_iou']


def test_an_objective_that_is_none_is_left_out():
    assert miniature_model(objectives=objectives(near_start=None)).objectives.keys() == {
        'teacher_iou', 'segment_captions', 'human_expressions',
    }  # fmt: skip


def test_a_caption_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match='max_caption_len=9999 does not fit'):
        miniature_model(max_caption_len=9999)


def test_training_on_one_batch_lowers_its_loss():
    model = miniature_model(sa2va=miniature_sa2va()).train()
    wrapper = OptimWrapper(torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-2))
    batch = miniature_batch()
    values = [model.train_step({'batch': batch}, wrapper)['loss'].item() for _ in range(15)]
    assert values[-1] < 0.8 * values[0]


def test_prediction_has_every_mask_at_the_size_of_the_truth():
    model = miniature_model().eval()
    batch = miniature_batch(WITHOUT_TEXT, ['the red circle'])
    predictions = model(batch, mode='predict')
    assert [sorted(p.masks) for p in predictions[:1]] == [
        ['caption', 'caption_blank', 'caption_same_view', 'caption_shuffled']
    ]
    assert sorted(predictions[2].masks) == ['caption', 'expression']
    assert all(
        m.shape == p.mask2.shape and m.dtype == torch.bool for p in predictions for m in p.masks.values()
    )
    assert [len(p.confusers) for p in predictions] == [2, 2, 1]
    assert [p.confuser_index for p in predictions] == [0, 1, 0]


def test_many_regions_are_predicted_in_parts_with_the_same_result(monkeypatch):
    model = miniature_model().eval()
    batch = miniature_batch([None] * 3, ['the red circle', 'star'])
    whole = model(batch, mode='predict')
    monkeypatch.setattr('projects.mask_caption_sft.loop.predict.REGIONS_AT_ONCE', 2)
    sizes = []
    segment = model.student.segment
    model.student.segment = lambda views, *args: sizes.append(len(views)) or segment(views, *args)
    parts = model(batch, mode='predict')
    assert max(sizes) == 2
    for first, second in zip(whole, parts):
        assert first.caption == second.caption
        assert first.masks.keys() == second.masks.keys()
        assert all(torch.equal(first.masks[name], second.masks[name]) for name in first.masks)


@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_validation_runs_in_the_type_that_is_asked_for(dtype):
    model = miniature_model(predict_dtype=dtype).eval()
    seen = []
    model.student.text_hidden_fcs[0].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    predictions = model(miniature_batch(), mode='predict')
    assert set(seen) == {getattr(torch, dtype or 'float32')}
    assert all(mask.dtype == torch.bool for p in predictions for mask in p.masks.values())


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_validation_looks_at_the_side_that_is_asked_for(side):
    model = miniature_model(predict_with=side).eval()
    asked = []
    for name in ('student', 'teacher'):
        describe = getattr(model, name).describe
        getattr(model, name).describe = lambda *args, n=name, d=describe, **kwargs: (
            asked.append(n) or d(*args, **kwargs)
        )
    model(miniature_batch(), mode='predict')
    assert set(asked) == {side}
    assert model.predictor is getattr(model, side)


def test_a_type_that_autocast_does_not_have_is_named():
    with pytest.raises(ValueError, match=r"predict_dtype='int8' is not one of None, 'bfloat16'"):
        miniature_model(predict_dtype='int8')


def test_the_controls_are_another_regions_caption_and_none():
    model = miniature_model(predict_answers='given').eval()
    student = model.student
    batch = miniature_batch(WITHOUT_TEXT)
    written = student.text.encode_answers(['the red circle', 'star'])
    student.describe = lambda *args, **kwargs: written
    predictions = model(batch, mode='predict')
    _, views2 = student.look(batch)
    for name, texts in (
        ('caption', ['the red circle', 'star']),
        ('caption_shuffled', ['star', 'the red circle']),
        ('caption_blank', ['', '']),
    ):
        logits = student.segment(views2, student.embed_captions(texts)).mask_logits
        for row, prediction in enumerate(predictions):
            expected = upsample_mask(logits[row], 128, prediction.mask2.shape)
            assert torch.equal(prediction.masks[name], expected), name
    assert not torch.equal(predictions[0].masks['caption'], predictions[0].masks['caption_shuffled'])


def test_checkpoints_hold_what_is_trained_and_refuse_another_model():
    model = miniature_model()
    state = copy.deepcopy(model.state_dict())
    trained = {n for n, p in model.student.named_parameters() if p.requires_grad}
    assert state.keys() == {f'{side}.{n}' for side in ('student', 'teacher') for n in trained}
    other = miniature_model(sa2va=miniature_sa2va(seed=1))
    other.load_state_dict(state)
    assert all(torch.equal(other.state_dict()[k], v) for k, v in state.items())
    del state[next(iter(state))]
    with pytest.raises(ValueError, match='1 missing'):
        other.load_state_dict(state)
