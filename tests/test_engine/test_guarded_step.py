"""An update that would do damage is not made: not in any part, not on any rank."""

import logging
import math
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.dist import all_gather_object
from mmengine.optim import OptimWrapper

from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper, GuardedStep, gradient_norm
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook
from projects.mask_caption_sft.ops.unwrapped import unwrapped
from tests.small_run import Seen, small_config, small_run
from tests.two_ranks import run_two_ranks


class ScaledWrapper(GuardedStep, OptimWrapper):
    """``AmpOptimWrapper`` as it is on a GPU, loss scaler included; that class refuses a CPU."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=4.0)
        self._scale_update_param = None

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def _make(self, **kwargs):
        self.loss_scaler.step(self.optimizer, **kwargs)


class AutocastWrapper(ScaledWrapper):
    """The same with the losses in half precision."""

    def __init__(self, *args, dtype, **kwargs):
        super().__init__(*args, **kwargs)
        self.dtype = getattr(torch, dtype)

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', self.dtype):
            yield


def wrapper_of(weight, kind=GuardedOptimWrapper, **kwargs):
    wrapper = kind(torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5), **kwargs)
    wrapper.initialize_count_status(torch.nn.Identity(), 0, 1000)
    return wrapper


@pytest.mark.parametrize('kind', [GuardedOptimWrapper, ScaledWrapper])
@pytest.mark.parametrize('where', ['loss', 'gradient'])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_neither_the_weight_nor_the_moments_move(kind, where, value):
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = wrapper_of(weight, kind)
    wrapper.update_params((weight**2).sum())
    assert wrapper.refusal is None
    before = weight.detach().clone(), [s.clone() for s in wrapper.optimizer.state[weight].values()]
    if where == 'gradient':  # the loss is finite, its gradient is not
        weight.register_hook(lambda gradient: gradient * value)
    wrapper.update_params((weight**2).sum() * (value if where == 'loss' else 1))
    assert wrapper.refusal.reason == f'the {where} is not finite'
    assert torch.equal(weight, before[0])
    assert all(map(torch.equal, wrapper.optimizer.state[weight].values(), before[1]))
    assert weight.grad is None


def test_a_scale_shrinks_after_an_overflow_or_it_would_overflow_for_ever():
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = wrapper_of(weight, ScaledWrapper)
    wrapper.update_params((weight * math.inf).sum())
    assert wrapper.loss_scaler.get_scale() == 2.0


def test_one_bad_iteration_of_an_update_refuses_all_of_it():
    weight = torch.nn.Parameter(torch.ones(1))
    wrapper = wrapper_of(weight, accumulative_counts=2)
    wrapper.update_params(weight.sum() * math.nan)
    wrapper.update_params(weight.sum())
    assert wrapper.refusal is not None
    assert weight.item() == 1
    wrapper.update_params(weight.sum())
    wrapper.update_params(weight.sum())
    assert weight.item() == pytest.approx(1 - 0.1 - 0.1 * 0.5)  # Adam's first step and the decay


def test_the_norm_is_that_of_all_gradients_and_not_finite_if_one_value_is_not():
    assert gradient_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]) == 5
    assert not torch.isfinite(gradient_norm([torch.ones(3), torch.tensor([1.0, math.nan])]))
    # In half precision 300^2 is already infinite; the norm is taken in float32.
    assert gradient_norm([torch.full((4,), 300.0, dtype=torch.float16)]) == 600
    assert gradient_norm([]) == 0


def losses_refused(losses, **kwargs):
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = wrapper_of(weight, **kwargs)
    refused = []
    for number, loss in enumerate(losses):
        wrapper.update_params(weight.sum() * 0 + loss)
        if wrapper.refusal:
            refused.append((number, wrapper.refusal.reason))
    return refused


def test_a_spike_is_judged_against_the_losses_before_it():
    """Losses 1, 2, 3 in turn: median 2, median deviation 1; the limit is 2 + 5 * 1.4826 = 9.413."""
    steady = [1.0, 2.0, 3.0] * 10
    assert losses_refused([*steady, 9.4, 9.5, 2.0], spike_threshold=5.0) == [
        (31, 'the loss 9.5 is a spike, above 9.413')
    ]
    assert losses_refused([*steady, 9e9]) == []  # off by default
    assert losses_refused([1.0] * 19 + [9e9], spike_threshold=5.0) == []  # too few to judge by
    with pytest.raises(ValueError, match=r'spike_threshold=0 is not positive\. Set it to a number'):
        losses_refused([], spike_threshold=0)


# ---------------------------------------------------------------- a run


def state_of(runner):
    values = [*runner.model.state_dict().values()]
    for state in runner.optim_wrapper.optimizer.state.values():
        values += [value for value in state.values() if torch.is_tensor(value)]
    return values


def ids_of(seen):
    return [int(name) for ids in seen.ids for name in ids]


@pytest.mark.parametrize('counts', [1, 2])
def test_all_parts_of_a_run_stand_still_together_and_the_log_names_the_samples(tmp_path, counts, capsys):
    _, seen = small_run(tmp_path / 'look', 5 * counts)
    bad = ids_of(seen)[3 * counts]
    runner, seen = small_run(tmp_path / 'run', 5 * counts, losses={bad: math.nan}, accumulative_counts=counts)
    said = capsys.readouterr().out
    assert f'No update at iteration {4 * counts}: the loss is not finite. Its samples: ' in said
    assert said.split('Its samples: ')[1].split()[0].endswith(f'/{bad}')
    before, after = (read_checkpoint(tmp_path / f'run/iter_{n * counts}.pth') for n in (3, 4))
    for name, tensor in before['state_dict'].items():  # student and teacher
        assert torch.equal(tensor, after['state_dict'][name])
    for number, state in before['optimizer']['state'].items():
        assert all(torch.equal(after['optimizer']['state'][number][name], state[name]) for name in state)
    # Each iteration is one step of the ramp; those of the refused update are trained at again.
    assert seen.rates[4 * counts :] == seen.rates[3 * counts : 4 * counts]
    assert len(set(seen.rates)) == 4 * counts
    assert runner.message_hub.get_info('refused_updates') == 1


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_in_half_precision_a_refused_update_is_said_and_counted_too(tmp_path, capsys, dtype):
    """MMEngine's wrapper leaves it out as well, without a word."""

    def run(name, max_iters, losses=None):
        config = small_config(tmp_path / name, max_iters, losses=losses)
        config.optim_wrapper.update(type=AutocastWrapper, dtype=dtype)
        runner = TrainingRunner.from_cfg(config)
        runner.train()
        return runner, Seen.runs[-1]

    _, seen = run('look', 4)
    bad = ids_of(seen)[2]
    runner, _ = run('run', 4, {bad: math.nan})
    assert runner.optim_wrapper.optimizer.state  # the other updates are made
    said = capsys.readouterr().out
    assert re.findall('No update at iteration 3: the loss is not finite. Its samples: .*/(.*)', said) == [
        str(bad)
    ]
    assert runner.message_hub.get_info('refused_updates') == 1
    before, after, last = (read_checkpoint(tmp_path / f'run/iter_{n}.pth')['state_dict'] for n in (2, 3, 4))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(after['student.weight'], last['student.weight'])
    assert not torch.equal(after['teacher.weight'], last['teacher.weight'])


