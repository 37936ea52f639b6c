"""An estimate in words."""

from .estimate import ACTIVATIONS, GIB, RESERVE_RATIO, SETTINGS, Cost, Estimate, usable_bytes

TERA = 10**12


def parameters_table(estimate: Estimate) -> str:
    """Parameters by kind and part."""
    counts = estimate.parameters
    rows = [f'| {kind} | {part} | {number:,} |' for (kind, part), number in counts.items()]
    sums = {
        kind: sum(n for (other, _), n in counts.items() if other == kind) for kind in ('frozen', 'trained')
    }
    rows += [f'| **{kind}** | all | {number:,} |' for kind, number in sums.items()]
    return '\n'.join(['| | part | parameters |', '|---|---|---|', *rows])


def memory_table(cost: Cost) -> str:
    """Memory per GPU by kind."""
    rows = [f'| {_named(kind, cost)} | {size / GIB:.2f} |' for kind, size in cost.memory.items()]
    return '\n'.join(
        ['| memory per GPU | GiB |', '|---|---|', *rows, f'| **together** | {cost.total_bytes / GIB:.2f} |']
    )


def _named(kind: str, cost: Cost) -> str:
    if kind != ACTIVATIONS:
        return kind
    return f'the most that a step holds beside them (in: {cost.peak_part or "losses"})'


def flops_table(cost: Cost) -> str:
    """Work of one iteration by part."""
    parts = sorted(cost.flops.items(), key=lambda item: -item[1])
    rows = [
        f'| {part or "losses"} | {flops / TERA:.4g} |' for part, flops in parts if flops >= 1e-4 * parts[0][1]
    ]
    return '\n'.join(
        [
            '| FLOPs of an iteration | TFLOP |',
            '|---|---|',
            *rows,
            f'| **all** | {cost.total_flops / TERA:.4g} |',
        ]
    )


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
    for setting, name in SETTINGS.items():
        now, largest = getattr(estimate.workload, setting), estimate.largest(setting, limit)
        # Beyond that it is not counted, see largest_that_fits.
        rows.append(f'| {name} | {now} | {"about " if largest > 2 * now else ""}{largest} |')
    reserve = f'{RESERVE_RATIO:.0%} left for what is not counted'
    head = f'| largest that fits {memory_gib:g} GiB, {reserve} | now | largest |'
    return '\n'.join([head, '|---|---|---|', *rows])


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
    """Each setting that can be lowered, with its largest value below the present one that fits."""
    limit, advice = usable_bytes(memory_gib), []
    for setting, name in SETTINGS.items():
        now = getattr(estimate.workload, setting)
        largest = estimate.largest(setting, limit, most=now - 1) if now > 1 else 0
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
    return f'Lower {", or ".join(advice)}{more}.'
