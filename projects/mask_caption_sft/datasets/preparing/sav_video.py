"""SA-V as released: videos and masklets, and the pairs of frames that are cut from them."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ..index.listing import list_tree

#: Masklets are annotated at 6 frames per second, videos have 24: annotation i is frame 4 i.
FRAMES_PER_ANNOTATION = 4
_KINDS = ('manual', 'auto')


@dataclass(frozen=True)
class PairOptions:
    """Which pairs of frames are cut from a masklet.

    Attributes:
        pairs_per_masklet: At most this many, no two of them with the same two frames.
        frame_distance: Smallest and largest number of video frames between the two.
        min_area_ratio: Smallest share of the image that the object covers, in both frames.
        max_area_change: Largest ratio of the larger area to the smaller.
        max_aspect_change: Likewise for width over height of the boxes.
        kinds: Which annotation files to use: ``'manual'``, ``'auto'``.
        seed: Seed of the choice.
    """

    pairs_per_masklet: int = 2
    frame_distance: tuple[int, int] = (8, 96)
    min_area_ratio: float = 0.001
    max_area_change: float = 4.0
    max_aspect_change: float = 2.0
    kinds: tuple[str, ...] = _KINDS
    seed: int = 0


@dataclass(frozen=True)
class FramePair:
    """Two annotations of one object: ``frame = FRAMES_PER_ANNOTATION * annotation``."""

    kind: str
    masklet: int
    first: int
    second: int

    @property
    def name(self) -> str:
        """A name that no other pair of the same video has."""
        frames = f'{self.first * FRAMES_PER_ANNOTATION:05d}-{self.second * FRAMES_PER_ANNOTATION:05d}'
        return f'{self.kind}{self.masklet:03d}/{frames}'


def find_videos(folder: str | Path) -> list[str]:
    """All ``*.mp4`` below a folder, sorted; links to folders are followed, and may lead in circles."""
    return sorted(str(Path(folder) / name) for name in list_tree(folder, '*.mp4').names)


def read_masklets(path: str | Path) -> list[list[dict[str, Any]]]:
    """``masklet[annotation][object]``, COCO RLEs, of one annotation file.

    Raises:
        ValueError: The file is truncated or not an annotation file of SA-V.
    """
    try:
        content = json.loads(Path(path).read_text())
        masklets = content['masklet']
        if not masklets or len({len(objects) for objects in masklets}) != 1:
            raise ValueError('annotations hold different numbers of objects, or none')
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} is not an annotation file of SA-V ({type(error).__name__}: {error})'
        ) from error
    return masklets


def choose_pairs(
    masklets: Sequence[Sequence[dict[str, Any]]], num_frames: int, kind: str, options: PairOptions, video: str
) -> list[FramePair]:
    """Pairs of one annotation file; the choice depends on the seed and the names alone.

    Args:
        masklets: See :func:`read_masklets`.
        num_frames: Number of frames in the video; annotations past its end are left out.
        kind: ``'manual'`` or ``'auto'``.
        options: Which pairs to cut.
        video: Id of the video.
    """
    usable = min(len(masklets), -(-num_frames // FRAMES_PER_ANNOTATION))
    pairs = []
    for masklet in range(len(masklets[0])):
        rles = [masklets[i][masklet] for i in range(usable)]
        candidates = _candidates(rles, options)
        rng = np.random.default_rng((options.seed, zlib.crc32(f'{video}/{kind}/{masklet}'.encode())))
        count = min(options.pairs_per_masklet, len(candidates))
        for row in np.sort(rng.choice(len(candidates), count, replace=False)) if count else ():
            first, second = candidates[row]
            # Either frame may be the described one, so that objects come nearer as often as they move away.
            if rng.random() < 0.5:
                first, second = second, first
            pairs.append(FramePair(kind, masklet, int(first), int(second)))
    return pairs


def _candidates(rles: Sequence[dict[str, Any]], options: PairOptions) -> np.ndarray:
    """``[N, 2]`` pairs of annotations within the bounds, the earlier one first."""
    if not rles:
        return np.zeros((0, 2), np.int64)
    area = coco_mask.area(list(rles)).astype(np.float64)
    boxes = np.asarray(coco_mask.toBbox(list(rles)), np.float64).reshape(-1, 4)
    pixels = np.array([rle['size'][0] * rle['size'][1] for rle in rles])
    visible = np.flatnonzero((area > 0) & (area >= options.min_area_ratio * pixels))
    first, second = (visible[i] for i in np.triu_indices(len(visible), 1))
    distance = (second - first) * FRAMES_PER_ANNOTATION
    aspect = np.maximum(boxes[:, 2], 1) / np.maximum(boxes[:, 3], 1)
    good = (distance >= options.frame_distance[0]) & (distance <= options.frame_distance[1])
    good &= _change(area[first], area[second]) <= options.max_area_change
    good &= _change(aspect[first], aspect[second]) <= options.max_aspect_change
    return np.stack([first[good], second[good]], axis=1)


def _change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.maximum(first, second) / np.maximum(np.minimum(first, second), 1e-9)


def count_frames(path: str | Path) -> int:
    """Number of frames that a video says it has.

    Raises:
        OSError: The video cannot be opened, or has no frames.
    """
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    if count <= 0:
        raise OSError(f'{path} cannot be opened as a video, or holds no frame')
    return count


def decode_frames(path: str | Path, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """Some frames of a video, ``[H, W, 3]`` uint8 RGB, in one pass from its start.

    In some files seeking lands on key frames, so the video is read through. If it ends
    early, the frames up to its end are returned.
    """
    frames, remaining = {}, sorted(set(wanted))
    video = cv2.VideoCapture(str(path))
    position = 0
    while remaining and video.grab():
        if position == remaining[0]:
            ok, frame = video.retrieve()
            if ok:
                frames[position] = np.ascontiguousarray(frame[..., ::-1])
            remaining.pop(0)
        position += 1
    video.release()
    return frames