def test_a_resumed_run_knows_of_the_refusals_before(tmp_path):
    _, seen = small_run(tmp_path / 'look', 6)
    losses = {ids_of(seen)[1]: math.nan}
    whole, whole_seen = small_run(tmp_path / 'whole', 6, losses=losses, spike_threshold=50.0)
    again, again_seen = small_run(
        tmp_path / 'again', 6, losses=losses, spike_threshold=50.0, resume=True,
        load_from=str(tmp_path / 'whole/iter_3.pth'),
    )  # fmt: skip
    assert again_seen.rates == whole_seen.rates[3:]
    assert all(map(torch.equal, state_of(whole), state_of(again)))
    assert list(again.optim_wrapper.accepted) == list(whole.optim_wrapper.accepted)
    assert again.message_hub.get_info('refused_updates') == 1


def test_after_so_many_in_a_row_the_run_stops_and_the_last_finite_checkpoint_is_still_there(tmp_path):
    _, seen = small_run(tmp_path / 'look', 12)
    losses = dict.fromkeys(ids_of(seen)[3:], math.nan)
    with pytest.raises(RuntimeError, match='4 updates in a row were refused, the last at iteration 7'):
        small_run(tmp_path / 'run', 12, losses=losses, max_in_row=4, checkpoint=dict(max_keep_ckpts=1))
    (kept,) = (tmp_path / 'run').glob('iter_*.pth')
    state = torch.load(kept, weights_only=True)['state_dict']
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_weights_that_became_nan_by_other_means_push_no_checkpoint_out(tmp_path):
    runner, _ = small_run(tmp_path / 'run', 2, checkpoint=dict(max_keep_ckpts=1))
    hook = next(hook for hook in runner.hooks if isinstance(hook, TrainedCheckpointHook))
    runner.model.student.weight.data.fill_(math.nan)
    with pytest.raises(RuntimeError, match=r'not finite at iteration 3 .*last finite one is .*iter_2\.pth'):
        hook.save_now(runner)
    assert [path.name for path in (tmp_path / 'run').glob('iter_*.pth')] == ['iter_2.pth']


