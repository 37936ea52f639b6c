"""Videos with frame-wise masks."""

import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
from mmengine.logging import print_log

from ...structures import UnusableRecordError
from ..base import DISK_ERRORS, RECORD_ERRORS
from ..raw_sample import RawSample
from .mask_folder import MaskFolder


class MaskVideo(MaskFolder):
    """Two frames of one video, with the objects that are seen in both; the pairs are drawn on the fly.

    On disk (DAVIS, https://davischallenge.org; YouTube-VOS, https://youtube-vos.org; MOSE)::

        JPEGImages/{video}/{frame}.jpg      folders between, as in JPEGImages/480p/{video}, do no harm
        Annotations/{video}/{frame}.png     each value an object, the same in all frames of the video
        meta.json                           names of the objects' classes, if there is one (YouTube-VOS)

    A record is an annotated frame, the first view; the second is another annotated frame of the video, at
    random, at the given distance. Frames without a common object, of which at least one pixel is seen in
    both, are not paired.

    Args:
        frame_distance: Smallest and largest difference of the two frames' numbers (of their positions, where
            their names do not end in a number). YouTube-VOS annotates every fifth frame.
        kwargs: See :class:`MaskFolder`.
    """

    LAYOUT = 'Expected JPEGImages/{video}/{frame}.jpg and Annotations/{video}/{frame}.png.'
    SOURCE = 'https://davischallenge.org, https://youtube-vos.org, or your own annotation'

    def __init__(
        self,
        data_root: str,
        image_dir: str = 'JPEGImages',
        mask_dir: str = 'Annotations',
        frame_distance: tuple[int, int] = (5, 60),
        **kwargs: Any,
    ) -> None:
        least, most = frame_distance
        if not 1 <= least <= most:
            raise ValueError(f'frame_distance={frame_distance} is not (least, most) with 1 <= least <= most.')
        self.frame_distance = (int(least), int(most))
        super().__init__(data_root=data_root, image_dir=image_dir, mask_dir=mask_dir, **kwargs)

    def group_of(self, name: str) -> str:
        """Its video: the same at every resolution."""
        return name.split('/')[-2] if '/' in name else ''

    def lazy_records(self):
        records = super().lazy_records()
        self.selection = records.selection
        names = self.selection.column('record').combine_chunks()
        folders = pc.replace_substring_regex(names, '[^/]*$', '')
        changed = pc.not_equal(folders[1:], folders[:-1]).to_numpy(zero_copy_only=False)
        # Records are in the order of their names, so that a video's frames are side by side.
        self.starts = np.concatenate([[0], np.flatnonzero(changed) + 1, [len(names)]])
        runs = zip(self.starts[:-1].tolist(), self.starts[1:].tolist())
        numbers = [frame_numbers(names[start:end].to_pylist()) for start, end in runs]
        self.numbers = np.concatenate(numbers)
        if len(names) and (np.diff(self.starts) < 2).all():
            raise ValueError(
                f'no video of dataset {self.name!r} in {self.data_root} has two annotated frames, so there '
                'are no pairs. Use MaskFolder for single images.'
            )
        return records

    def read_masks(self, record: dict) -> RawSample:
        for position, rows in self._seconds(record):
            other = self.selection[position]
            label_to_row = {label: row for row, label in enumerate(other['label'])}
            try:
                second = self.read_view(other, [label_to_row[record['label'][row]] for row in rows])
            except RECORD_ERRORS as error:
                if getattr(error, 'errno', None) in DISK_ERRORS:
                    raise
                # It is a broken record of its own, and this one is not.
                print_log(f'{other["record"]} is not paired: {error}', 'current', logging.WARNING)
                continue
            first = self.read_view(record, rows)
            return RawSample(self.name, record['sample_id'], first, second, self.texts(record, rows))
        least, most = self.frame_distance
        raise UnusableRecordError(
            f'no annotated frame {least} to {most} away shows an object of this one (frame_distance)'
        )

    def _seconds(self, record: dict) -> Iterator[tuple[int, list[int]]]:
        """Other frames at random, by position in the selection, and the masks of this one seen there."""
        video = int(np.searchsorted(self.starts, record['position'], side='right')) - 1
        start, end = self.starts[video : video + 2].tolist()
        distance = np.abs(self.numbers[start:end] - self.numbers[record['position']])
        least, most = self.frame_distance
        for offset in np.random.permutation(
            np.flatnonzero((distance >= least) & (distance <= most))
        ).tolist():
            seen = set(self.selection[start + offset]['label'])
            rows = [row for row, label in enumerate(record['label']) if label in seen]
            if rows:
                yield start + offset, rows


def frame_numbers(names: list[str]) -> np.ndarray:
    """``[N]`` numbers of a video's frames: at the end of their names, or else their positions."""
    found = [re.search(r'(\d{1,15})\.\w+$', name) for name in names]
    if not all(found):
        return np.arange(len(names))
    return np.array([int(match[1]) for match in found if match])
