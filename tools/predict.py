"""One image and a sentence -> masks; one image and a mask -> a caption.

    python tools/predict.py --checkpoint OUT --image cat.jpg --text "the left cat" --output_dir predictions
    python tools/predict.py --checkpoint work_dirs/run/iter_4000.pth --image cat.jpg --mask cat.png
    python tools/predict.py --checkpoint OUT --image cat.jpg --mask cat.png --captions 8

CHECKPOINT is a directory in the released layout, an adapter, or a checkpoint of ours (its base is found
automatically).
Pixels become masks as in upstream's `predict_forward`: dynamic tiling, thumbnail for the visual
prompt, greedy decoding, the state at [SEG], two upsamplings, threshold 0.5. With --captions 8, seven
more are sampled, and the one from which the model finds the mask best is printed. An answer without [SEG]
has no mask: it is printed, and the exit status is 1.
"""

import _root  # noqa: F401
import argparse
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from projects.mask_caption_sft.datasets.base import read_image
from projects.mask_caption_sft.demo.asking import describe_mask, encode, segment_text
from projects.mask_caption_sft.sa2va.building import load_trained
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import ImageFeatures
from projects.mask_caption_sft.visualization.region_picture import overlay


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--image', required=True, type=Path)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument('--text', help='what to segment')
    asked.add_argument('--mask', type=Path, help='image file; what is not black is the region to describe')
    parser.add_argument('--captions', type=int, default=1, help='with --mask: write so many, print the best')
    parser.add_argument('--output_dir', '--output-dir', type=Path, default=Path('predictions'))
    parser.add_argument('--base', help='the base of an adapter or a checkpoint of ours, if it has moved')
    parser.add_argument('--teacher', action='store_true', help='the averaged weights of a checkpoint of ours')
    parser.add_argument('--max-tiles', type=int, help="default: max_dynamic_patch of the model's config.json")
    parser.add_argument('--allow-empty-prompt', action='store_true',
                        help='as upstream: a mask smaller than a cell may mark none')  # fmt: skip
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    if args.captions < 1 or (args.captions > 1 and args.mask is None):
        parser.error(f'--captions {args.captions}: give --mask and at least 1, the greedy caption')
    return args


def describe(
    model: Sa2VA, features: ImageFeatures, path: Path, size, allow_empty_prompt: bool, num_captions: int
) -> str:
    """Caption of the region in a mask file: the greedy one, or the best of several.

    Raises:
        ValueError: The mask is empty or of another size than the image.
    """
    mask = read_image(path).any(axis=-1)
    if mask.shape != tuple(size) or not mask.any():
        raise ValueError(
            f'{path} is {mask.shape[1]} x {mask.shape[0]} with {mask.sum()} pixels set, the image is '
            f'{size[1]} x {size[0]}. The mask must have the size of the image and mark a region.'
        )
    return describe_mask(model, features, mask, num_captions, allow_empty_prompt)


def segment(model: Sa2VA, features: ImageFeatures, text: str, pixels: np.ndarray, out_dir: Path) -> str:
    """Write every mask and its overlay; returns what the model said, and the files.

    Raises:
        ValueError: The answer holds no ``[SEG]``.
    """
    said, masks = segment_text(model, features, text, pixels.shape[:2])
    if not masks:
        said = textwrap.shorten(said, 200)
        raise ValueError(
            f'the answer has no [SEG], so there is no mask: {said!r}. Ask for one thing that is in the image '
            '("the left cat"); if every answer is like this, the checkpoint no longer segments.'
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    lines = [said]
    for number, mask in enumerate(masks):
        picture = overlay(pixels, mask)
        for name, content in (('mask', mask), ('overlay', picture)):
            path = out_dir / f'{name}_{number}.png'
            Image.fromarray(content).save(path)
            lines.append(f'{path}  {mask.mean():.2%} of the image')
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    try:
        side = 'teacher' if args.teacher else 'student'
        model = load_trained(args.checkpoint, args.base, side, round_grounding_stats=True)
        model = model.to(args.device).eval()
        pixels = read_image(args.image)
        features = encode(model, Image.fromarray(pixels), args.max_tiles)
        if args.mask is not None:
            size, marks_none = pixels.shape[:2], args.allow_empty_prompt
            print(describe(model, features, args.mask, size, marks_none, args.captions))
        else:
            print(segment(model, features, args.text, pixels, args.output_dir))
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
