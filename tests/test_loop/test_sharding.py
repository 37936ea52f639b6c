"""A base split over ranks is the whole base: same losses, same gradients, whatever each rank has to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parallel import DistributedDataParallel

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.sa2va import frozen_shards
from projects.mask_caption_sft.sa2va.frozen_shards import frozen_matrices
from projects.mask_caption_sft.sa2va.meta import build_on_meta
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from tests.miniature import (
    SIZES,
    miniature_model,
    miniature_sa2va,
    miniature_sample,
    objectives,
    with_live_lora,
)
from tests.two_ranks import run_two_ranks

NOBODY: list[Any] = []


def image(texts: list[str | None], seed: int, num_tiles: int = 1):
    name = 'refcoco' if texts[0] else 'sav'
    return miniature_sample(f'{name}{seed}', texts, name, seed=seed, num_tiles=num_tiles)


#: What rank 0 and rank 1 have.
CASES = {
    'three to describe here, one text there': ([image([None] * 3, 1)], [image(['the red circle'], 2)]),
    'nothing here': (NOBODY, [image([None, None], 1, num_tiles=3), image(['the red circle'], 2)]),
    'three batches of like length here, one there': (
        [image([None], 1), image([None], 3, num_tiles=3), image(['a square'], 4, num_tiles=2)],
        [image([None, None], 2, num_tiles=2)],
    ),
    'nothing anywhere': (NOBODY, NOBODY),
}


def model_of(shard_frozen: bool, checkpointing: bool, **settings) -> MaskCaptionSFT:
    """Of three layers, with dropout, and three captions of which the best is taught."""
    sizes, lora = SIZES | dict(llm_layers=3), dict(r=4, lora_alpha=8, lora_dropout=0.05)
    sa2va = new_sa2va(0, sizes, lora=lora, activation_checkpointing=checkpointing)
    return miniature_model(
        sa2va=with_live_lora(sa2va, seed=0),
        objectives=objectives(best_of_k=BestOfK(margin_iou=-1.0, min_iou=0.0)),
        num_captions=3,
        shard_frozen=shard_frozen,
        **settings,
    ).train()


@dataclass
class Outcome:
    """Of one step on one rank.

    Attributes:
        logged: Losses and signals.
        gradients: By name.
        random: A number drawn afterwards.
        whole_layers: The most layers that were whole at a time; 0 where nothing is sharded.
    """

    logged: dict[str, Tensor]
    gradients: dict[str, Tensor]
    random: Tensor
    whole_layers: int


def outcome(model: MaskCaptionSFT, ddp: DistributedDataParallel, samples: list, seed: int) -> Outcome:
    torch.manual_seed(seed)
    model.zero_grad()
    with count_whole_layers() as counted:
        total, logged = model.parse_losses(ddp(collate_regions(samples)['batch'], mode='loss'))
        total.backward()
    gradients = {n: p.grad.clone() for n, p in model.student.named_parameters() if p.grad is not None}
    return Outcome(logged, gradients, torch.rand(1), max(counted, default=0))


@contextmanager
def count_whole_layers() -> Iterator[list[int]]:
    """Gathered layers that exist after each gathering, whoever holds them."""
    gather, seen, counts = frozen_shards.dist.all_gather_into_tensor, [], []

    def watched(whole: Tensor, share: Tensor, group: Any) -> None:
        seen.append(StorageWeakRef(whole.untyped_storage()))
        counts.append(sum(not storage.expired() for storage in seen))
        gather(whole, share, group=group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_shards.dist, 'all_gather_into_tensor', watched)
        yield counts


def work(rank: int, folder: str) -> None:
    leaves_alone(rank)
    torch.save(keeps(rank), f'{folder}/kept{rank}.pt')
    torch.save(steps(rank), f'{folder}/rank{rank}.pt')


def steps(rank: int) -> dict[tuple[str, bool], list[Outcome]]:
    outcomes = {}
    for checkpointing in (False, True):
        models = [model_of(shard_frozen, checkpointing) for shard_frozen in (False, True)]
        wrapped = [DistributedDataParallel(model, find_unused_parameters=True) for model in models]
        for seed, (name, samples) in enumerate(CASES.items()):
            outcomes[name, checkpointing] = [
                outcome(model, ddp, samples[rank], seed=10 * seed + rank)
                for model, ddp in zip(models, wrapped)
            ]
    return outcomes


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """What two ranks have found."""
    folder = tmp_path_factory.mktemp('ranks')
    run_two_ranks(work, folder)
    return folder


@pytest.fixture(scope='module')
def outcomes(folder):
    """Of both ranks, by case and recomputation: with the base whole, and in parts."""
    return [torch.load(folder / f'rank{rank}.pt', weights_only=False) for rank in (0, 1)]


every_case = pytest.mark.parametrize('name', CASES)
with_and_without_recomputation = pytest.mark.parametrize('checkpointing', [False, True])


@pytest.mark.slow
@every_case
@with_and_without_recomputation
def test_losses_and_gradients_are_bit_equal(outcomes, name, checkpointing):
    for rank in outcomes:
        whole, parts = rank[name, checkpointing]
        assert whole.logged.keys() == parts.logged.keys()
        assert whole.gradients.keys() == parts.gradients.keys()
        for kind in ('logged', 'gradients'):
            expected, found = getattr(whole, kind), getattr(parts, kind)
            assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
        if name != 'nothing anywhere':
            assert {'loss_mask', 'loss_best', 'signal/kl'} <= parts.logged.keys()
            assert any(parts.gradients[key].any() for key in parts.gradients if 'layers.0.' in key)


@pytest.mark.slow
@every_case
@with_and_without_recomputation
def test_passes_for_show_draw_no_random_numbers(outcomes, name, checkpointing):
    for rank in outcomes:
        whole, parts = rank[name, checkpointing]
        assert torch.equal(whole.random, parts.random)


@pytest.mark.slow
def test_one_layer_is_whole_at_a_time_forward_and_backward(outcomes):
    """Autograd keeps none of the three, neither in the student's pass nor in the teacher's, never recomputed.

    gloo may let go of a second one a moment later.
    """
    for rank in outcomes:
        for (name, _), (whole, parts) in rank.items():
            assert whole.whole_layers == 0
            assert parts.whole_layers in ([0] if name == 'nothing anywhere' else [1, 2])


# ---------------------------------------------------------------- what a rank keeps


def keeps(rank: int) -> dict[str, Any]:
    plain, model = (model_of(shard_frozen, checkpointing=False) for shard_frozen in (False, True))
    found = dict(
        matrices=sum(matrix_bytes(layer) for layer in plain.student.language_model.layers),
        kept=model.equal_passes.shards.num_bytes,
        before=frozen_bytes(plain),
        now=frozen_bytes(model),
        names=(list(plain.state_dict()), list(model.state_dict())),
        parameters=[n for n, p in model.named_parameters() if 'base_layer' in n],
    )
    # Saved whole, read in parts, and the other way round.
    with torch.no_grad():
        for parameter in plain.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    model.load_state_dict(plain.state_dict())
    plain.load_state_dict(model.state_dict())
    batch = collate_regions([image([None, None], seed=rank + 1)])['batch']
    with torch.no_grad():
        whole, parts = (one.eval()(batch, mode='predict') for one in (plain, model))
    model.equal_passes.finish()
    for one, other in zip(whole, parts):
        assert one.caption == other.caption
        assert all(torch.equal(one.masks[name], other.masks[name]) for name in one.masks)
    return found


def matrix_bytes(layer: nn.Module) -> int:
    return sum(p.nbytes for matrix in frozen_matrices(layer) for p in matrix.parameters())


def frozen_bytes(model: MaskCaptionSFT) -> int:
    return sum(p.nbytes for p in model.student.parameters() if not p.requires_grad)


@pytest.mark.slow
def test_each_rank_keeps_half_and_checkpoints_fit_both_ways(folder):
    for rank in (0, 1):
        found = torch.load(folder / f'kept{rank}.pt')
        assert found['before'] - found['now'] == found['matrices']
        # Three layers of 7 matrices and 3 biases, each padded by less than 16 bytes.
        assert 0 <= 2 * found['kept'] - found['matrices'] < 3 * 10 * 16
        assert found['names'][0] == found['names'][1]
        assert found['parameters'] == []


def test_a_single_process_keeps_the_base_whole():
    model = model_of(shard_frozen=True, checkpointing=False)
    assert model.equal_passes is None
    assert all(m.weight is not None for m in frozen_matrices(model.student.language_model))


def test_a_language_model_that_is_trained_throughout_has_nothing_to_share():
    sa2va = miniature_sa2va(lora=None, train_all=True)
    with pytest.raises(ValueError, match=r'without frozen weights\. Set model\.sa2va\.train_all=False'):
        miniature_model(sa2va=sa2va, shard_frozen=True)


@pytest.mark.parametrize('setting', ['merge_to_write', 'compile_to_write'])
def test_ways_of_writing_that_need_whole_weights_are_refused(setting):
    with pytest.raises(ValueError, match=r'shard_frozen=True does not go with model\.sa2va\.merge_to_write'):
        miniature_model(sa2va=miniature_sa2va(**{setting: True}), shard_frozen=True)


def test_most_of_the_4bs_frozen_bytes_are_shared():
    """36 layers x 77.1 million weights and biases in bfloat16 of 7.3 GiB."""
    settings = Config.fromfile('configs/mask_caption_sft_4b_sharded.py').model
    assert settings.shard_frozen
    student = build_on_meta(**{key: value for key, value in settings.sa2va.items() if key != 'base'})
    layers = [matrix_bytes(layer) for layer in student.language_model.layers]
    q_k_v_o = 2 * 2048 * 2048 + 2 * 2048 * 256 + 2048 + 2 * 256
    assert layers == [2 * (q_k_v_o + 3 * 2048 * 11008)] * 36
    assert sum(layers) / 2**30 == pytest.approx(5.17, abs=0.01)
    for num_ranks, saved in {2: 2.44, 4: 3.73, 8: 4.38}.items():
        kept = sum(layers) / num_ranks + layers[0]
        assert (sum(layers) - kept) / 2**30 == pytest.approx(saved, abs=0.01)


# ---------------------------------------------------------------- what DDP does


def leaves_alone(rank: int) -> None:
    model = miniature_model()
    frozen = [p for p in model.student.parameters() if not p.requires_grad]
    trained = [p for p in model.parameters() if not any(p is one for one in frozen)]  # the teacher's too
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    with torch.no_grad():
        for tensor in (*frozen, *trained, *buffers):
            tensor.fill_(rank)
    DistributedDataParallel(model, find_unused_parameters=True)
    assert all((tensor == rank).all() for tensor in (*frozen, *buffers)), 'was sent'
    assert all((tensor == 0).all() for tensor in trained), 'was not sent'


@pytest.mark.slow
def test_ddp_sends_what_is_trained_and_leaves_the_frozen_base_alone(folder):
    """Sent, a mapped file's pages would become each rank's own."""
    assert folder.is_dir()  # `leaves_alone` has passed on both ranks