def test_a_wrapper_without_a_guard_is_refused(tmp_path):
    config = small_config(tmp_path / 'run')
    config.optim_wrapper.pop('spike_threshold')
    config.optim_wrapper.type = OptimWrapper
    with pytest.raises(TypeError, match='optim_wrapper is OptimWrapper, which makes updates of NaN'):
        TrainingRunner.from_cfg(config).train()


# ---------------------------------------------------------------- two ranks


def both_refuse(rank: int, folder: str) -> None:
    """Only rank 1 has a loss that is not finite, in a process group without DDP's sum of gradients."""
    weight = torch.nn.Parameter(torch.ones(1))
    wrapper = wrapper_of(weight)
    wrapper.update_params(weight.sum() * (math.nan if rank == 1 else 1.0))
    assert wrapper.refusal.reason == 'the loss is not finite'
    assert weight.item() == 1
    wrapper.update_params(weight.sum())
    assert wrapper.refusal is None


@pytest.mark.slow
def test_a_rank_with_a_good_loss_refuses_with_the_other(tmp_path):
    run_two_ranks(both_refuse, tmp_path)


def one_poisons_both(rank: int, folder: str) -> None:
    """In a real run, DDP included: what rank 1 draws second has a loss of NaN."""
    _, seen = small_run(Path(folder) / 'look', 2, launcher='pytorch')
    drawn = all_gather_object(ids_of(seen))
    losses = {drawn[1][1]: math.nan}
    runner, _ = small_run(Path(folder) / 'run', 2, losses=losses, launcher='pytorch')
    assert runner.message_hub.get_info('refused_updates') == 1
    before = read_checkpoint(Path(folder) / 'run' / 'iter_1.pth')
    mine = unwrapped(runner.model).state_dict()
    assert all(torch.equal(before['state_dict'][name], tensor) for name, tensor in mine.items())
    moments = runner.optim_wrapper.optimizer.state_dict()['state']
    for number, state in before['optimizer']['state'].items():
        assert all(torch.equal(moments[number][name], state[name]) for name in state)
    if rank == 0:
        (Path(folder) / 'bad').write_text(str(drawn[1][1]))
    logging.shutdown()


@pytest.mark.slow
def test_a_nan_on_one_rank_leaves_both_as_they_were_and_the_first_ranks_log_names_the_sample(tmp_path):
    run_two_ranks(one_poisons_both, tmp_path)
    (log,) = (tmp_path / 'run').glob('*/*.log')
    refusals = re.findall(
        'No update at iteration 2: the loss is not finite. Its samples: (.*)', log.read_text()
    )
    assert refusals == [f'{tmp_path}/numbers/{(tmp_path / "bad").read_text()}']
