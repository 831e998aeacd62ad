"""The small differentiable heads of the roles embed and read. Knows no templates and no data.

Parameter names are those of the shipped checkpoint under `heads.<role>.`; `encoders` runs the same
mathematics without autograd (tested against these modules).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rwkv_rag.rwkv.layout import HEAD_SIZE
from rwkv_rag.tuning.network import Block, Memory, Network, NetworkShape, inside


class Heads(nn.Module):
    """All heads and the initial states of the roles, trained together with one base."""

    def __init__(
        self,
        shape: NetworkShape,
        dimension: int,
        dropout: float = 0.0,
    ) -> None:
        """`dimension`: of the embedding head's vectors; `dropout`: of the reading head."""
        super().__init__()
        self.embed = EmbedHead(shape, dimension)
        self.read = ReadHead(shape, dropout)
        zeros = torch.zeros(shape.layers, shape.heads, HEAD_SIZE, HEAD_SIZE)
        self.states = nn.ParameterDict(
            {role: nn.Parameter(zeros.clone()) for role in ("embed", "read")}
        )


class EmbedHead(nn.Module):
    """A unit vector from what a text's tokens mean by themselves, and from what the base read.

    Both are sums over the tokens. Each token of the vocabulary has a learned weight, as in smooth
    inverse frequency (Arora et al. 2017): what stands everywhere tells little.
    """

    def __init__(self, shape: NetworkShape, dimension: int) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.vocab, dimension)
        nn.init.normal_(self.words.weight, std=dimension**-0.5)
        self.importance = nn.Embedding(shape.vocab, 1)  # logarithms of the weights
        nn.init.zeros_(self.importance.weight)
        self.proj = nn.Linear(shape.width, dimension, bias=False)
        nn.init.zeros_(self.proj.weight)

    def forward(self, base: Network, state: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (B, D) of right-padded `ids` (B, T) that end at `lengths` with end-of-text."""
        hidden, _ = base.hidden(ids, state)
        weights = self.importance(ids).exp() * inside(lengths, ids.shape[1])
        meant, read = ((x * weights).sum(1) for x in (self.words(ids), hidden))
        read = read / hidden.shape[-1] ** 0.5  # as long as what is meant, or it learns too fast
        return F.normalize(meant + self.proj(read).float(), dim=-1)

    def of_words(self, words: Tensor, offsets: Tensor) -> Tensor:
        """Vectors (B, D) by what tokens mean alone, as long as `proj` has learned nothing.

        `words` is all texts in one row, text i from `offsets[i]`; `offsets` (B + 1).
        """
        weights = self.importance.weight[:, 0].exp()[words]
        meant = F.embedding_bag(
            words,
            self.words.weight,
            offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )
        return F.normalize(meant, dim=-1)


class ReadHead(nn.Module):
    """Start and end scores for every token, from two RWKV-7 blocks over the base's hidden states.

    One block reads on, the other backwards, so that every token is judged with both sides known;
    both are told where the passage meets the question (`role.matches`), and what in the question
    each token is about (the aligned question of Chen et al. 2017: a state of constant size forgets
    the question while it reads, attention to its few tokens does not). Index 0 (end-of-text) has
    then seen all, and scores "not answered here".
    """

    def __init__(self, shape: NetworkShape, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.match = nn.Embedding(3, shape.width)
        self.ask = nn.Linear(shape.width, shape.width)
        self.meet = nn.Linear(2 * shape.width, shape.width, bias=False)
        self.ahead, self.back = Block(shape, 0), Block(shape, 0)
        self.mix = nn.Linear(2 * shape.width, shape.width)
        self.out = nn.Linear(shape.width, 2)

    def forward(
        self, base: Network, state: Tensor, ids: Tensor, lengths: Tensor, match: Tensor,
        first: Tensor,
    ) -> Tensor:  # fmt: skip
        """Scores (B, T, 2): start and end of the answer, fp32; meaningless past `lengths`.

        The question stands from index 1 to `first` (B,), where the passage begins.
        """
        hidden, _ = base.hidden(ids, state)
        hidden = self.dropout(hidden + self.match(match) + self._met(hidden, first))
        order = reversal(lengths, ids.shape[1])  # its own inverse
        flip = order[..., None].expand(-1, -1, hidden.shape[-1])
        size = (len(ids), self.back.att.heads, HEAD_SIZE, HEAD_SIZE)
        start = Memory.fresh(hidden.new_zeros(size, dtype=torch.float32))
        ahead, _, _ = self.ahead(hidden, None, start)
        back, _, _ = self.back(hidden.gather(1, flip), None, start)
        both = torch.cat([ahead, back.gather(1, flip)], -1)
        scores: Tensor = self.out(F.gelu(self.mix(self.dropout(both)))).float()
        return scores

    def _met(self, hidden: Tensor, first: Tensor) -> Tensor:
        """What each token (B, T, C) finds in the question, by itself and beside the token."""
        question = hidden[:, 1 : int(first.max())]  # (B, Q, C)
        compared, asked = F.relu(self.ask(hidden)), F.relu(self.ask(question))
        scores = compared.float() @ asked.float().mT / hidden.shape[-1] ** 0.5  # (B, T, Q)
        number = torch.arange(1, int(first.max()), device=first.device)
        scores = scores.masked_fill((number >= first[:, None])[:, None], -torch.inf)
        found = scores.softmax(-1) @ question
        met: Tensor = self.meet(torch.cat([found, found * hidden], -1))
        return met


def reversal(lengths: Tensor, total: int) -> Tensor:
    """Indices (B, total) that reverse the first `lengths[i]` positions and leave the others."""
    position = torch.arange(total, device=lengths.device).expand(len(lengths), -1)
    mirrored = lengths[:, None] - 1 - position
    return torch.where(mirrored >= 0, mirrored, position)
