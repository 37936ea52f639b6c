"""Records of the datasets as a pack stores them."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..base import RECORD_ERRORS, RegionDataset
from ..mix import build_dataset
from ..raw_sample import RawSample, RawView
from ..remote.path import path_of
from .format import PackedRecord, PackedView
from .read import PackedRegions

#: Arguments that make a dataset return everything it has.
EVERYTHING: dict[str, dict[str, Any]] = {'SA1B': {'max_masks': None}, 'RefCOCO': {'every_expression': True}}
_ENCODED = {'.jpg', '.jpeg', '.png'}


def whole_dataset(name: str, declared: dict[str, Any]) -> RegionDataset:
    """A declared dataset that returns everything it has, without transforms."""
    return build_dataset(name, declared, pipeline=(), **EVERYTHING.get(declared['type'].__name__, {}))


@dataclass
class FrameEncoding:
    """How pixels that are not yet in an image file are stored.

    Attributes:
        kind: ``'jpeg'`` or ``'png'`` (lossless).
        quality: JPEG quality. Colour is stored at half resolution, as in the videos themselves.
    """

    kind: str = 'jpeg'
    quality: int = 92

    def __post_init__(self) -> None:
        if self.kind not in ('jpeg', 'png'):
            raise ValueError(f"kind={self.kind!r} is not one of 'jpeg', 'png'.")

    def encode(self, image: np.ndarray) -> bytes:
        """``[H, W, 3]`` uint8 RGB as the bytes of an image file."""
        file = io.BytesIO()
        options: dict[str, Any] = (
            {'quality': self.quality, 'subsampling': '4:2:0'} if self.kind == 'jpeg' else {}
        )
        Image.fromarray(image).save(file, self.kind, optimize=True, **options)
        return file.getvalue()


@dataclass
class PackTask:
    """Packs one record of a dataset; a worker holds one of these.

    Attributes:
        dataset: Declared with ``EVERYTHING`` and no transforms.
        encoding: How frames are stored.
    """

    dataset: RegionDataset
    encoding: FrameEncoding

    def __call__(self, row: int) -> tuple[list[PackedRecord], list[tuple[str, str]]]:
        """The record, or the reason why there is none."""
        record = self.dataset.get_data_info(row)
        sample_id = self.dataset.short_id(record['sample_id'])
        try:
            read = self.dataset.read_record(record)
            return [pack_sample(read, sample_id, self.encoding, self.dataset.backend_args)], []
        except RECORD_ERRORS as error:
            return [], [(sample_id, f'{type(error).__name__}: {error}')]


def pack_sample(
    sample: RawSample, sample_id: str, encoding: FrameEncoding, backend_args: dict[str, Any] | None = None
) -> PackedRecord:
    """What a dataset has read, as packed; regions with the same mask become one with several texts.

    A mask that was read as an RLE is stored as that RLE.
    """
    views = sample.views
    rles = [[view.rle(row) for row in range(len(sample.expressions))] for view in views]
    rows: list[int] = []
    texts: list[list[str]] = []
    absent = sample.is_absent()
    for row, expression in enumerate(sample.expressions):
        is_new = not rows or absent[row] != absent[rows[-1]]
        if is_new or any(of_view[row] != of_view[rows[-1]] for of_view in rles):
            rows.append(row)
            texts.append([])
        if expression is not None:
            texts[-1].append(expression)
    packed = [
        _pack_view(view, [of_view[row] for row in rows], encoding, backend_args, f'{sample_id}#{i}')
        for i, (view, of_view) in enumerate(zip(views, rles), start=1)
    ]
    return PackedRecord(sample_id, packed, texts, absent=absent[rows].tolist() if absent.any() else [])


def _pack_view(
    view: RawView,
    rles: list[dict],
    encoding: FrameEncoding,
    backend_args: dict[str, Any] | None,
    image_id: str,
) -> PackedView:
    path = path_of(view.image_id, backend_args)
    is_file = path.suffix.lower() in _ENCODED and path.is_file()
    encoded = path.read_bytes() if is_file else encoding.encode(view.image)
    height, width = view.image.shape[:2]
    return PackedView(image_id, encoded, (height, width), rles)


def encoding_loss(dataset: RegionDataset, pack: PackedRegions, limit: int = 100) -> dict[str, float]:
    """How far stored pixels are from the original ones, over up to ``limit`` records spread over the pack.

    Returns:
        ``mean_abs_error`` in grey levels of 255, and the lowest ``psnr`` of an image in dB
        (infinite if lossless).
    """
    row_of = {dataset.short_id(dataset.get_data_info(i)['sample_id']): i for i in range(len(dataset))}
    errors, ratios = [0.0], [float('inf')]
    for i in range(0, len(pack), max(1, len(pack) // limit)):
        stored = pack.read_record(pack.get_data_info(i))
        if stored.sample_id not in row_of:  # of another dataset, which this one was appended to
            continue
        source = dataset.read_record(dataset.get_data_info(row_of[stored.sample_id]))
        for first, second in ((stored.view1, source.view1), (stored.view2, source.view2)):
            if first is not None and second is not None:
                difference = first.image.astype(np.float64) - second.image
                errors.append(float(np.abs(difference).mean()))
                squared = float(np.square(difference).mean())
                ratios.append(10 * np.log10(255**2 / squared) if squared else float('inf'))
    return {'mean_abs_error': sum(errors) / max(1, len(errors) - 1), 'psnr': min(ratios)}
