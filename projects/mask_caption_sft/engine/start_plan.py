"""Where a run starts: anew, or from which checkpoint."""

from dataclasses import dataclass, field
from pathlib import Path

from ..checkpoints.integrity import check_whole, iteration_of, resumable
from .restarts import is_restart, note_launch
from .work_dir import set_aside


class StartRefusedError(ValueError):
    """A run was not started, and nothing was changed."""


@dataclass
class Start:
    """Where a run starts.

    Attributes:
        checkpoint: The whole checkpoint to go on from; None for a new run.
        notes: What the log should say about it.
        aside: Checkpoints of the run's folder that it will not continue.
    """

    checkpoint: str | None = None
    notes: list[str] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)


def plan_start(
    work_dir: str | Path,
    resume: bool,
    source: str | None,
    start_over: bool,
    timestamp: str,
    checkpoint_dir: str | Path | None = None,
) -> Start:
    """Find where to start; checkpoints that the run will not continue are moved aside, never deleted.

    The work dir notes who has started the run, for a launcher that starts it again.

    Args:
        work_dir, resume, source, start_over, checkpoint_dir: See :func:`find_start`.
        timestamp: Names the folder that they are moved to.

    Raises:
        StartRefusedError: See :func:`find_start`.
    """
    start = find_start(work_dir, resume, source, start_over, checkpoint_dir)
    if start.aside:
        folder = set_aside(Path(checkpoint_dir or work_dir), start.aside, timestamp)
        names = ', '.join(sorted(path.name for path in start.aside))
        start.notes.append(f'Checkpoints that this run does not continue were moved to {folder}: {names}.')
    note_launch(work_dir)
    return start


def find_start(
    work_dir: str | Path,
    resume: bool,
    source: str | None,
    start_over: bool,
    checkpoint_dir: str | Path | None = None,
) -> Start:
    """Where a run would start; nothing is changed.

    A run that its launcher has started again goes on from its own newest checkpoint, whatever else is
    asked: the command is still that of the first start. If that start ended before it came to here, the
    checkpoints are not its own, and what is asked counts.

    Args:
        work_dir: Of this run.
        resume: Whether to go on from a checkpoint.
        source: A checkpoint, or the folder of a run; None is the work dir itself. Without ``resume`` only
            its weights are meant, and it is not looked at here.
        start_over: Whether checkpoints of the work dir may be moved aside.
        checkpoint_dir: Where the run's checkpoints are, if not in the work dir.

    Raises:
        StartRefusedError: The work dir has checkpoints and is not to be resumed, or there is none to resume.
    """
    folder = Path(checkpoint_dir or work_dir)
    own = resumable(folder)
    if own and is_restart(work_dir):
        return _continue_own(folder)
    if resume and (source is None or _is_same(source, work_dir, folder)):
        return _continue_own(folder)
    if resume and source is not None and _is_same(Path(source).parent, work_dir, folder):
        return _without_newer(folder, Path(_whole(source)), Start())
    start = Start()
    if own:
        if not start_over:
            raise StartRefusedError(
                f'{folder} already holds {own[0].name}. Go on from it with --resume, give another '
                '--work-dir, or pass --start-over: the old checkpoints are then moved aside.'
            )
        start.aside = sorted(folder.glob('*.pth'))
    if resume and source is not None:
        is_folder = Path(source).is_dir()
        start.checkpoint = str(_newest_whole(Path(source), start) if is_folder else _whole(source))
        start.notes.append(f'Going on from {start.checkpoint}.')
    return start


def _is_same(folder: str | Path, *others: str | Path) -> bool:
    return any(Path(folder).resolve() == Path(other).resolve() for other in others)


def _continue_own(folder: Path) -> Start:
    start = Start()
    return _without_newer(folder, _newest_whole(folder, start), start)


def _without_newer(folder: Path, chosen: Path, start: Start) -> Start:
    """Newer ones go aside: a later resume would take them for this run's own."""
    kept = iteration_of(chosen)
    if kept is not None:
        start.aside = [path for path in resumable(folder) if (iteration_of(path) or 0) > kept]
    start.checkpoint = str(chosen)
    start.notes.append(f'Going on from {chosen}.')
    return start


def _whole(source: str | Path) -> str:
    try:
        check_whole(source)
    except (OSError, ValueError) as error:
        others = ', '.join(path.name for path in resumable(Path(source).parent)[:5]) or 'none'
        raise StartRefusedError(f'{error} Checkpoints beside it: {others}.') from error
    return str(source)


def _newest_whole(folder: Path, start: Start) -> Path:
    """The newest checkpoint that is whole; ``last_checkpoint`` is not asked, it may be older or newer."""
    for path in resumable(folder):
        try:
            check_whole(path)
        except (OSError, ValueError) as error:
            start.notes.append(f'{error} Trying the one before.')
        else:
            return path
    tried = f' ({" ".join(start.notes)})' if start.notes else ''
    raise StartRefusedError(
        f'{folder} holds no whole checkpoint to resume{tried}. Is the path right? To start a new run there, '
        'leave out --resume.'
    )
