"""An estimate in words."""

from ..ops.markdown import markdown_table
from .estimate import ACTIVATIONS, CHECKPOINTING, GIB, RESERVE_RATIO, SETTINGS, Cost, Estimate, usable_bytes

TERA = 10**12


def parameters_table(estimate: Estimate) -> str:
    """Parameters by kind and part."""
    counts = estimate.parameters
    rows = [(kind, part, f'{number:,}') for (kind, part), number in counts.items()]
    sums = {
        kind: sum(n for (other, _), n in counts.items() if other == kind) for kind in ('frozen', 'trained')
    }
    rows += [(f'**{kind}**', 'all', f'{number:,}') for kind, number in sums.items()]
    return markdown_table(['', 'part', 'parameters'], rows)


def memory_table(cost: Cost) -> str:
    """Memory per GPU by kind."""
    sizes = {_named(kind, cost): size for kind, size in cost.memory.items()}
    sizes['**together**'] = cost.total_bytes
    rows = [(name, f'{size / GIB:.2f}') for name, size in sizes.items()]
    return markdown_table(['memory per GPU', 'GiB'], rows)


def _named(kind: str, cost: Cost) -> str:
    if kind != ACTIVATIONS:
        return kind
    return f'the most that a step holds beside them (in: {cost.peak_part or "losses"})'


def flops_table(cost: Cost) -> str:
    """Work of one iteration by part."""
    parts = sorted(cost.flops.items(), key=lambda item: -item[1])
    shown = [(part or 'losses', flops) for part, flops in parts if flops >= 1e-4 * parts[0][1]]
    rows = [(name, f'{flops / TERA:.4g}') for name, flops in [*shown, ('**all**', cost.total_flops)]]
    return markdown_table(['FLOPs of an iteration', 'TFLOP'], rows)


def memory_line(estimate: Estimate, cost: Cost) -> str:
    """What one GPU needs."""
    held = cost.memory[ACTIVATIONS]
    return (
        f'memory: {cost.total_bytes / GIB:.1f} GiB per GPU, of it {held / GIB:.1f} that a step holds '
        f'(estimated: {estimate.workload.in_words()})'
    )


def iterations_line(iterations: int | None, estimate: Estimate, why_unknown: str = '') -> str:
    """How many there are."""
    if iterations is None:
        return f'iterations: unknown ({why_unknown}); --epoch-len says how many pairs an epoch has'
    return (
        f'iterations: {iterations:,} of {estimate.workload.batch_size} x {estimate.num_gpus} pairs of views'
    )


def hours_line(iterations: int | None, cost: Cost, flops_per_second: float, utilisation: float) -> str:
    """How long they take."""
    seconds = cost.total_flops / (flops_per_second * utilisation)
    each = f'{seconds:.3g} s per iteration ({cost.total_flops / TERA:.3g} TFLOP'
    assumed = f'at {utilisation:.0%} of {flops_per_second / TERA:.3g} TFLOP/s)'
    if iterations is None:
        return f'hours: unknown; {each} {assumed}'
    return f'hours: {iterations * seconds / 3600:.2f}, {each} {assumed}'


def fitting_table(estimate: Estimate, memory_gib: float) -> str:
    """The largest settings that fit a card, each with the others as they are."""
    limit, rows = usable_bytes(memory_gib), []
    rows.append(_recomputed_row(estimate, limit))
    for setting, name in SETTINGS.items():
        now, largest = getattr(estimate.workload, setting), estimate.largest(setting, limit)
        # Beyond that it is not counted, see largest_that_fits.
        rows.append((name, str(now), f'{"about " if largest > 2 * now else ""}{largest}'))
    reserve = f'{RESERVE_RATIO:.0%} left for what is not counted'
    return markdown_table([f'largest that fits {memory_gib:g} GiB, {reserve}', 'now', 'largest'], rows)


def _recomputed_row(estimate: Estimate, limit: float) -> tuple[str, str, str]:
    """The setting that costs time alone, with the smallest value that fits."""
    fewest = estimate.fewest_recomputed(limit)
    least = 'none' if fewest is None else _share(fewest, estimate.num_layers)
    now = _share(estimate.workload.num_recomputed, estimate.num_layers)
    return f'{CHECKPOINTING}, least', now, least


def _share(number: int, num_layers: int) -> str:
    """The share of the layers in two digits, from which exactly this number of layers follows."""
    return f'{number * 100 // num_layers / 100:g} ({number} of {num_layers} layers)'


def over_memory(estimate: Estimate, memory_gib: float) -> str | None:
    """A warning with the numbers that would fit; None if the config's do."""
    cost = estimate.cost()
    if cost.total_bytes <= usable_bytes(memory_gib):
        return None
    return (
        f'This run is estimated to need {cost.total_bytes / GIB:.1f} GiB per GPU; of {memory_gib:.1f} GiB '
        f'about {usable_bytes(memory_gib) / GIB:.1f} can be used. {what_to_lower(estimate, memory_gib)}'
    )


def out_of_memory(estimate: Estimate, memory_gib: float, error: BaseException) -> str:
    """What to lower, and to what, after a step that did not fit.

    What was estimated to fit and did not is lowered until a tenth less is estimated.
    """
    cost = estimate.cost()
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    limit = min(usable_bytes(memory_gib), 0.9 * cost.total_bytes)
    return (
        f'out of memory: {said} The estimate is {cost.total_bytes / GIB:.1f} GiB of {memory_gib:.1f} GiB per '
        f'GPU. {what_to_lower(estimate, limit / GIB / (1 - RESERVE_RATIO))}'
    )


def what_to_lower(estimate: Estimate, memory_gib: float) -> str:
    """What makes the step fit: more layers that run again, which costs time alone; or else, with all of them,
    each setting that can be lowered, with its largest value below the present one that fits."""
    limit, advice = usable_bytes(memory_gib), []
    again, num_layers = estimate.workload.num_recomputed, estimate.num_layers
    fewest = estimate.fewest_recomputed(limit)
    if fewest is not None and again < num_layers:
        now, then = (_share(number, num_layers) for number in (again, max(fewest, again + 1)))
        return f'Raise {CHECKPOINTING} from {now} to {then}: it costs time and changes nothing else.'
    for setting, name in SETTINGS.items():
        now = getattr(estimate.workload, setting)
        largest = estimate.largest(setting, limit, now - 1, num_recomputed=num_layers) if now > 1 else 0
        if largest:
            advice.append(f'{name} from {now} to {largest}')
    if not advice:
        return (
            'No smaller batch fits: what is trained and the frozen weights need '
            f"{sum(estimate.weights.values()) / GIB:.1f} GiB alone. Lower model.sa2va.lora.r or PackRegions' "
            "max_tiles, or set model.sa2va.base_dtype='released' and activation_checkpointing=True."
        )
    more = ''
    if any(text.startswith(SETTINGS['batch_size']) for text in advice):
        more = ' (a smaller batch with a larger optim_wrapper.accumulative_counts learns the same)'
    before = f'Set {CHECKPOINTING}=True and lower' if again < num_layers else 'Lower'
    return f'{before} {", or ".join(advice)}{more}.'
