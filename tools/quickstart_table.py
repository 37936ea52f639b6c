"""Prints what a short run did, from its own logs: losses, IoU before and after, the controls, a picture.

python tools/quickstart_table.py work_dirs/quickstart
"""

import _root  # noqa: F401
import argparse
import json
import sys
from pathlib import Path

ROWS = {
    'mask -> caption -> mask\' IoU': 'mask_cycle/second_view_iou',
    '  same view': 'mask_cycle/same_view_iou',
    '  control: shuffled caption': 'mask_cycle/shuffled_iou',
    '  control: blank caption': 'mask_cycle/blank_iou',
    '  right mask of the image picked': 'mask_cycle/confuser_accuracy',
    '  most frequent caption\'s share': 'mask_cycle/top_caption_share',
    'expression -> mask cIoU': 'ref_seg/cIoU',
    'expression -> mask mIoU': 'ref_seg/mIoU',
}  # fmt: skip
LOSSES = ('loss', 'loss_iou', 'loss_mask', 'loss_dice', 'loss_caption', 'loss_llm', 'loss_kl')


def read_scalars(work_dir: Path) -> tuple[list[dict], list[dict]]:
    """Training and validation rows of the newest run's ``scalars.json``."""
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not files:
        sys.exit(f'error: {work_dir} holds no */vis_data/scalars.json. Train first: bash tools/quickstart.sh')
    rows = [json.loads(line) for line in files[-1].read_text().splitlines()]
    return [r for r in rows if 'loss' in r], [r for r in rows if 'mask_cycle/counted' in r]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path)
    work_dir = parser.parse_args().work_dir
    train, val = read_scalars(work_dir)
    print(f'\n{"":<34}{"before":>9}{"after":>9}')
    for title, key in ROWS.items():
        print(f'{title:<34}{val[0].get(key, float("nan")):>9.3f}{val[-1].get(key, float("nan")):>9.3f}')
    print(f'\n{"training":<34}{"first":>9}{"last":>9}')
    for key in LOSSES:
        print(f'{key:<34}{train[0].get(key, float("nan")):>9.3f}{train[-1].get(key, float("nan")):>9.3f}')
    pictures = sorted(
        work_dir.glob('*/vis_data/vis_image/samples_*.png'), key=lambda path: path.stat().st_mtime
    )
    print(f'\nheld-out regions: {val[-1]["mask_cycle/counted"]:.0f}')
    print(f"picture (image1 + mask1, caption, image2 + mask'): {pictures[-1] if pictures else 'none'}")


if __name__ == '__main__':
    main()
