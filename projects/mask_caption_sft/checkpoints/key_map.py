"""Names of a released Sa2VA checkpoint and of the native modules, side by side.

One table, read both ways. Most rows rename one tensor; two kinds change shape: a *fused* tensor is cut into
several, *stacked* ones of one row each are joined. The rows of ``text_hidden_fcs``, which joins the models of
a checkpoint, are here; those of a language-vision model are in its file in ``backbones/``, those of a
grounding encoder in its file in ``grounding/``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..backbones import Backbone, backbone_of
from ..backbones.key_rows import EQUAL_PARTS, Layout
from ..grounding import GroundingKind, grounding_kind_of
from ..grounding.sam_rows import STACKED

#: (released, native). ``{n}`` stands for a number, ``{s}`` for weight or
#: bias, ``{qkv}`` for one of the letters, ``{w}`` for a word.
JOINT = [
    ('text_hidden_fcs.0.{s}', 'text_hidden_fcs.0.{s}'),
    ('text_hidden_fcs.2.{s}', 'text_hidden_fcs.2.{s}'),
]

#: Rows of the token embeddings that are trained alone, by token id; and the matrix in the native model.
TOKEN_ROWS, EMBEDDINGS = 'mllm.token_rows.', 'mllm.model.language_model.embed_tokens.weight'

_WILDCARDS = {'{n}': r'(\d+)', '{qkv}': r'([qkv])', '{s}': r'(weight|bias)', '{w}': r'(\w+?)'}


@dataclass(frozen=True)
class Entry:
    """How some released tensors become some native ones, and back.

    One of the two tuples has length one, except for a plain renaming, where
    both have.

    Attributes:
        released, native: Names.
        layout: How the native tensors lie in a released one.
    """

    released: tuple[str, ...]
    native: tuple[str, ...]
    layout: Layout = EQUAL_PARTS

    def to_native(self, tensors: list[Tensor]) -> list[Tensor]:
        """The native tensors for the released ones, in the order of the names."""
        if len(tensors) > 1:
            return [torch.cat(tensors)]
        return self.layout.cut(tensors[0], len(self.native))

    def to_released(self, tensors: list[Tensor]) -> list[Tensor]:
        """The inverse of :meth:`to_native`."""
        if len(self.released) > 1:
            return list(tensors[0].split(1))
        return [self.layout.join(tensors)]


def _pattern(template: str, end: str = '$') -> re.Pattern:
    escaped = re.escape(template)
    for name, expression in _WILDCARDS.items():
        escaped = escaped.replace(re.escape(name), expression)
    return re.compile(escaped + end)


def _fill(template: str, groups: tuple[str, ...]) -> str:
    values = iter(groups)
    return re.sub(r'\{(?:n|s|w|qkv)\}', lambda _: next(values), template)


def plain_name(name: str) -> str:
    """A parameter's name without peft's wrapper around linear layers."""
    return name.replace('.base_layer.', '.')


def is_ours(name: str) -> bool:
    """True for a parameter that is no tensor of its own in a released checkpoint: LoRA, and trained rows."""
    return 'lora_' in name or TOKEN_ROWS in name


class KeyMap:
    """The table of one backbone, one grounding encoder and ``text_hidden_fcs``, read in both directions.

    Args:
        backbone, grounding_kind: Whose rows are added to those that all checkpoints have.
    """

    def __init__(self, backbone: Backbone, grounding_kind: GroundingKind) -> None:
        self.backbone = backbone
        names = [*backbone.renamed, *grounding_kind.renamed, *JOINT]
        fused = [*backbone.fused, *grounding_kind.fused]
        rows = [(row.released, row.native, row.layout) for row in fused]
        rows += [(released, (native,), EQUAL_PARTS) for released, native in names]
        self._unused = [_pattern(beginning, end='') for beginning in grounding_kind.unused]
        self._forward = [(_pattern(released), natives, layout) for released, natives, layout in rows]
        self._backward = [
            (_pattern(native), released, natives, layout)
            for released, natives, layout in rows
            for native in natives
        ]

    def is_unused(self, released_key: str) -> bool:
        """True for a tensor that no image needs, a video's memory for one; it is copied but never loaded."""
        return any(beginning.match(released_key) for beginning in self._unused)

    def entry_for(self, released_key: str) -> Entry | None:
        """The table row for one released name, or None if there is none."""
        for names, native in STACKED:
            if released_key in names:
                return Entry(names, (native,))
        for pattern, natives, layout in self._forward:
            if match := pattern.match(released_key):
                groups = match.groups()
                return Entry((released_key,), tuple(_fill(name, groups) for name in natives), layout)
        return None

    def entries_for(self, released_keys: Iterable[str]) -> tuple[list[Entry], list[str]]:
        """Table rows for all names of a checkpoint, and the names that have none.

        Returns:
            The distinct rows in file order, without unused tensors; and the names
            that are neither mapped nor listed as unused.
        """
        entries: dict[tuple[str, ...], Entry] = {}
        unknown = []
        for key in released_keys:
            if self.is_unused(key):
                continue
            entry = self.entry_for(key)
            if entry is None:
                unknown.append(key)
            else:
                entries[entry.released] = entry
        return list(entries.values()), unknown

    def entry_for_native(self, native_key: str) -> Entry | None:
        """The table row that a native name belongs to, or None if there is none."""
        for names, native in STACKED:
            if native_key == native:
                return Entry(names, (native,))
        for pattern, released, natives, layout in self._backward:
            if match := pattern.match(native_key):
                groups = match.groups()
                return Entry(
                    (_fill(released, groups),), tuple(_fill(name, groups) for name in natives), layout
                )
        return None

    def released_name(self, native_key: str) -> str:
        """What a native tensor is called in a checkpoint, for messages; its own name if nothing is known."""
        entry = self.entry_for_native(native_key)
        return native_key if entry is None else ' and '.join(entry.released)


def key_map_of(config: dict[str, Any]) -> KeyMap:
    """The table for a checkpoint with that ``config.json``."""
    return KeyMap(backbone_of(config), grounding_kind_of(config))
