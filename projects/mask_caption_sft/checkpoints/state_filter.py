"""Checkpoints hold what is trained, never the frozen base."""

from typing import Any

from torch import Tensor, nn


def keep_trained_only(model: Any) -> None:
    """Make ``state_dict`` of a :class:`MaskCaptionSFT` hold trained tensors only.

    Those of the student and, under the same names, of the teacher. Loading is strict
    about exactly these: a tensor that is missing, unexpected or of the wrong shape is an
    error; the frozen ones keep the values of the base.
    """
    trained = {name for name, p in model.student.named_parameters() if p.requires_grad}
    kept = {f'{side}.{name}' for side in ('student', 'teacher') for name in trained}

    def drop_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_) -> None:
        for key in [k for k in state if k.startswith(prefix) and k[len(prefix) :] not in kept]:
            del state[key]

    def fill_frozen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        own = _stored_tensors(module)
        given = {key[len(prefix) :] for key in state if key.startswith(prefix)}
        check_keys(given, {name: tuple(own[name].shape) for name in kept}, state, prefix)
        for name, tensor in own.items():
            if name not in kept:
                state[prefix + name] = tensor

    model._register_state_dict_hook(drop_frozen)
    model.register_load_state_dict_pre_hook(fill_frozen)


def _stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers, under every name that they have."""
    return {
        (f'{prefix}.{name}' if prefix else name): tensor
        for prefix, part in module.named_modules(remove_duplicate=False)
        for name, tensor in (*part._parameters.items(), *part._buffers.items())
        if tensor is not None and name not in part._non_persistent_buffers_set
    }


def check_keys(given: set[str], wanted: dict[str, tuple], state: dict[str, Any], prefix: str) -> None:
    """Raise ``ValueError`` unless a checkpoint holds exactly the wanted tensors, in their shapes."""
    missing, surplus = sorted(set(wanted) - given), sorted(given - set(wanted))
    misfits = [
        f'{name} {tuple(state[prefix + name].shape)} for {shape}'
        for name, shape in sorted(wanted.items())
        if name in given and tuple(state[prefix + name].shape) != shape
    ]
    problems = [
        f'{len(names)} {title} ({", ".join(names[:5])}{", ..." if len(names) > 5 else ""})'
        for title, names in (
            ('missing', missing), ('not trained here', surplus), ('of another shape', misfits)
        )
        if names
    ]  # fmt: skip
    if problems:
        raise ValueError(
            f'The checkpoint does not fit this model: {"; ".join(problems)}. It was trained on another '
            'base or with other trainable parts: use its own config (saved beside it).'
        )
