"""Small folders of masks as users have them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from projects.mask_caption_sft.ops.mask import encode_rle
from projects.mask_caption_sft.tiny_world.confusable import confusable_scene
from projects.mask_caption_sft.tiny_world.scene import draw, moved

WIDTH, HEIGHT = 96, 72
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128]


def write_indexed(path: Path, masks: np.ndarray) -> None:
    """An indexed PNG: object i of ``[N, H, W]`` has value i + 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(masks.shape[1:], np.uint8)
    for value, mask in enumerate(masks, start=1):
        labels[mask] = value
    image = Image.fromarray(labels)
    image.putpalette(PALETTE)  # which makes it an indexed one
    image.save(path)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """A black and white PNG of ``[H, W]`` bool."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def write_videos(root: Path, num_videos: int, num_frames: int, seed: int = 0, step: int = 1) -> None:
    """DAVIS: ``JPEGImages/480p/{video}/00000.jpg`` and ``Annotations/480p/{video}/00000.png``."""
    rng = np.random.default_rng(seed)
    for number in range(num_videos):
        scene = confusable_scene(rng)
        for frame in range(num_frames):
            pixels, masks = draw(scene, WIDTH, HEIGHT)
            name = f'480p/video{number}/{frame * step:05d}'
            write_image(root / 'JPEGImages' / f'{name}.jpg', pixels)
            write_indexed(root / 'Annotations' / f'{name}.png', masks)
            scene = moved(scene, rng)


def write_coco(root: Path, num_images: int, seed: int = 0, name: str = 'instances.json') -> Path:
    """``{name}`` with an RLE, a compressed RLE or polygons per annotation, and ``images/``."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(num_images):
        pixels, masks = draw(confusable_scene(rng), WIDTH, HEIGHT)
        write_image(root / 'images' / f'{number:06d}.jpg', pixels)
        images.append({'id': number, 'file_name': f'{number:06d}.jpg', 'height': HEIGHT, 'width': WIDTH})
        for mask in masks:
            annotations.append(
                {
                    'id': len(annotations), 'image_id': number, 'category_id': 7, 'iscrowd': 0,
                    'segmentation': [encode_rle, _counts][len(annotations) % 2](mask),
                }
            )  # fmt: skip
    content = {
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 7, 'name': 'bow_(weapon)'}],
    }
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _counts(mask: np.ndarray) -> dict:
    """Uncompressed RLE: lengths of runs down the columns, of background first."""
    flat = mask.ravel(order='F').astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return {'size': list(mask.shape), 'counts': [0, *counts] if flat[0] else counts}


def write_mask_folder(root: Path, num_images: int, seed: int = 0, twin: bool = True) -> None:
    """``images/0.jpg`` and ``masks/0_0.png``, ``masks/0_1.png``, or all side by side."""
    rng = np.random.default_rng(seed)
    for number in range(num_images):
        pixels, masks = draw(confusable_scene(rng), WIDTH, HEIGHT)
        write_image(root / ('images' if twin else '') / f'scene{number}.jpg', pixels)
        for which, mask in enumerate(masks):
            write_mask(root / ('masks' if twin else '') / f'scene{number}_{which}.png', mask)
