"""Files from someone who wishes harm: nothing is run, nothing outside is touched, and training goes on."""

import builtins
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...hooks.skip_report_hook import LIST_NAME
from .. import hostile_files
from ..campaign import Campaign, newest
from ..ordeal import Ordeal
from ..outcome import Outcome
from ..training import ITERS_PER_UPDATE, SAVE_INTERVAL

#: Enough draws to meet each of four datasets.
_UPDATES = 16
#: All of their records are broken, for which the run would stop.
_BROKEN_ALLOWED = 'custom_hooks.1.max_broken_ratio=1.0'


def checkpoints(campaign: Campaign) -> list[Outcome]:
    """The run goes on from it, or from the one before, and executes nothing."""
    return [
        _checkpoint(campaign, hostile_files.config_that_runs, is_refused=False),
        _checkpoint(campaign, hostile_files.pickle_that_runs, is_refused=True),
    ]


def _checkpoint(campaign: Campaign, change: Callable[[Path, Path], None], is_refused: bool) -> Outcome:
    reference, last = campaign.reference(), campaign.training.updates - SAVE_INTERVAL
    ordeal = campaign.ordeal(change.__name__, at=(last - SAVE_INTERVAL, last))
    trap = _trap(ordeal)
    change(newest(ordeal.work_dir), trap)
    if is_refused:
        ordeal.expect((last - SAVE_INTERVAL) * ITERS_PER_UPDATE, reached=last * ITERS_PER_UPDATE)
    differing = ordeal.complete(reference, '--resume')
    _require_unsprung(ordeal, trap)
    return campaign.judge(_title('checkpoint', change), 1, [ordeal], differing)


def bases(campaign: Campaign) -> list[Outcome]:
    """The run is refused with the reason; with the honest base it goes on."""
    outcomes = []
    for change, reason in hostile_files.BASES.items():
        reference = campaign.reference()
        ordeal = campaign.ordeal(change.__name__, at=(campaign.training.updates - SAVE_INTERVAL,))
        base, trap = ordeal.work_dir.with_name(f'{ordeal.work_dir.name}_base'), _trap(ordeal)
        shutil.copytree(campaign.training.place / 'data' / 'tiny_world' / 'sa2va_tiny', base)
        change(base, trap)
        run = ordeal.start(settings=(f'model.sa2va.base={base}',), arm=_says_yes)
        codes = run.end()
        if 0 in codes or reason not in run.log.text:
            ordeal.problems.append(f'ended with {codes} without {reason!r} ({run.log.path})')
        _require_unsprung(ordeal, trap)
        outcomes.append(campaign.judge(_title('base', change), 1, [ordeal], ordeal.complete(reference)))
    return outcomes


def _says_yes(rank: int) -> None:
    """Whatever a library asks on the terminal."""
    builtins.input = lambda *_: 'y'


def datasets(campaign: Campaign) -> list[Outcome]:
    """Each record is named and skipped and the run comes to its end; an index that would run is refused."""
    ordeal = _with_data(campaign, 'records', list(hostile_files.RECORDS.values()))
    trap = _trap(ordeal)
    run = ordeal.start(settings=(_BROKEN_ALLOWED,))
    codes = run.end()
    ordeal.account(run.log)
    ordeal.require(codes, 0, run.log)
    path = ordeal.work_dir / LIST_NAME
    lines = path.read_text().splitlines() if path.is_file() else []
    named = [json.loads(line)['sample_id'] for line in lines]
    for dataset in hostile_files.RECORDS:
        if not any(f'/{dataset}/' in name for name in named):
            ordeal.problems.append(f'no record of {dataset} was named as skipped ({run.log.path})')
    _require_unsprung(ordeal, trap)
    titles = ', '.join(change.__name__.replace('_', ' ') for change in hostile_files.RECORDS.values())
    rows = [campaign.judge(f'hostile datasets: {titles}', len(hostile_files.RECORDS), [ordeal], None)]

    ordeal = _with_data(campaign, 'refs', [hostile_files.refs_that_run])
    run = ordeal.start()
    codes = run.end()
    if 0 in codes or 'is not a pickle of plain containers' not in run.log.text:
        ordeal.problems.append(f'ended with {codes}, not refused ({run.log.path})')
    _require_unsprung(ordeal, _trap(ordeal))
    rows.append(campaign.judge(_title('dataset', hostile_files.refs_that_run), 1, [ordeal], None))
    return rows


def _with_data(campaign: Campaign, name: str, changes: list[Callable[[Path, Path], None]]) -> Ordeal:
    """A new run on data of its own."""
    place = campaign.folder / f'place_{name}'
    shutil.copytree(campaign.training.place / 'data', place / 'data')
    ordeal = campaign.ordeal(name, training=replace(campaign.training, place=place, updates=_UPDATES))
    for change in changes:
        change(place / 'data' / 'tiny_world', _trap(ordeal))
    return ordeal


def _trap(ordeal: Ordeal) -> Path:
    return ordeal.work_dir.with_name(f'{ordeal.work_dir.name}_was_executed')


def _require_unsprung(ordeal: Ordeal, trap: Path) -> None:
    if trap.exists():
        ordeal.problems.append(f'code in the file was executed ({trap})')


def _title(kind: str, change: Callable[[Path, Path], None]) -> str:
    return f'hostile {kind}: {change.__name__.replace("_", " ")}'
