"""The four datasets of the tiny world, in the formats of the real ones."""

import csv
import json
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ..ops.mask import encode_rle
from .confusable import confusable_pair, confusable_scene
from .expressions import expressions
from .scene import HUMAN_COLORS, HUMAN_SHAPES, Scene, draw
from .scenes_file import write_scenes

#: Real SA-V pairs are 512 x 512; here the side is smaller, for speed. The format is the same.
SIDE = 192


def write_sav(folder: Path, num_pairs: int, rng: np.random.Generator) -> None:
    """``part_000/masklet_data_*.npz``: frames BGR float32, masks float32 0..255."""
    target = folder / 'part_000'
    target.mkdir(parents=True, exist_ok=True)
    scenes: dict[str, Scene] = {}
    for number in range(num_pairs):
        first, second = confusable_pair(rng)
        (image1, masks1), (image2, masks2) = draw(first, SIDE, SIDE), draw(second, SIDE, SIDE)
        thing = int(rng.integers(len(first.things)))
        arrays = {
            'frame1': image1[..., ::-1].astype(np.float32),
            'mask1': masks1[thing].astype(np.float32) * 255,
            'frame2': image2[..., ::-1].astype(np.float32),
            'mask2': masks2[thing].astype(np.float32) * 255,
        }
        name = f'masklet_data_{number:05d}'
        np.savez_compressed(target / f'{name}.npz', **arrays)
        scenes[name] = first
    write_scenes(folder, scenes)


def write_sa1b(folder: Path, num_images: int, rng: np.random.Generator) -> None:
    """``sa_*.jpg`` and ``sa_*.json`` with one RLE per thing."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes: dict[str, Scene] = {}
    for number in range(num_images):
        width, height = (240, 180) if rng.random() < 0.5 else (180, 240)
        scene = confusable_scene(rng)
        image, masks = draw(scene, width, height)
        stem = f'sa_{number:06d}'
        Image.fromarray(image).save(folder / f'{stem}.jpg', quality=95)
        info = {'image_id': number, 'width': width, 'height': height, 'file_name': f'{stem}.jpg'}
        annotations = [_sa1b_annotation(number * 100 + i, mask) for i, mask in enumerate(masks)]
        text = json.dumps({'image': info, 'annotations': annotations})
        (folder / f'{stem}.json').write_text(text)
        scenes[stem] = scene
    write_scenes(folder, scenes)


def _sa1b_annotation(number: int, mask: np.ndarray) -> dict:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    width, height = int(columns[-1]) - x + 1, int(rows[-1]) - y + 1
    return {
        'id': number,
        'segmentation': encode_rle(mask),
        'bbox': [x, y, width, height],
        'area': int(mask.sum()),
        'predicted_iou': 0.95,
        'stability_score': 0.97,
        'crop_box': [0, 0, mask.shape[1], mask.shape[0]],
        'point_coords': [[x + width / 2, y + height / 2]],
    }


def write_openimages(folder: Path, num_images: int, rng: np.random.Generator) -> None:
    """Tables, images and PNG masks; a mask is 4/3 the size of its image."""
    for part in ('images', 'masks'):
        (folder / part / 'train').mkdir(parents=True, exist_ok=True)
    labels: dict[str, str] = {}
    rows = []
    for number in range(num_images):
        scene = confusable_scene(rng)
        image_id = f'{int(rng.integers(2**32)):08x}{number:08x}'
        image, masks = draw(scene, 240, 180)
        Image.fromarray(image).save(folder / 'images' / 'train' / f'{image_id}.jpg', quality=95)
        for thing, mask in zip(scene.things, masks):
            label = labels.setdefault(thing.shape.title(), f'/m/tiny{len(labels)}')
            box = f'{int(rng.integers(2**32)):08x}'
            name = f'{image_id}_{label[3:]}_{box}.png'
            large = Image.fromarray(mask).resize((320, 240), Image.Resampling.NEAREST)
            large.save(folder / 'masks' / 'train' / name)
            rows.append([name, image_id, label, box, 0.0, 1.0, 0.0, 1.0, 0.9, ''])
    header = 'MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks'
    _write_csv(folder / 'train-annotations-object-segmentation.csv', header.split(','), rows)
    names = [[label, name] for name, label in labels.items()]
    _write_csv(folder / 'oidv7-class-descriptions.csv', ['LabelName', 'DisplayName'], names)


def _write_csv(path: Path, header: list[str], rows: Iterable[list]) -> None:
    with path.open('w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([header, *rows])


def write_refcoco(
    folder: Path, num_train: int, num_val: int, rng: np.random.Generator, limited: bool
) -> None:
    """``instances.json``, ``refs(unc).p`` and images, with splits train and val.

    Args:
        folder: Target.
        num_train, num_val: Images of each split.
        rng: Random numbers.
        limited: Human expressions of the training split cover only some colours
            and shapes on plain backgrounds; masks elsewhere cover everything.
    """
    images = folder / 'coco2014' / 'train2014'
    images.mkdir(parents=True, exist_ok=True)
    instances: dict[str, list[dict]] = {
        'images': [],
        'annotations': [],
        'categories': [{'id': 1, 'name': 'thing'}],
    }
    refs: list[dict] = []
    for number in range(num_train + num_val):
        split = 'train' if number < num_train else 'val'
        if split == 'train' and limited:
            scene = confusable_scene(rng, (2, 4), HUMAN_COLORS, HUMAN_SHAPES, plain=True)
        else:
            scene = confusable_scene(rng)
        _add_image(scene, number + 1, split, images, instances, refs, rng)
    (folder / 'instances.json').write_text(json.dumps(instances))
    (folder / 'refs(unc).p').write_bytes(pickle.dumps(refs, protocol=2))


def _add_image(
    scene: Scene,
    image_id: int,
    split: str,
    folder: Path,
    instances: dict,
    refs: list,
    rng: np.random.Generator,
) -> None:
    image, masks = draw(scene, 240, 180)
    name = f'COCO_train2014_{image_id:012d}.jpg'
    Image.fromarray(image).save(folder / name, quality=95)
    instances['images'].append({'id': image_id, 'file_name': name, 'width': 240, 'height': 180})
    for index, mask in enumerate(masks):
        annotation = image_id * 100 + index
        instances['annotations'].append(
            {
                'id': annotation,
                'image_id': image_id,
                'category_id': 1,
                'segmentation': encode_rle(mask),
                'area': int(mask.sum()),
                'iscrowd': 0,
            }
        )
        possible = expressions(scene.things, index)
        texts = [possible[i] for i in sorted(rng.permutation(len(possible))[:3])]
        sentences = [
            {'sent_id': annotation * 10 + i, 'sent': text, 'raw': text, 'tokens': text.split()}
            for i, text in enumerate(texts)
        ]
        refs.append(
            {
                'ref_id': annotation,
                'ann_id': annotation,
                'image_id': image_id,
                'category_id': 1,
                'file_name': f'COCO_train2014_{image_id:012d}_{annotation}.jpg',
                'split': split,
                'sentences': sentences,
                'sent_ids': [s['sent_id'] for s in sentences],
            }
        )
