"""The steady copy of the student."""

import pytest
import torch
from torch import nn

from projects.mask_caption_sft.loop.teacher import build_teacher
from tests.miniature import LORA, miniature_sa2va


def test_frozen_tensors_share_their_storage_and_trained_ones_do_not():
    student = miniature_sa2va()
    teacher = build_teacher(student)
    own = dict(teacher.named_parameters())
    for name, parameter in student.named_parameters():
        shared = own[name].data_ptr() == parameter.data_ptr()
        assert shared != parameter.requires_grad, name


def is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def test_a_frozen_module_is_the_same_object_in_both_and_any_other_is_not():
    student = miniature_sa2va()
    teacher = dict(build_teacher(student).named_modules())
    within = {id(part) for module in student.frozen for part in module.modules()}
    frozen = [name for name, module in student.named_modules() if is_frozen(module)]
    assert any(name.endswith('q_proj.base_layer') for name in frozen)
    for name, module in student.named_modules():
        assert (teacher[name] is module) == (is_frozen(module) or id(module) in within), name


def test_what_is_done_to_a_frozen_module_later_holds_for_both():
    student = miniature_sa2va().eval()
    teacher = build_teacher(student)
    ids = torch.tensor([[1, 2, 3]])
    before = student.mllm(input_ids=ids).logits
    layer = student.mllm.model.language_model.layers[0].mlp.up_proj.base_layer
    layer.weight = nn.Parameter(layer.weight * 2, requires_grad=False)
    after = student.mllm(input_ids=ids).logits
    assert not torch.equal(after, before)
    assert torch.equal(teacher.mllm(input_ids=ids).logits, after)


def test_a_module_that_reads_its_mode_is_each_ones_own():
    """No call turns the other's dropout on or off, whichever comes first."""
    student = miniature_sa2va(lora=LORA | dict(lora_dropout=0.5))
    teacher = build_teacher(student)
    dropouts = [[m for m in model.modules() if isinstance(m, nn.Dropout)] for model in (student, teacher)]
    in_frozen = {id(part) for module in student.frozen for part in module.modules()}
    assert any(id(dropout) not in in_frozen for dropout in dropouts[0])
    for student_trains, teacher_trains in ((True, False), (False, True), (True, True), (False, False)):
        for first_is_student in (True, False):
            calls = [(student, student_trains), (teacher, teacher_trains)]
            for model, mode in calls if first_is_student else calls[::-1]:
                model.train(mode)
            for found, mode in zip(dropouts, (student_trains, teacher_trains)):
                assert {m.training for m in found if id(m) not in in_frozen} == {mode}
            assert not any(part.training for module in student.frozen for part in module.modules())


def test_a_model_without_lora_shares_its_whole_language_model():
    student = miniature_sa2va(lora=None)
    teacher = build_teacher(student)
    assert teacher.mllm.model.language_model is student.mllm.model.language_model
    assert teacher.projector is not student.projector


def test_nothing_is_shared_where_all_is_trained():
    student = miniature_sa2va(lora=None, train_all=True)
    teacher = build_teacher(student)
    assert student.frozen == []
    own = {id(module) for module in student.modules()}
    assert not any(id(module) in own for module in teacher.modules())


def test_moving_the_pair_moves_a_shared_module_once_for_both():
    student = miniature_sa2va()
    both = nn.ModuleList([student, build_teacher(student)])
    names = [name for name, _ in both.state_dict().items()]
    both.to('meta')
    assert all(p.is_meta for p in both.parameters())
    assert [name for name, _ in both.state_dict().items()] == names
    assert both[0].mllm.lm_head is both[1].mllm.lm_head


def test_the_teacher_adds_memory_for_what_is_trained_only():
    student = miniature_sa2va()
    teacher = build_teacher(student)
    both = {p.data_ptr(): p.numel() for m in (student, teacher) for p in m.parameters()}
    total = sum(p.numel() for p in student.parameters())
    trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
    assert sum(both.values()) == total + trained


def test_the_teacher_starts_equal_to_the_student():
    student = miniature_sa2va()
    teacher = build_teacher(student)
    for a, b in zip(student.parameters(), teacher.parameters()):
        assert torch.equal(a, b)
    assert not any(p.requires_grad for p in teacher.parameters() if p.data_ptr() not in
                   {q.data_ptr() for q in student.parameters()})  # fmt: skip
    assert not teacher.training


def test_the_teacher_does_not_keep_the_weights_from_before_training():
    teacher = build_teacher(miniature_sa2va())
    with pytest.raises(RuntimeError, match='does not keep the weights'):
        teacher.reference()
