"""Whether the metrics that hooks wait for will be among those that validation gives."""

from mmengine.config import Config

from ..evaluation.region_metric import RegionMetric
from ..ops.metric_names import own_name

#: Hooks in ``default_hooks`` that wait for a metric, and their setting that names it.
_WAITING = {'checkpoint': 'save_best', 'early_stopping': 'monitor'}


def check_monitored(config: Config) -> None:
    """Refuse to wait for a metric that validation will give another name.

    MMEngine finds that out at the first validation, hours into a run: choosing the best checkpoint
    ends it there, and early stopping warns and never stops.

    Args:
        config: Of a run that trains.

    Raises:
        ValueError: ``model.predict_answers`` or ``model.predict_captions`` makes it another measurement, or
            no metric of the validation has such a name.
    """
    measured, all_known = _measured_prefixes(config)
    mends = []
    for hook, setting in _WAITING.items():
        name = (config.get('default_hooks', {}).get(hook) or {}).get(setting)
        for monitored in [name] if isinstance(name, str) else name or []:
            prefix, _, score = monitored.partition('/')
            right = measured.get(own_name(prefix), prefix)
            key = f'default_hooks.{hook}.{setting}'
            if right != prefix:
                mends.append((key, monitored, f'{right}/{score}'))
            elif all_known and prefix not in measured.values() and monitored != 'auto':
                there = ', '.join(f'{prefix}/...' for prefix in measured.values())
                example = f'{measured.get("mask_cycle", "mask_cycle")}/second_view_iou'
                raise ValueError(
                    f'{key}={monitored} is not measured in validation: its metrics are named {there}. Set '
                    f'{key}={example}, for one, or None.'
                )
    if mends:
        model = config.model
        raise ValueError(
            f'{" and ".join(f"{key}={wrong}" for key, wrong, _ in mends)} will not be measured: with '
            f'model.predict_captions={model.get("predict_captions", 1)} and '
            f'model.predict_answers={model.get("predict_answers", "written")} metrics have other names. '
            f'Set {" ".join(f"{key}={right}" for key, _, right in mends)}'
        )


def _measured_prefixes(config: Config) -> tuple[dict[str, str], bool]:
    """Own name of each metric of regions -> the name that it will have; whether there is no other metric."""
    evaluator = config.get('val_evaluator') or []
    found = {}
    metrics = [evaluator] if isinstance(evaluator, dict) else evaluator
    for metric in metrics:
        kind = metric.get('type')
        own = metric.get('prefix') or getattr(kind, 'default_prefix', None)
        if own and isinstance(kind, type) and issubclass(kind, RegionMetric):
            best_of = config.model.get('predict_captions', 1)
            is_given = config.model.get('predict_answers') == 'given'
            found[own] = kind.measured_prefix(own, best_of, is_given)
    return found, 0 < len(metrics) == len(found)
