"""What became of a run after a fault, and the table of all of them."""

from dataclasses import dataclass, field

from ..ops.markdown import markdown_table


@dataclass
class Outcome:
    """One row of the table.

    Attributes:
        fault: What was done.
        times: How often.
        recovered: How often the run went on, or ended, as it is promised to.
        lost_updates: The most updates that had to be trained again after one time; None where that
            is no question.
        allowed_updates: The most that may be.
        equal: Whether the last checkpoint is bit-equal with the undisturbed run's; None where there is
            no such run to compare with.
        problems: What must not have happened, in words.
    """

    fault: str
    times: int
    recovered: int
    lost_updates: int | None = None
    allowed_updates: int = 0
    equal: bool | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return (
            self.recovered == self.times
            and (self.lost_updates or 0) <= self.allowed_updates
            and self.equal is not False
            and not self.problems
        )


_HEADS = ('fault', 'times', 'recovered', 'lost updates at most', 'equal')


def table(outcomes: list[Outcome]) -> str:
    """Markdown; under it what went wrong, row by row."""
    lines = [markdown_table(_HEADS, map(_cells, outcomes))]
    wrong = [f'- {outcome.fault}: {text}' for outcome in outcomes for text in outcome.problems]
    return '\n'.join([*lines, *(['', *wrong] if wrong else [])])


def _cells(outcome: Outcome) -> tuple[str, ...]:
    lost = '' if outcome.lost_updates is None else str(outcome.lost_updates)
    if (outcome.lost_updates or 0) > outcome.allowed_updates:
        lost = f'{lost}, more than {outcome.allowed_updates}'
    equal = {True: 'yes', False: 'NO', None: ''}[outcome.equal]
    return outcome.fault, str(outcome.times), str(outcome.recovered), lost, equal
