"""The 4B run's own settings on a miniature: everything the tiny run leaves out, at once.

A base in bfloat16, autocast, activation checkpointing, four iterations per update, LoRA dropout, sampled
points, images of different numbers of tiles, K captions, two ranks. Its vocabulary is in
test_4b_vocabulary.py, its optimizer and hooks are in test_4b_run.py.
Only the thresholds on IoU are lowered: no mask of random weights reaches them, and nothing would be taught.
"""

import copy
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.step import Step
from projects.mask_caption_sft.ops.precision import without_gradient
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.miniature import bfloat16_base, miniature_batch, miniature_sample, released_sa2va
from tests.two_ranks import run_two_ranks

CONFIG = Config.fromfile('configs/mask_caption_sft_4b.py')
#: The least cosine between bf16's gradient and float32's over a group's tensors. Measured: 0.977 to
#: 0.999 for LoRA and projector, over draws of captions and dropout; 0.996 for the mask decoder, 0.969 to
#: 0.993 for text_hidden_fcs.
GROUPS = {'lora_': 0.95, 'multi_modal_projector': 0.95, 'mask_decoder': 0.98, 'text_hidden_fcs': 0.95}


def miniature_4b(
    base_dtype: str | None = None, shard_frozen: bool = False, sa2va: Sa2VA | None = None
) -> MaskCaptionSFT:
    """The model that the 4B config declares, with a few thousand weights; its base as the config has it.

    ``sa2va`` is one with another vocabulary.
    """
    settings = copy.deepcopy(CONFIG.model)
    declared = settings.pop('sa2va')
    assert declared['activation_checkpointing']
    assert declared['lora']['lora_dropout'] == 0.05
    settings.pop('type')
    settings.update(shard_frozen=shard_frozen)
    settings['objectives']['best_of_k'].update(margin_iou=-1.0, min_iou=0.0)
    settings['objectives']['segment_captions'].update(gate_iou=1e-6)
    sa2va = sa2va or released_sa2va(
        base_dtype or declared['base_dtype'],
        lora=dict(r=4, lora_alpha=8, lora_dropout=declared['lora']['lora_dropout']),
        activation_checkpointing=True,
    )
    # One candidate is the best by far: a predicted IoU rounded otherwise would pick another mask.
    with torch.no_grad():
        sa2va.grounding_encoder.mask_decoder.iou_prediction_head.proj_out.bias[2] += 3.0
    return MaskCaptionSFT(sa2va, **settings).train()


def batch_of(number: int):
    """Two images of 3 and 1 tiles, two regions without a text and one with."""
    return collate_regions(
        [
            miniature_sample(f'a{number}', [None, None], 'sa1b', seed=2 * number, num_tiles=3),
            miniature_sample(f'b{number}', ['a red shirt.'], 'refcoco', seed=2 * number + 1),
        ]
    )['batch']


class CPUAmpOptimWrapper(OptimWrapper):
    """MMEngine's ``AmpOptimWrapper`` as it is on a GPU; that class refuses a CPU."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def wrapper_for(model) -> OptimWrapper:
    declared = CONFIG.optim_wrapper
    trained = [p for p in model.parameters() if p.requires_grad]
    wrapper = CPUAmpOptimWrapper(
        torch.optim.AdamW(trained, lr=1e-3),
        accumulative_counts=declared.accumulative_counts,
        clip_grad=dict(declared.clip_grad),
    )
    wrapper.initialize_count_status(model, 0, 100)
    return wrapper


# ---------------------------------------------------------------- gradients


def gradients(model: MaskCaptionSFT, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Of one batch, with the same captions, dropout and points whatever the precision."""
    torch.manual_seed(0)
    batch = batch_of(0)
    with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
        total, _ = model.parse_losses(model.loss(batch))
    total.backward()
    return {n: p.grad for n, p in model.student.named_parameters() if p.grad is not None}


