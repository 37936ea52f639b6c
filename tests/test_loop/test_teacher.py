"""The steady copy of the student."""

import pytest
import torch

from projects.mask_caption_sft.loop.teacher import build_teacher
from tests.miniature import miniature_sa2va


def test_frozen_tensors_share_their_storage_and_trained_ones_do_not():
    student = miniature_sa2va()
    teacher = build_teacher(student)
    own = dict(teacher.named_parameters())
    for name, parameter in student.named_parameters():
        shared = own[name].data_ptr() == parameter.data_ptr()
        assert shared != parameter.requires_grad, name


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
