"""A training loop over draws, its length given in epochs or iterations."""

from mmengine.runner import IterBasedTrainLoop, Runner


class DrawTrainLoop(IterBasedTrainLoop):
    """MMEngine's iteration loop, with ``max_epochs`` as another way to say ``max_iters``.

    Args:
        max_iters: Iterations, or
        max_epochs: Passes over ``len(dataset)`` draws; one of the two.
        kwargs: See ``IterBasedTrainLoop``.

    Raises:
        ValueError: Both or neither is given.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader,
        max_iters: int | None = None,
        max_epochs: float | None = None,
        **kwargs,
    ) -> None:
        if (max_iters is None) == (max_epochs is None):
            raise ValueError('Set either train_cfg.max_iters or train_cfg.max_epochs (the other to None).')
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed)
        iters = max_iters if max_epochs is None else max(1, round(max_epochs * len(dataloader)))
        super().__init__(runner, dataloader, iters, **kwargs)
