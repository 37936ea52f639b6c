"""A log that may fail without taking the run with it."""

import logging
from typing import Any

from mmengine.dist import master_only
from mmengine.logging import print_log
from mmengine.registry import VISUALIZERS
from mmengine.visualization import Visualizer


@VISUALIZERS.register_module()
class ForgivingVisualizer(Visualizer):
    """MMEngine's ``Visualizer``; a backend that cannot write, on a full disk for one, is named once.

    Values and pictures of that moment are lost. What writes at once, as the local backend does, is tried
    again with each later one; TensorBoard writes in a thread that ends at the first failure, so its file
    gets nothing more. The text log needs no
    such care: ``logging`` reports a failed write on standard error and goes on.
    """

    def __init__(self, name: str = 'visualizer', *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs)
        self._failed: set[str] = set()

    @master_only
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """One value to every backend."""
        self._to_all('add_scalar', name, value, step, **kwargs)

    @master_only
    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None) -> None:
        """Values to every backend."""
        self._to_all('add_scalars', scalar_dict, step, file_path)

    @master_only
    def add_image(self, name: str, image: Any, step: int = 0) -> None:
        """A picture to every backend."""
        self._to_all('add_image', name, image, step)

    @master_only
    def close(self) -> None:
        """Close every backend."""
        self._to_all('close')

    def _to_all(self, method: str, *args: Any, **kwargs: Any) -> None:
        for name, backend in self._vis_backends.items():
            try:
                getattr(backend, method)(*args, **kwargs)
            except OSError as error:
                if name not in self._failed:
                    print_log(
                        f'{name} cannot write ({error}); the run goes on without what it would have logged. '
                        'Free some space in the work dir.',
                        'current',
                        logging.WARNING,
                    )
                self._failed.add(name)
