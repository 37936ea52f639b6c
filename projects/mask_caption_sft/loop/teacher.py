"""The steady copy of the student that segments from its captions."""

from copy import deepcopy
from typing import Any

from ..sa2va.sa2va import Sa2VA


def build_teacher(student: Sa2VA) -> Sa2VA:
    """A copy that shares what is frozen with the student and owns the trained tensors.

    A module without a trained weight is the same object in both, so that whatever is done to it later
    (moved, sharded, quantised, hooked) holds for both. It is always in eval mode, see
    :attr:`Sa2VA.frozen`; modules without weights, dropout for one, are copied.

    It is a module of its own, so that the student's activation checkpointing recomputes with
    the student's weights. It is in eval mode and its weights take no gradient;
    gradients pass through its activations.

    Args:
        student: The model in training. Its tokenizer, config and backbone are shared too.
    """
    shared = [student.text, student.config, student.backbone, student.key_map, *student.frozen]
    shared += [p for p in student.parameters() if not p.requires_grad]
    shared += list(student.buffers())
    # deepcopy takes an object it finds in the memo instead of copying it.
    memo: dict[int, Any] = {id(item): item for item in shared}
    memo[id(student.start_weights)] = None
    teacher = deepcopy(student, memo).freeze()
    # It reads images without gradient and what is said about them is short: nothing is worth recomputing.
    teacher.activation_checkpointing = False
    return teacher.eval()
