"""Reads the records of a dataset and reports what is in them, and what is wrong with them."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from ..datasets.base import RECORD_ERRORS, RegionDataset
from ..datasets.formats.channel_order import mostly_swapped, swap_evidence
from ..datasets.parallel import in_order
from .light_outliers import LightOutliers

#: Phrase in a reason -> kind of fault; the first match counts.
FAULTS = {
    'No such file': 'missing',
    'cannot be opened as a video': 'unreadable',
    'cannot be read as': 'unreadable',
    'truncated': 'truncated',
    'cut short': 'truncated',
    'JSONDecodeError': 'truncated',
    'checksum': 'damaged',
    'are missing': 'wrong keys',
    'is missing': 'missing',
    'too small': 'size mismatch',
    'aspect ratio': 'aspect mismatch',
    'the RLE is of size': 'size mismatch',
    'does not match': 'size mismatch',
    'range of values': 'wrong range',
    'bits per channel': 'wrong range',
    'says': 'size mismatch',
    'empty': 'empty mask',
    'not finite': 'not finite',
    'label': 'unknown label',
    'special token': 'special token',
    'KeyError': 'wrong keys',
}
_BOUNDS_PIXELS = 1
_MOST_AREAS = 1 << 20


@dataclass
class RecordFacts:
    """What was found in one record.

    Attributes:
        sample_id: Without the dataset's root.
        fault: Why it cannot be trained on; None for a good record.
        sizes: ``(height, width)`` of each view.
        areas: Share of the image that each region covers, in each view.
        num_empty: Regions without a pixel in some view.
        num_texts: Regions with an expression.
        dropped: Why masks were left out of a record whose other masks could be read.
        out_of_bounds: Polygons with a point outside the image.
        content: Hash of the pixels and masks.
        images: Name of each view's image file, without folders.
        brightness: Mean of each view's pixels, in [0, 1].
        saturation: Mean difference of each view's largest and smallest channel, in [0, 1]; 0 is grey.
        swap: Evidence for swapped channels, see :func:`swap_evidence`, if the format leaves
            their order open; None if the image gives no answer.
    """

    sample_id: str
    fault: str | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    num_empty: int = 0
    num_texts: int = 0
    dropped: list[str] = field(default_factory=list)
    out_of_bounds: int = 0
    content: str = ''
    images: list[str] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    saturation: list[float] = field(default_factory=list)
    swap: float | None = None


@dataclass
class InspectRecord:
    """Reads one record of a dataset, without transforms."""

    dataset: RegionDataset

    def __call__(self, row: int) -> RecordFacts:
        """Facts of the record at this position."""
        record = self.dataset.get_data_info(row)
        facts = RecordFacts(self.dataset.short_id(record['sample_id']))
        try:
            sample = self.dataset.read_record(record)
            for view in sample.views:
                view.masks  # noqa: B018  (decodes them)
        except RECORD_ERRORS as error:
            facts.fault = f'{type(error).__name__}: {error}'
            return facts
        facts.dropped = sample.dropped
        digest = hashlib.sha256()
        empty = np.zeros(len(sample.expressions), bool)
        for view in sample.views:
            facts.sizes.append((view.image.shape[0], view.image.shape[1]))
            facts.images.append(view.image_id.rpartition('/')[2])
            facts.brightness.append(round(float(view.image.mean()) / 255, 4))
            spread = view.image.max(-1).astype(np.int16) - view.image.min(-1)
            facts.saturation.append(round(float(spread.mean()) / 255, 4))
            area = view.masks.mean(axis=(1, 2))
            facts.areas += area.tolist()
            empty |= area == 0
            digest.update(view.image.tobytes() + np.packbits(view.masks).tobytes())
        facts.num_empty = int((empty & ~sample.is_absent()).sum())
        facts.num_texts = sum(text is not None for text in sample.expressions)
        facts.out_of_bounds = _out_of_bounds(record, facts.sizes[0])
        facts.content = digest.hexdigest()[:32]
        if hasattr(self.dataset, 'channel_order'):
            facts.swap = swap_evidence(sample.view1.image)
        if facts.num_empty == len(empty):
            facts.fault = 'ValueError: every mask is empty'
        return facts


def _out_of_bounds(record: dict[str, Any], size: tuple[int, int]) -> int:
    """Polygons of a COCO-style record that leave the image by more than a pixel."""
    height, width = size
    count = 0
    for segmentations, _ in record.get('objects', ()):
        for segmentation in segmentations:
            parts = segmentation if isinstance(segmentation, list) else []
            for polygon in (part for part in parts if not isinstance(part, dict)):
                x, y = np.array(polygon[::2]), np.array(polygon[1::2])
                outside = min(x.min(), y.min()) < -_BOUNDS_PIXELS
                count += bool(
                    outside or x.max() > width + _BOUNDS_PIXELS or y.max() > height + _BOUNDS_PIXELS
                )
    return count


def inspect(dataset: RegionDataset, rows: Sequence[int], num_workers: int = 1) -> Iterator[RecordFacts]:
    """Facts of the records at these positions, in order, with a progress bar."""
    facts = in_order(InspectRecord(dataset), rows, num_workers)
    yield from tqdm(facts, total=len(rows), mininterval=1)


def kind_of_fault(reason: str) -> str:
    """The kind of fault that a reason stands for."""
    return next((kind for word, kind in FAULTS.items() if word in reason), 'other')


class _Quantiles:
    """Quantiles of a stream; beyond a million values only every second is kept, then every fourth, ..."""

    def __init__(self, most: int = _MOST_AREAS) -> None:
        self.most, self.stride, self.position = most, 1, 0
        self.kept: list[float] = []

    def add(self, values: list[float]) -> None:
        first = -self.position % self.stride
        self.kept += values[first :: self.stride]
        self.position += len(values)
        if len(self.kept) > self.most:
            self.kept, self.stride = self.kept[::2], 2 * self.stride

    def at(self, shares: list[float]) -> list[float]:
        return [round(q, 5) for q in np.quantile(self.kept, shares).tolist()] if self.kept else []


def summarize(records: Iterable[RecordFacts], total: int) -> dict[str, Any]:
    """Counts, sizes, areas and faults of a dataset; plain values, for JSON.

    Args:
        records: What was found.
        total: Number of records in the dataset; more than were read if only a sample was.
    """
    read, regions, texts, empty, outside = 0, 0, 0, 0, 0
    sizes: Counter[str] = Counter()
    areas = _Quantiles()
    faults: dict[str, list[tuple[str, str]]] = defaultdict(list)
    copies: dict[str, list[str]] = defaultdict(list)
    swaps: list[float] = []
    dropped: list[tuple[str, str]] = []
    light = LightOutliers()
    for facts in records:
        read += 1
        if facts.fault is not None:
            faults[kind_of_fault(facts.fault)].append((facts.sample_id, facts.fault))
            continue
        dropped += [(facts.sample_id, reason) for reason in facts.dropped]
        sizes.update(f'{width} x {height}' for height, width in facts.sizes)
        areas.add(facts.areas)
        regions += len(facts.areas) // max(1, len(facts.sizes))
        texts, empty, outside = (
            texts + facts.num_texts,
            empty + facts.num_empty,
            outside + facts.out_of_bounds,
        )
        light.add(facts.sample_id, facts.brightness, facts.saturation)
        copies[facts.content].append(facts.sample_id)
        swaps += [] if facts.swap is None else [facts.swap]
    return {
        'records': total, 'read': read, 'broken': sum(map(len, faults.values())),
        'faults': {kind: len(found) for kind, found in sorted(faults.items())},
        'broken_records': [pair for found in faults.values() for pair in found],
        'regions': regions, 'texts': texts, 'empty_masks': empty, 'polygons_out_of_bounds': outside,
        'sizes': dict(sizes.most_common(5)), 'area_ratio_0_5_50_95_100': areas.at([0, 0.05, 0.5, 0.95, 1]),
        'duplicates': [ids for ids in copies.values() if len(ids) > 1],
        'masks_left_out': dropped,
        'light': light.summary(),
        'channels_look_swapped': mostly_swapped(swaps),
    }  # fmt: skip


def report_table(summaries: dict[str, dict[str, Any]]) -> str:
    """The datasets side by side, as text."""
    columns = ('records', 'read', 'broken', 'regions', 'texts', 'empty_masks', 'polygons_out_of_bounds')
    lines = [f'{"dataset":<16}' + ''.join(f'{name[:14]:>15}' for name in columns) + f'{"duplicates":>12}']
    for name, summary in summaries.items():
        cells = ''.join(f'{summary[column]:>15,}' for column in columns)
        lines.append(f'{name:<16}{cells}{len(summary["duplicates"]):>12,}')
    for name, summary in summaries.items():
        lines.append(f'\n{name}: sizes {json.dumps(summary["sizes"])}')
        lines.append(f'  area (min, 5 %, median, 95 %, max): {summary["area_ratio_0_5_50_95_100"]}')
        if summary['channels_look_swapped']:
            lines.append(
                '  WARNING: red and blue look exchanged, judging by the colour of skin. See channel_order.'
            )
        if summary['faults']:
            lines.append(f'  faults: {json.dumps(summary["faults"])}')
        lines += [f'    {sample_id}: {reason}' for sample_id, reason in summary['broken_records'][:20]]
        more = len(summary['broken_records']) - 20
        lines += [f'    and {more} more, see the JSON'] if more > 0 else []
        light = summary['light']
        if light['black'] or light['white']:
            named = ', '.join(light['named'][:5])
            lines.append(f'  black images: {light["black"]}, white images: {light["white"]} ({named})')
        left_out = summary['masks_left_out']
        if left_out:
            lines.append(f'  masks left out of records whose others are read: {len(left_out)}')
            lines += [f'    {sample_id}, {reason}' for sample_id, reason in left_out[:20]]
    return '\n'.join(lines)
