"""One record of each dataset of the mix, of the size that real ones have."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from projects.mask_caption_sft.ops.mask import encode_rle


def write_records(root: Path) -> None:
    """``root/sav``, ``root/sa1b``, ``root/openimages`` and ``root/refcoco``."""
    rng = np.random.default_rng(0)
    for name in ('sav', 'sa1b', 'openimages', 'refcoco'):
        (root / name).mkdir()
    write_sav(root / 'sav', rng)
    write_sa1b(root / 'sa1b', rng)
    write_openimages(root / 'openimages', rng)
    write_refcoco(root / 'refcoco', rng)


def picture(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Smooth noise of this height and width."""
    noise = rng.integers(0, 255, (size[0] // 8, size[1] // 8, 3), np.uint8)
    return Image.fromarray(noise).resize((size[1], size[0]))


def ellipse(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A mask with an area as SA-1B's: most are small."""
    height, width = size
    y, x = np.ogrid[:height, :width]
    area = np.exp(rng.uniform(np.log(2e-4), np.log(0.2))) * height * width
    stretch, cx, cy = rng.uniform(0.5, 2), rng.uniform(0, width), rng.uniform(0, height)
    return ((x - cx) * stretch) ** 2 + ((y - cy) / stretch) ** 2 < area / np.pi


def write_sav(folder: Path, rng: np.random.Generator, size: tuple[int, int] = (512, 512)) -> None:
    """A pair of float32 frames, compressed."""
    arrays = {}
    for number in (1, 2):
        arrays[f'frame{number}'] = np.asarray(picture(rng, size), np.float32)
        arrays[f'mask{number}'] = np.zeros(size, np.float32)
        arrays[f'mask{number}'][100:300, 150:350] = 255
    np.savez_compressed(folder / 'masklet_data_0.npz', **arrays)


def write_sa1b(
    folder: Path, rng: np.random.Generator, size: tuple[int, int] = (1500, 2250), num_masks: int = 100
) -> None:
    """An image with a hundred masks."""
    annotations = []
    while len(annotations) < num_masks:
        mask = ellipse(rng, size)
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(ys):
            box = [int(xs[0]), int(ys[0]), int(xs[-1] - xs[0]), int(ys[-1] - ys[0])]
            annotations.append({'segmentation': encode_rle(mask), 'bbox': box, 'area': int(mask.sum())})
    info = {'width': size[1], 'height': size[0], 'file_name': 'sa_1.jpg'}
    (folder / 'sa_1.json').write_text(json.dumps({'image': info, 'annotations': annotations}))
    picture(rng, size).save(folder / 'sa_1.jpg', quality=90)


def write_openimages(folder: Path, rng: np.random.Generator, size: tuple[int, int] = (768, 1024)) -> None:
    """An image with six masks of another size."""
    for name in ('images', 'masks'):
        (folder / name / 'train').mkdir(parents=True)
    picture(rng, size).save(folder / 'images' / 'train' / 'a1.jpg', quality=90)
    rows = ['MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks']
    for number in range(6):
        mask = np.zeros((1200, 1600), bool)
        mask[100 * number : 100 * number + 300, 200 * number : 200 * number + 400] = True
        Image.fromarray(mask).save(folder / 'masks' / 'train' / f'a1_{number}.png')
        rows.append(f'a1_{number}.png,a1,/m/01,{number},0.1,0.4,0.1,0.4,0.9,')
    (folder / 'train-annotations-object-segmentation.csv').write_text('\n'.join(rows))
    (folder / 'oidv7-class-descriptions.csv').write_text('/m/01,Thing\n')


def write_refcoco(folder: Path, rng: np.random.Generator, size: tuple[int, int] = (480, 640)) -> None:
    """An image with four polygons of sixty corners, each with three sentences."""
    (folder / 'train2014').mkdir()
    picture(rng, size).save(folder / 'train2014' / '1.jpg', quality=90)
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    annotations, refs = [], []
    for number in range(4):
        corners = np.stack([150 + 100 * number + 60 * np.cos(turn), 200 + 90 * np.sin(turn)], axis=1)
        annotations.append({'id': number, 'image_id': 1, 'segmentation': [corners.ravel().tolist()]})
        sentences = [{'sent': f'thing {number} {word}'} for word in ('left', 'right', 'there')]
        refs.append(
            {'ref_id': number, 'ann_id': number, 'image_id': 1, 'split': 'train', 'sentences': sentences}
        )
    image = {'id': 1, 'file_name': '1.jpg', 'height': size[0], 'width': size[1]}
    content = {'images': [image], 'annotations': annotations}
    (folder / 'instances.json').write_text(json.dumps(content))
    (folder / 'refs(unc).json').write_text(json.dumps(refs))
