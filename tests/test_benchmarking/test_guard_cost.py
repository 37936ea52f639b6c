"""The guard's part of an update, and the checksums' part of a save."""

import benchmark_guard
import pytest
import torch

from projects.mask_caption_sft.benchmarking.guard_cost import GuardCost, guard_cost
from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper
from tests.miniature import miniature_batch, miniature_model


def test_the_table_has_medians_and_their_parts_of_an_update():
    cost = GuardCost([100.0, 200.0, 900.0], [1.0, 2.0, 9.0], [12.0, 10.0], [9.0, 11.0], 1_500_000)
    assert cost.table().splitlines()[2:] == [
        '| an update | 200.00 | 100.00% |',
        '| the guard before it | 2.00 | 1.00% |',
        '| a save of 1.5 MB | 11.00 | 5.50% |',
        '| the checksums in it | 1.00 | 0.50% |',
    ]


def test_updates_are_made_and_each_kind_of_save_is_what_it_says(tmp_path, monkeypatch):
    model = miniature_model().train()
    before = {name: tensor.clone() for name, tensor in model.student.named_parameters()}
    judged, saved, judge, save = [], [], GuardedOptimWrapper._judge, torch.save

    def watched_judge(wrapper):
        judged.append(judge(wrapper))
        return judged[-1]

    def watched_save(content, path):
        save(content, path)
        saved.append(torch.serialization.get_crc32_options())

    monkeypatch.setattr(GuardedOptimWrapper, '_judge', watched_judge)
    monkeypatch.setattr(torch, 'save', watched_save)
    cost = guard_cost(model, miniature_batch(), num_updates=2, num_saves=2, folder=tmp_path)
    assert judged == [None] * 3  # no refusal
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.student.named_parameters())
    assert saved == [True, False] * 3
    assert torch.serialization.get_crc32_options()
    assert [len(times) for times in (cost.updates, cost.guard, cost.saves, cost.bare_saves)] == [2] * 4
    assert all(part < whole for part, whole in zip(cost.guard, cost.updates))
    assert cost.save_bytes > 10_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_tool_prints_what_was_measured(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['benchmark_guard.py', '--updates', '1', '--saves', '1', '--images', '1'])
    benchmark_guard.main()
    said = capsys.readouterr().out
    assert 'trained tensors, 1 regions, captions of 16 tokens; medians of 1 updates and 1 saves.' in said
    assert '| the guard before it | ' in said


def test_no_update_is_no_measurement(monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['benchmark_guard.py', '--updates', '0'])
    with pytest.raises(SystemExit):
        benchmark_guard.parse_args()
    assert '--updates 0 is less than 1.' in capsys.readouterr().err
