"""What kind of value each setting of a ``config.json`` has, whatever the family."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from transformers.activations import ACT2FN


class Kind(NamedTuple):
    """A kind of values.

    Attributes:
        expected: In words.
        holds: Whether a value is one.
    """

    expected: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_SIZE = Kind('a whole number above 0', lambda value: _is_whole(value) and value > 0)
_NUMBER = Kind(
    'a number above 0',
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value > 0,
)
_CHOICE = Kind('true or false', lambda value: isinstance(value, bool | None))
_TEXT = Kind('a text', lambda value: value is None or (isinstance(value, str) and bool(value)))
_NAMES = Kind(
    'a list of names',
    lambda value: value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value)),
)
_ACTIVATION = Kind('the name of an activation', lambda value: isinstance(value, str) and value in ACT2FN)
_NORM = Kind("'layer_norm' or 'rms_norm'", lambda value: value in ('layer_norm', 'rms_norm'))
_DTYPE = Kind(
    "'float32', 'bfloat16' or 'float16'", lambda value: value in (None, 'float32', 'bfloat16', 'float16')
)

#: By the name of the setting, in whichever part of the config it stands.
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            'force_image_size', 'max_dynamic_patch', 'min_dynamic_patch', 'min_pixels', 'max_pixels',
            'image_size', 'patch_size',
            'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
            'num_key_value_heads', 'vocab_size', 'max_position_embeddings',
            'original_max_position_embeddings',
        ),
        _SIZE,
    ),
    **dict.fromkeys(('downsample_ratio', 'rms_norm_eps', 'layer_norm_eps', 'rope_theta'), _NUMBER),
    **dict.fromkeys(
        (
            'dynamic_image_size', 'use_thumbnail', 'tie_word_embeddings', 'qkv_bias', 'qk_normalization',
            'bias', 'attention_bias', 'use_sliding_window', 'use_cache',
        ),
        _CHOICE,
    ),
    'template': _TEXT,
    'architectures': _NAMES,
    'hidden_act': _ACTIVATION,
    'norm_type': _NORM,
    'torch_dtype': _DTYPE,
}  # fmt: skip
_PARTS = ('llm_config', 'text_config', 'vision_config')


def check_values(config: dict[str, Any], where: str) -> None:
    """Raise ``ValueError`` naming every setting whose value is of another kind than it has to be.

    A setting that is not there is left to who needs it, and so is a null where none may be stated.

    Args:
        config: Content of ``config.json``.
        where: Names the file in the message.
    """
    problems = [
        f'{name} is {value!r}, expected is {kind.expected}'
        for name, value, kind in _settings(config)
        if not kind.holds(value)
    ]
    if problems:
        raise ValueError(f'{where}: {"; ".join(problems)}. Use the config.json of the released checkpoint.')


def _settings(config: dict[str, Any]) -> Iterator[tuple[str, Any, Kind]]:
    for name, value in config.items():
        if name in _KINDS:
            yield name, value, _KINDS[name]
    for part in _PARTS:
        inner = config.get(part)
        if isinstance(inner, dict):
            for name, value in inner.items():
                if name in _KINDS:
                    yield f'{part}.{name}', value, _KINDS[name]
