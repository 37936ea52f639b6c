"""SA-1B: one JSON of masks per image."""

import json
import os
from pathlib import Path

import numpy as np

from ..ops.mask import decode_segmentation
from .base import RegionDataset, read_image
from .transforms import RawSample, RawView


class SA1B(RegionDataset):
    """All masks of an image; no text. The second view is a transform.

    On disk (https://ai.meta.com/datasets/segment-anything-downloads)::

        **/sa_*.jpg
        **/sa_*.json    image{image_id, width, height, file_name}
                        annotations[]{segmentation (RLE), area, predicted_iou, stability_score}

    Files are listed, not opened, at start.

    Args:
        min_predicted_iou, min_stability_score: Masks below are not drawn.
    """

    LAYOUT = 'Expected sa_*.json beside sa_*.jpg, as SA-1B is released.'

    def __init__(
        self,
        data_root: str,
        min_predicted_iou: float = 0.0,
        min_stability_score: float = 0.0,
        **kwargs,
    ) -> None:
        self.min_predicted_iou, self.min_stability_score = min_predicted_iou, min_stability_score
        super().__init__(data_root=data_root, **kwargs)

    def list_records(self) -> list[dict]:
        paths = [
            os.path.join(folder, file)
            for folder, _, files in os.walk(self.data_root)
            for file in files
            if file.endswith('.json')
        ]
        return [{'sample_id': path} for path in sorted(paths)]

    def read_record(self, record: dict) -> RawSample:
        path = Path(record['sample_id'])
        content = json.loads(path.read_text())
        info = content['image']
        image_path = path.with_name(info['file_name'])
        image = read_image(image_path)
        if image.shape[:2] != (info['height'], info['width']):
            raise ValueError(
                f'{image_path.name} is {image.shape[1]} x {image.shape[0]}, its JSON says '
                f'{info["width"]} x {info["height"]}'
            )
        masks = [
            decode_segmentation(annotation['segmentation'], info['height'], info['width'])
            for annotation in content['annotations']
            if annotation.get('predicted_iou', 1.0) >= self.min_predicted_iou
            and annotation.get('stability_score', 1.0) >= self.min_stability_score
        ]
        if not masks:
            raise ValueError('no annotation passes min_predicted_iou and min_stability_score')
        view = RawView(str(image_path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, [None] * len(masks))
