"""A comparison of two steps as Markdown, and as plain data."""

import statistics
from collections import Counter
from typing import Any

from ..ops.markdown import markdown_table
from .census import (
    BACKWARD,
    FORWARD,
    MASK_DECODER,
    RECOMPUTED,
    SAM2_ENCODER,
    VIT,
    Call,
    Census,
)
from .compare import OURS, PLAIN, StepCosts, median_ratio

TERA, MIB = 10**12, 2**20


def comparison_table(costs: dict[str, StepCosts], matmul_rate: float) -> str:
    """Time, memory, work and tokens of both steps.

    Args:
        costs: From ``compare_steps``.
        matmul_rate: FLOPs per second of a large product on the same device.
    """
    rows = [
        _row('seconds, median', costs, lambda c: statistics.median(c.seconds), median_ratio(costs)),
        *_cpu_rows(costs),
        _row('peak memory, MiB', costs, lambda c: c.memory() / MIB, digits=0),
        _row('of it weights, MiB', costs, lambda c: c.weight_bytes / MIB, digits=0),
        _row('TFLOP', costs, lambda c: c.census.total() / TERA, digits=3),
        *(
            _row(f'TFLOP {phase}', costs, lambda c, phase=phase: c.census.total(phase) / TERA, digits=3)
            for phase in (FORWARD, RECOMPUTED, BACKWARD)
        ),
        _row('F, the language model in all phases', costs, lambda c: c.census.forward_equivalents()),
        _row('tokens through the language model', costs, lambda c: c.census.tokens(), digits=0),
        _row('of them padding, %', costs, lambda c: 100 * c.census.padding_ratio()),
        _row('share of the matmul rate, %', costs, lambda c: 100 * utilisation(c, matmul_rate)),
    ]
    return markdown_table(['', 'plain', 'ours', 'plain / ours'], rows)


def _cpu_rows(costs: dict[str, StepCosts]) -> list[list[str]]:
    if not costs[PLAIN].cpu_seconds:
        return []
    ratio = median_ratio(costs, 'cpu_seconds')
    return [_row('processor seconds, median', costs, lambda c: statistics.median(c.cpu_seconds), ratio)]


def utilisation(costs: StepCosts, matmul_rate: float) -> float:
    """Model FLOPs utilisation: work without recomputation, per second, over what a product reaches."""
    useful = costs.census.total(FORWARD) + costs.census.total(BACKWARD)
    return useful / statistics.median(costs.seconds) / matmul_rate


def _row(
    name: str, costs: dict[str, StepCosts], value, ratio: float | None = None, digits: int = 2
) -> list[str]:
    plain, ours = value(costs[PLAIN]), value(costs[OURS])
    if ratio is None:
        ratio = plain / ours if ours else None
    shown = '' if ratio is None else f'{ratio:.2f}'
    return [name, f'{plain:,.{digits}f}', f'{ours:,.{digits}f}', shown]


def time_table(costs: StepCosts) -> str:
    """Each part's share of the timed steps, the largest first."""
    names = {name for parts in costs.part_seconds for name in parts}
    spent = {name: sum(parts.get(name, 0.0) for parts in costs.part_seconds) for name in names}
    total = sum(spent.values())
    rows = [
        (name or 'losses', f'{seconds / total:.1%}')
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1])
        if seconds >= 1e-3 * total
    ]
    return markdown_table(['part', 'share of the time'], rows)


def parts_table(census: Census) -> str:
    """One row per part, its language model's recomputation and backward pass included; then the sum."""
    rest = census.total(BACKWARD, '') + census.total(RECOMPUTED, '')
    rows = [
        *(_part_row(census, part) for part in census.parts()),
        ['backward and again, outside the language model', *[''] * 7, f'{rest / TERA:.3f}'],
        [
            '**sum**', '', f'{census.tokens():,}', f'{census.padding_ratio():.0%}',
            f'{census.forward_equivalents():.2f}', '', '', '', f'{census.total() / TERA:.3f}',
        ],
    ]  # fmt: skip
    heads = [
        'part', 'language model', 'tokens', 'padding', 'F', 'ViT tiles', 'SAM 2 images', 'masks', 'TFLOP',
    ]  # fmt: skip
    return markdown_table(heads, rows)


def _part_row(census: Census, part: str) -> list[str]:
    modules = (VIT, SAM2_ENCODER, MASK_DECODER)
    return [
        part or 'outside',
        calls_in_words(census.calls_of(part)),
        f'{census.tokens(part):,}',
        f'{census.padding_ratio(part):.0%}',
        f'{census.forward_equivalents(part):.2f}',
        *(str(sum(call.rows for call in census.calls_of(part, module))) for module in modules),
        f'{census.total(None, part) / TERA:.3f}',
    ]


def calls_in_words(calls: list[Call]) -> str:
    """Calls of the language model as ``rows x length``, equal ones together."""
    alike = Counter((call.rows, call.length) for call in calls)
    words = [f'{"" if n == 1 else f"{n} of "}{rows} x {length}' for (rows, length), n in alike.items()]
    return ', '.join(words)


def as_data(costs: dict[str, StepCosts], matmul_rate: float) -> dict[str, Any]:
    """The same for a JSON file."""
    return {
        'median_ratio': median_ratio(costs),
        'matmul_flops_per_second': matmul_rate,
        'steps': {name: _step_as_data(step, matmul_rate) for name, step in costs.items()},
    }


def _step_as_data(step: StepCosts, matmul_rate: float) -> dict[str, Any]:
    census = step.census
    return {
        'seconds': step.seconds,
        'cpu_seconds': step.cpu_seconds,
        'part_seconds': [dict(parts) for parts in step.part_seconds],
        'peak_memory_bytes': step.memory(),
        'weight_bytes': step.weight_bytes,
        'flops': {phase: census.total(phase) for phase in (FORWARD, RECOMPUTED, BACKWARD)},
        'forward_equivalents': census.forward_equivalents(),
        'prompt_flops': census.prompt_flops,
        'tokens': census.tokens(),
        'padding_ratio': census.padding_ratio(),
        'utilisation': utilisation(step, matmul_rate),
        'parts': {
            part: {
                'tokens': census.tokens(part),
                'padding_ratio': census.padding_ratio(part),
                'forward_equivalents': census.forward_equivalents(part),
                'flops': {
                    module: census.total(None, part, module)
                    for module in dict.fromkeys(key[2] for key in census.flops if key[1] == part)
                },
                'calls': [
                    [c.module, c.rows, c.length, c.num_padding, c.with_gradient]
                    for c in census.calls_of(part)
                ],
            }
            for part in census.parts()
        },
    }
