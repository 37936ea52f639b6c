"""Prints what a short run did, from its own logs: losses, IoU before and after, the controls, a picture.

python tools/quickstart_table.py work_dirs/quickstart
"""

import _root  # noqa: F401
import argparse
import sys
from pathlib import Path

from projects.mask_caption_sft.ops.metric_names import measured_how
from projects.mask_caption_sft.reporting.run_log import logged_as, pictures, read_run

ROWS = {
    'mask -> caption -> mask\' IoU': 'mask_cycle/second_view_iou',
    '  same view': 'mask_cycle/same_view_iou',
    '  control: shuffled caption': 'mask_cycle/shuffled_iou',
    '  control: blank caption': 'mask_cycle/blank_iou',
    '  right mask of the image picked': 'mask_cycle/confuser_accuracy',
    '  most frequent caption\'s share': 'mask_cycle/top_caption_share',
    'caption: all it says is true': 'truth/true',
    '  and of no other thing': 'truth/unambiguous',
    '  false, yet the mask is found': 'truth/code',
    '  words it did not say, said': 'truth/recall_unsaid',
    '  words that people teach, said': 'truth/recall_taught',
    'expression -> mask cIoU': 'ref_seg/cIoU',
    '  words it did not hear': 'ref_seg_unheard/cIoU',
    '  other words': 'ref_seg_heard/cIoU',
    'expression -> mask mIoU': 'ref_seg/mIoU',
}  # fmt: skip
#: Those that are logged are shown.
LOSSES = (
    'loss', 'loss_weighted', 'loss_best', 'loss_iou', 'loss_mask', 'loss_dice', 'loss_caption', 'loss_llm',
    'loss_kl',
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path)
    work_dir = parser.parse_args().work_dir
    try:
        log = read_run(work_dir)
    except FileNotFoundError as error:
        sys.exit(f'error: {error}')
    if not log.val:
        sys.exit(f'error: {work_dir} has no validation. Leave val_dataloader in the config.')
    before, after = log.first_val, log.last_val
    train = [row for _, row in sorted(log.train.items())]
    print(f'\n{measured_how(after):<36}{"before":>9}{"after":>9}')
    for title, name in ROWS.items():
        key = logged_as(name, after)
        print(f'{title:<36}{before.get(key, float("nan")):>9.3f}{after.get(key, float("nan")):>9.3f}')
    print(f'\n{"training":<36}{"first":>9}{"last":>9}')
    for key in [name for name in LOSSES if name in train[-1]]:
        print(f'{key:<36}{train[0].get(key, float("nan")):>9.3f}{train[-1].get(key, float("nan")):>9.3f}')
    drawn = pictures(work_dir)
    print(f'\nheld-out regions: {after[logged_as("mask_cycle/counted", after)]:.0f}')
    print(f"picture (image1 + mask1, caption, image2 + mask'): {drawn[-1] if drawn else 'none'}")


if __name__ == '__main__':
    main()
