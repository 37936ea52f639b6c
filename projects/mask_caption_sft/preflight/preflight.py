"""Checks and rehearses a run, and says everything that is wrong with it."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from ..engine.context import context_problems
from ..engine.failures import in_one_line
from ..engine.settings import config_problems
from ..engine.start_plan import StartRefusedError
from ..engine.training_runner import checkpoint_dir
from ..engine.work_dir import writable
from ..hooks.cost_report_hook import out_of_memory_advice
from ..ops.unwrapped import unwrapped
from ..sa2va.released_sizes import stand_in_name
from ..structures import RegionSample
from .costs import disk_lines, estimated_lines, measured_lines
from .parts import (
    base_problems,
    look_at_datasets,
    missing_base,
    model_without_base,
    parameter_groups,
    size_problems,
    sizes_line,
)
from .rehearsal import RehearsalHook, RehearsalRunner, rehearsal_config


def preflight(config: Config) -> int:
    """Look at every part; if all are in place, do once what the run will do, in a folder below its work dir.

    That is one real update, one validation batch of each dataset, and one checkpoint, written and read
    back. The folder is removed again; nothing that was saved before is touched. Without the base's
    checkpoint its architecture is built on the meta device, which needs neither weights nor memory.

    Under a launcher every process takes part, and the first one speaks.

    Returns:
        Exit status: 0 if the run can start.
    """
    rank = os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or '0'
    is_silent = config.get('launcher', 'none') != 'none' and rank != '0'
    with redirect_stdout(io.StringIO()) if is_silent else nullcontext():
        return _preflight(config)


def _preflight(config: Config) -> int:
    missing = missing_base(config)
    problems = [missing] if missing else base_problems(config)
    problems += config_problems(config, base_is_there=not problems)
    if missing:
        with _noting(problems, 'Building the model'):
            student = model_without_base(config)
            name = stand_in_name(config.model['sa2va'].get('base'))
            print(f'Model: {name} on the meta device (shapes only)')
            print(parameter_groups(student))
            problems += context_problems(config, student)
    samples: dict[str, RegionSample] = {}
    for loader in ('train_dataloader', 'val_dataloader'):
        datasets = ((config.get(loader) or {}).get('dataset') or {}).get('datasets')
        if datasets is not None:
            samples |= look_at_datasets(datasets, f'{loader}.dataset.datasets', problems)
    try:
        with writable(config.work_dir) as work_dir:
            if not problems:
                _rehearse(config, work_dir, samples, problems)
    except OSError as error:
        problems.append(str(error))
    return _verdict(problems)


def _rehearse(config: Config, work_dir: Path, samples: dict[str, RegionSample], problems: list[str]) -> None:
    short = rehearsal_config(config)
    runner: RehearsalRunner | None = None
    try:
        with _noting(problems, 'Building the run'):
            runner = RehearsalRunner.from_cfg(short)
        if runner is None:
            return
        student = unwrapped(runner.model).student
        print(f'\nModel: {config.model["sa2va"].get("base") or "a new one"}')
        print(parameter_groups(student))
        print(sizes_line(student.sizes))
        problems += size_problems(samples, student.sizes)
        problems += context_problems(config, student)
        if problems:
            return
        hook = RehearsalHook()
        runner.register_hook(hook)
        print('\nA first update, a checkpoint and a short validation ...', flush=True)
        with _noting(problems, 'The first update or validation'):
            try:
                runner.train()
            except (torch.OutOfMemoryError, torch.cuda.OutOfMemoryError) as error:
                problems.append(out_of_memory_advice(runner, error))
        if not problems:
            lines = [
                *measured_lines(runner, hook.found),
                *disk_lines(runner, work_dir, hook.found, problems),
                *estimated_lines(runner, config),
            ]
            print('\n'.join(['', *lines]), flush=True)
    finally:
        if not problems:  # a process that has failed ends at once; its launcher ends those that wait for it
            barrier()
        if is_main_process():
            for folder in {Path(short.work_dir), checkpoint_dir(short, short.work_dir)}:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _noting(problems: list[str], doing: str) -> Iterator[None]:
    """An exception inside becomes a problem in one line."""
    try:
        yield
    except StartRefusedError as error:
        problems.append(str(error))
    except Exception as error:  # whatever it is, the run itself would end with it
        problems.append(in_one_line(error, doing))


def _verdict(problems: list[str]) -> int:
    if problems:
        print(f'\n{len(problems)} problem(s); nothing was trained:')
        for number, problem in enumerate(problems, start=1):
            print(f'{number:>3}. {" ".join(problem.split())}')
        return 1
    print('\nEverything is in place; nothing was trained.')
    return 0
