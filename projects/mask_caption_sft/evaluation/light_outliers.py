"""Images that are black, white, or grey."""

from typing import Any

#: Mean brightness of an image that is nearly black or white, and mean spread of its channels if it is grey.
BLACK, WHITE, GREY = 0.02, 0.98, 0.004
_MOST_NAMED = 100


class LightOutliers:
    """Counts them, and names those that are black or white: frames in a wrong range look so."""

    def __init__(self) -> None:
        self.black = self.white = self.grey = 0
        self.sums = [0.0, 0.0]
        self.views = 0
        self.named: list[str] = []

    def add(self, sample_id: str, brightness: list[float], saturation: list[float]) -> None:
        """The views of a record."""
        black = sum(value < BLACK for value in brightness)
        white = sum(value > WHITE for value in brightness)
        self.black, self.white = self.black + black, self.white + white
        self.grey += sum(value < GREY for value in saturation)
        self.views += len(brightness)
        self.sums = [self.sums[0] + sum(brightness), self.sums[1] + sum(saturation)]
        if black + white and len(self.named) < _MOST_NAMED:
            self.named.append(sample_id)

    def summary(self) -> dict[str, Any]:
        """Counts of views, means, and the first hundred names."""
        means = [round(value / max(1, self.views), 4) for value in self.sums]
        return {
            'views': self.views, 'black': self.black, 'white': self.white, 'grey': self.grey,
            'mean_brightness': means[0], 'mean_saturation': means[1], 'named': self.named,
        }  # fmt: skip
