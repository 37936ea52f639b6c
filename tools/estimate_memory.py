"""Counts the GPU memory of a training step, without a GPU and without weights.

    python tools/estimate_memory.py configs/mask_caption_sft_4b.py --regions 1 2 4 5

It runs the step on tensors without values and adds up what autograd keeps for the backward pass. Not
counted: what passes without gradient need for a moment, gradients of activations on their way, the
allocator's waste and CUDA's own. Words are counted with the tiny world's tokenizer.
"""

import _root  # noqa: F401
import argparse
from pathlib import Path

import torch
from _config import add_config, read_config

from projects.mask_caption_sft.checkpoints.config import read_config as read_base
from projects.mask_caption_sft.engine.step_memory import StepShapes, count_saved, count_weights
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.ops.build import build
from projects.mask_caption_sft.sa2va.meta import build_on_meta

GIB = 2**30


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    parser.add_argument('--regions', type=int, nargs='+', default=[1, 2, 4, 5], help='per image')
    return parser.parse_args()


def build_model(config) -> MaskCaptionSFT:
    """The config's model on the meta device; without its base, of Sa2VA-4B's sizes."""
    settings = {key: value for key, value in config.model['sa2va'].items() if key not in ('base', 'type')}
    base = config.model['sa2va'].get('base')
    is_there = base is not None and (Path(base) / 'config.json').is_file()
    student = build_on_meta(read_base(base) if is_there else None, **settings)
    return build({**config.model, 'sa2va': student})


def main() -> None:
    args = parse_args()
    config = read_config(args)
    dtype = config.optim_wrapper.get('dtype')
    weights = count_weights(build_model(config), with_autocast=dtype is not None)
    print('| weights | GiB |\n|---|---|')
    for name, size in weights.items():
        print(f'| {name} | {size / GIB:.1f} |')
    total = sum(weights.values())
    print(f'| together | {total / GIB:.1f} |')
    for row, num_regions in enumerate(args.regions):
        model = build_model(config)
        shapes = StepShapes.largest(config, model, num_regions)
        saved = count_saved(model, shapes, dtype and getattr(torch, dtype))
        if row == 0:
            print(
                f'\n{len(shapes.num_tiles) // 2} images of {shapes.num_tiles[0]} tiles in two views; tokens '
                f'behind them: {shapes.describe_len} describe, {shapes.segment_len} segment; GiB:\n'
            )
            print('| regions per image | ' + ' | '.join(saved) + ' | all activations | with weights |')
            print('|---' * (len(saved) + 3) + '|')
        sizes = [*saved.values(), sum(saved.values()), sum(saved.values()) + total]
        print(f'| {num_regions} | ' + ' | '.join(f'{size / GIB:.1f}' for size in sizes) + ' |', flush=True)


if __name__ == '__main__':
    main()