@pytest.fixture(scope='module')
def all_gradients():
    """Of three models that say the same and are judged the same; all have the values of the same base.

    In float32 throughout; under bf16 autocast with the base in bfloat16, as the config declares it; and under
    autocast with the base in float32. Captions and IoUs are given: one rounded otherwise picks another
    caption, which is another gradient.
    """
    exact, short, float32_base = miniature_4b('float32'), miniature_4b(), miniature_4b('float32')
    assert short.student.needs_autocast
    views1, _ = exact.student.look(batch_of(0))
    captions = exact.student.describe(views1[torch.tensor([0, 1])], 32, exact.num_captions, exact.sampling)
    assert len(captions) == 8
    for model in (exact, short, float32_base):
        # The first lines of the real call run too: they must leave nothing behind for later passes.
        write = model.student.describe
        model.student.describe = lambda *args, write=write: write(*args) and captions
    judge = Step.candidate_iou.func
    given = torch.tensor([[0.1, 0.1], [0.2, 0.3], [0.3, 0.2], [0.1, 0.1]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, 'candidate_iou', property(lambda step: judge(step) * 0 + given))
        autocast = torch.bfloat16
        return gradients(exact, None), gradients(short, autocast), gradients(float32_base, autocast)


@pytest.fixture(scope='module')
def both(all_gradients):
    """In float32, and as the config declares."""
    return all_gradients[:2]


def test_every_trained_tensor_gets_a_gradient_under_bf16(both):
    """On torch 2.10 and older autocast's cache takes it from all of LoRA and most of the projector."""
    exact, short = both
    trained = {n for n, p in miniature_4b().student.named_parameters() if p.requires_grad}
    without = {n for n in trained if n not in short or not short[n].any()}
    assert without == {n for n in trained if n not in exact or not exact[n].any()}
    assert all('mask_decoder' in name for name in without)
    assert sum('lora_' in name for name in short) == 28  # 2 layers x 7 matrices x 2


@pytest.mark.parametrize('group', GROUPS)
def test_the_gradient_under_bf16_points_where_float32s_does(both, group):
    exact, short = (
        torch.cat([g.flatten() for n, g in sorted(found.items()) if group in n]) for found in both
    )
    cosine = torch.nn.functional.cosine_similarity(exact, short, dim=0).item()
    assert cosine > GROUPS[group]
    assert short.norm().item() == pytest.approx(exact.norm().item(), rel=0.2)


def test_a_base_in_bfloat16_gives_the_same_gradients_as_one_in_float32(all_gradients):
    """Bit for bit: autocast would cast the same weights, and everything else is computed in float32."""
    _, short, float32_base = all_gradients
    assert short.keys() == float32_base.keys()
    assert [name for name in short if not torch.equal(short[name], float32_base[name])] == []


# ---------------------------------------------------------------- autocast's cache


def test_a_pass_without_gradient_leaves_autocasts_cache_alone():
    weight, data = torch.nn.Parameter(torch.ones(2, 2)), torch.ones(2, 2)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.is_autocast_cache_enabled()
        with without_gradient():
            assert not torch.is_autocast_cache_enabled()
            assert torch.is_autocast_enabled('cpu')
            assert (data @ weight).dtype == torch.bfloat16
            assert not torch.is_grad_enabled()
        assert torch.is_autocast_cache_enabled()
        (data @ weight).float().sum().backward()
    assert weight.grad is not None


def test_whatever_runs_without_gradient_runs_beside_the_cache():
    """Looking, describing, judging, scoring at the start, reading signals: seen from inside every layer."""
    model = miniature_4b()
    seen: dict[bool, set[bool]] = {True: set(), False: set()}
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(
                lambda *_: seen[torch.is_grad_enabled()].add(torch.is_autocast_cache_enabled())
            )
    with torch.autocast('cpu', torch.bfloat16):
        model.loss(batch_of(0))
    assert seen == {True: {True}, False: {False}}


def test_the_kl_to_the_start_sees_the_start_under_autocast():
    """The cast of the trained projector must not stand in for the first one."""
    student = miniature_4b('float32').eval().student  # to be compared with passes outside autocast
    answers, batch = student.text.encode_answers(['a red shirt.', 'the dog']), miniature_batch([None, None])
    parameters = dict(student.named_parameters())
    with torch.no_grad():
        for name in parameters:
            if 'lora_B' in name:
                parameters[name].zero_()
        start = student.score(student.look(batch)[0], answers).logits
        for name in parameters:
            if 'multi_modal_projector' in name:
                parameters[name].add_(0.3 * torch.randn(parameters[name].shape))
        moved = student.score(student.look(batch)[0], answers).logits
    with torch.autocast('cpu', torch.bfloat16):
        views1, _ = student.look(batch)
        student.score(views1, answers)  # with gradient: fills the cache
        found = student.score_at_start(views1, answers).logits
    to_start, to_moved = ((found.float() - logits).abs().mean() for logits in (start, moved))
    assert to_start < 0.2 * to_moved


# ---------------------------------------------------------------- two ranks, four iterations per update


def work(rank: int, folder: str, shard_frozen: bool = False) -> None:
    torch.manual_seed(rank)
    model = miniature_4b(shard_frozen=shard_frozen)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ddp = MMDistributedDataParallel(model, device_ids=None, find_unused_parameters=True)
    wrapper, hook = wrapper_for(model), TeacherEMAHook(momentum=0.001)
    runner = type('Runner', (), dict(model=ddp, optim_wrapper=wrapper))
    hook.before_run(runner)
    moved = []
    for iteration in range(4):
        logged = ddp.train_step(dict(batch=batch_of(2 * iteration + rank)), wrapper)
        hook.after_train_iter(runner, iteration)
        assert all(torch.isfinite(value).all() for value in logged.values())
        moved.append(any(not torch.equal(before[n], t) for n, t in model.state_dict().items()))
    torch.save((model.state_dict(), before, moved), f'{folder}/rank{rank}.pt')


@pytest.mark.slow
def test_two_ranks_update_together_once_in_four_iterations_and_the_teacher_follows(tmp_path):
    bfloat16_base()  # one for both
    run_two_ranks(work, tmp_path)
    (first, before, moved), (second, _, _) = (torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1))
    assert moved == [False, False, False, True]
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    changed = [n for n in first if n.startswith('student.') and not torch.equal(first[n], before[n])]
    assert sum('lora_' in name for name in changed) == 28
    for name in changed:
        teacher = name.replace('student.', 'teacher.')
        expected = before[teacher] + 0.001 * (first[name] - before[teacher])
        torch.testing.assert_close(first[teacher], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_two_ranks_that_share_a_base_in_parts_train_to_the_same_weights(tmp_path):
    """With dropout, accumulation and autocast: student and teacher are bit-equal, on each rank."""
    bfloat16_base()
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    for folder in (whole, parts):
        folder.mkdir()
    run_two_ranks(work, whole)
    run_two_ranks(partial(work, shard_frozen=True), parts)
    for rank in (0, 1):
        expected, found = (torch.load(folder / f'rank{rank}.pt')[0] for folder in (whole, parts))
        assert expected.keys() == found.keys()
        assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []


# ---------------------------------------------------------------- a base in bfloat16


def test_what_is_trained_is_float32_in_student_teacher_and_start():
    model = miniature_4b()
    trained = {name for name, p in model.student.named_parameters() if p.requires_grad}
    for side in (model.student, model.teacher):
        parameters = dict(side.named_parameters())
        assert {parameters[name].dtype for name in trained} == {torch.float32}
    assert {tensor.dtype for tensor in model.student.start_weights._tensors.values()} == {torch.float32}
    assert any(p.dtype == torch.bfloat16 for p in model.teacher.parameters())


def test_the_teacher_moves_by_a_thousandth_of_the_gap():
    """In bfloat16 it would stay where it is: a step of 0.001 is below its rounding."""
    model = miniature_4b()
    wrapper, hook = wrapper_for(model), TeacherEMAHook(momentum=0.001)
    hook.before_run(type('Runner', (), dict(model=model, optim_wrapper=wrapper)))
    before = {name: p.clone() for name, p in model.teacher.named_parameters()}
    with torch.no_grad():
        for parameter in model.student.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    hook.step()
    for name, parameter in model.student.named_parameters():
        moved = dict(model.teacher.named_parameters())[name] - before[name]
        assert torch.equal(moved.bool().any(), torch.tensor(parameter.requires_grad)), name
        if parameter.requires_grad:
            assert moved.mean().item() == pytest.approx(1e-5, rel=0.01)  # 0.001 * 0.01


def test_one_step_trains_and_validation_and_resume_follow(tmp_path):
    torch.manual_seed(0)
    model = miniature_4b()
    wrapper = wrapper_for(model)
    for iteration in range(4):
        with wrapper.optim_context(model):
            losses = model(batch_of(iteration), mode='loss')
        total, _ = model.parse_losses(losses)
        wrapper.update_params(total)
    torch.save(model.state_dict(), tmp_path / 'state.pth')
    resumed = miniature_4b()
    resumed.load_state_dict(torch.load(tmp_path / 'state.pth'))
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}
    first, second = (m.eval()(batch_of(0), mode='predict') for m in (model, resumed))
    assert len(first) == 3
    for one, other in zip(first, second):
        assert one.caption == other.caption
        assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)


def test_training_without_autocast_is_refused_with_both_settings():
    with pytest.raises(
        ValueError, match=r'base_dtype.*needs bf16 autocast, but this optim_wrapper runs without'
    ):
        miniature_4b()(batch_of(0), mode='loss')


def test_validation_without_autocast_is_refused_with_both_settings():
    with pytest.raises(
        ValueError, match=r"predict_dtype=None runs without\. Set model\.predict_dtype='bfloat16'"
    ):
        MaskCaptionSFT(released_sa2va(), {}, predict_dtype=None)
    MaskCaptionSFT(released_sa2va('float32'), {}, predict_dtype=None)
