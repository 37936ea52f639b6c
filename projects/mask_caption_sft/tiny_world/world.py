"""The whole tiny world on disk."""

import shutil
from pathlib import Path

import numpy as np

from .base_model import new_sa2va, write_base
from .qwen_base import new_qwen3_vl
from .stamp import clear_stamp, is_current, write_stamp
from .writers import write_openimages, write_refcoco, write_sa1b, write_sav

#: Trained weights, on InternVL and on Qwen3-VL; README.md beside them says how they were made.
TRAINED_BASE = Path(__file__).parent / 'base'
TRAINED_QWEN3_VL = Path(__file__).parent / 'base_qwen3_vl'


def write_world(
    out: Path,
    seed: int = 0,
    num_train: int = 400,
    num_val: int = 40,
    limited_expressions: bool = True,
    trained_base: bool = True,
    reuse: bool = False,
) -> bool:
    """Write datasets and bases; the same arguments write the same bytes.

    Args:
        out: Target folder.
        seed: Seed of all random numbers.
        num_train, num_val: Pairs or images per set.
        limited_expressions: See :func:`write_refcoco`.
        trained_base: Copy the trained bases; otherwise randomly initialised ones are written.
        reuse: Leave a world that this code wrote with the same arguments as it is.

    Returns:
        Whether it was written.
    """
    arguments = dict(
        seed=seed, num_train=num_train, num_val=num_val,
        limited_expressions=limited_expressions, trained_base=trained_base,
    )  # fmt: skip
    if reuse and is_current(out, arguments):
        return False
    clear_stamp(out)
    streams = [np.random.default_rng((seed, number)) for number in range(6)]
    write_sav(out / 'train' / 'sav', num_train, streams[0])
    write_sa1b(out / 'train' / 'sa1b', num_train, streams[1])
    write_openimages(out / 'train' / 'openimages', num_train, streams[2])
    write_sav(out / 'val' / 'sav', num_val, streams[3])
    write_sa1b(out / 'val' / 'sa1b', num_val, streams[4])
    write_refcoco(out / 'refcoco', num_train, num_val, streams[5], limited_expressions)
    internvl, qwen3_vl = out / 'sa2va_tiny', out / 'sa2va_tiny_qwen3_vl'
    if trained_base:
        shutil.copytree(TRAINED_BASE, internvl, dirs_exist_ok=True)
        shutil.copytree(TRAINED_QWEN3_VL, qwen3_vl, dirs_exist_ok=True)
    else:
        write_base(new_sa2va(seed), internvl)
        write_base(new_qwen3_vl(seed), qwen3_vl)
    write_stamp(out, arguments)
    return True
