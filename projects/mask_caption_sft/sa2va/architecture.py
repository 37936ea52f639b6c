"""What joins the two models of a Sa2VA."""

from torch import nn


def build_text_hidden_fcs(width: int, prompt_width: int) -> nn.Sequential:
    """``[SEG]`` state of some width to prompt embedding: Linear, ReLU, Linear, Dropout(0)."""
    return nn.Sequential(
        nn.Linear(width, width),
        nn.ReLU(inplace=True),
        nn.Linear(width, prompt_width),
        nn.Dropout(0.0),
    )
