"""Some rows of the token embeddings, trained while the rest of the matrix is frozen."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TokenRows(nn.ParameterDict):
    """The trained rows by token id, in float32; they stand in for those of the matrix.

    Args:
        embedding: ``[V, D]``, the matrix, whose rows they begin as.
        token_ids: Which rows.
    """

    def __init__(self, embedding: Tensor, token_ids: Sequence[int]) -> None:
        rows = {str(i): nn.Parameter(embedding[i].detach().float().clone()) for i in token_ids}
        super().__init__(rows)

    def read(self, embedding: Tensor) -> None:
        """Take the values of the matrix again."""
        for token_id, row in self.items():
            row.data.copy_(embedding[int(token_id)])

    def put_in(self, embeds: Tensor, ids: Tensor) -> Tensor:
        """``[..., D]`` embeddings of tokens ``[...]``, with the trained rows where they belong."""
        for token_id, row in self.items():
            embeds = torch.where((ids == int(token_id))[..., None], row, embeds)
        return embeds
