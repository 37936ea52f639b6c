"""From a video of SA-V to packed records or npz pairs."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ...ops.mask import encode_rle
from ..base import RECORD_ERRORS
from ..packs.convert import FrameEncoding
from ..packs.format import PackedRecord, PackedView
from .sav_video import (
    FRAMES_PER_ANNOTATION,
    FramePair,
    PairOptions,
    choose_pairs,
    count_frames,
    decode_frames,
    read_masklets,
)

#: Side of the frames in npz pairs, in pixels.
NPZ_SIDE = 512


@dataclass
class PreparedPair:
    """Two frames cut from a video: images ``[H, W, 3]`` uint8 RGB and masks ``[H, W]`` bool."""

    name: str
    images: tuple[np.ndarray, np.ndarray]
    masks: tuple[np.ndarray, np.ndarray]
    frame_distance: int


@dataclass
class PrepareVideo:
    """Cuts the pairs of one video; a worker holds one of these and is called with a video's path.

    Attributes:
        root: Videos are named by their path below it.
        options: Which pairs to cut.
        max_side: Frames whose longer side exceeds this are shrunk to it; 0 never shrinks.
        encoding: How frames are stored in packs.
        npz_dir: Folder for npz pairs; None returns records for a pack instead.
    """

    root: str
    options: PairOptions
    max_side: int = 1024
    encoding: FrameEncoding = field(default_factory=FrameEncoding)
    npz_dir: str | None = None

    def __call__(self, video: str) -> tuple[list[PackedRecord], list[tuple[str, str]]]:
        """Records (none if they are written as npz), and what could not be read."""
        records: list[PackedRecord] = []
        broken: list[tuple[str, str]] = []
        name = os.path.splitext(os.path.relpath(video, self.root))[0]
        try:
            for pair in self.cut(video, name, broken):
                if self.npz_dir is not None:
                    write_npz(pair, Path(self.npz_dir))
                else:
                    records.append(self._packed(pair))
        except RECORD_ERRORS as error:
            # Half a video is not kept: a later run with the repaired file would write its pairs twice.
            return [], [*broken, (f'{name}.mp4', f'{type(error).__name__}: {error}')]
        return records, broken

    def cut(self, video: str, name: str, broken: list[tuple[str, str]]) -> Iterator[PreparedPair]:
        """Pairs of a video; each frame is decoded once. Faults in single files go to ``broken``."""
        num_frames = count_frames(video)
        masklets, pairs = {}, []
        for kind in self.options.kinds:
            path = Path(f'{os.path.splitext(video)[0]}_{kind}.json')
            if not path.exists():
                continue
            try:
                masklets[kind] = read_masklets(path)
            except ValueError as error:
                broken.append((f'{name}_{kind}.json', str(error)))
                continue
            pairs += choose_pairs(masklets[kind], num_frames, kind, self.options, name)
        pairs = [pair for pair in pairs if not self._is_written(name, pair)]
        annotations = itertools.chain.from_iterable((pair.first, pair.second) for pair in pairs)
        frames = decode_frames(video, [FRAMES_PER_ANNOTATION * i for i in annotations])
        for pair in pairs:
            yield self._cut_pair(name, pair, masklets[pair.kind], frames)

    def _is_written(self, name: str, pair: FramePair) -> bool:
        return self.npz_dir is not None and npz_path(Path(self.npz_dir), f'{name}/{pair.name}').exists()

    def _cut_pair(self, name: str, pair: FramePair, masklets, frames: dict[int, np.ndarray]) -> PreparedPair:
        images, masks = [], []
        for annotation in (pair.first, pair.second):
            frame = FRAMES_PER_ANNOTATION * annotation
            if frame not in frames:
                raise OSError(f'the video ends before frame {frame}, which is annotated: it is truncated')
            rle = masklets[annotation][pair.masklet]
            if list(rle['size']) != list(frames[frame].shape[:2]):
                raise ValueError(
                    f'frame {frame} is {frames[frame].shape[:2]}, its masks are {tuple(rle["size"])}'
                )
            images.append(self._shrink(frames[frame], Image.Resampling.BICUBIC))
            masks.append(self._shrink(coco_mask.decode(rle), Image.Resampling.NEAREST) > 0)
        distance = FRAMES_PER_ANNOTATION * abs(pair.second - pair.first)
        return PreparedPair(f'{name}/{pair.name}', (images[0], images[1]), (masks[0], masks[1]), distance)

    def _shrink(self, pixels: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
        height, width = pixels.shape[:2]
        if not self.max_side or max(height, width) <= self.max_side:
            return pixels
        ratio = self.max_side / max(height, width)
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        return np.asarray(Image.fromarray(pixels).resize(size, resampling))

    def _packed(self, pair: PreparedPair) -> PackedRecord:
        views = []
        for number, (image, mask) in enumerate(zip(pair.images, pair.masks), start=1):
            height, width = mask.shape
            encoded = self.encoding.encode(image)
            views.append(PackedView(f'{pair.name}#{number}', encoded, (height, width), [encode_rle(mask)]))
        return PackedRecord(pair.name, views, [[]], pair.frame_distance)


def npz_path(folder: Path, name: str) -> Path:
    """The path at which :class:`SAVPairs` finds a pair."""
    stem = name.replace('/', '_')
    return folder / name.split('/')[0] / f'masklet_data_{stem}.npz'


def write_npz(pair: PreparedPair, folder: Path) -> None:
    """The pair in the format of :class:`SAVPairs`: 512 x 512, BGR; written under a temporary name."""
    path = npz_path(folder, pair.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (NPZ_SIDE, NPZ_SIDE)
    arrays: dict[str, Any] = {}
    for number, (image, mask) in enumerate(zip(pair.images, pair.masks), start=1):
        pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        arrays[f'frame{number}'] = pixels[..., ::-1].astype(np.float32)
        small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        arrays[f'mask{number}'] = np.asarray(small).astype(np.float32)
    temporary = path.with_suffix('.tmp')
    with temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)
    temporary.replace(path)
