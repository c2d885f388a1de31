"""TSE: the embedding of the tokens that the global token looks at most."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.domains.reid.towers import TowerOutput


class TokenSelection(nn.Module):
    """Selects tokens by attention and pools them: ``max over tokens of mlp(x) + fc(x)``, x of unit length.

    ``k = int((N - specials) * ratio)`` tokens are selected, fewer where a caption has fewer words. The mlp is Linear,
    BatchNorm over all selected tokens of the batch, ReLU, Linear.

    Source: Qin et al., CVPR 2024, section 3.2, as the released code has it (the row of the end token for captions; the
    paper writes row 0, which in a causal text transformer sees the start token alone).

    Args:
        embed: D, width of the tokens.
        tse: T, width of the embedding.
        ratio: Share of the tokens that is selected, in (0, 1].
        specials: Tokens of a sequence that are neither patch nor word.
        unused: Keep the second BatchNorm, which the released model holds and never uses.
        unused_linear: Keep the linear layer, which the released model holds on its image side and never uses.
    """

    def __init__(
        self,
        embed: int = 512,
        tse: int = 1024,
        ratio: float = 0.3,
        specials: int = 1,
        unused: bool = False,
        unused_linear: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio: {ratio} given, expected a number in (0, 1]")
        self.ratio, self.specials = ratio, specials
        self.inner = nn.Linear(embed, embed)
        self.norm = nn.BatchNorm1d(embed)
        self.outer = nn.Linear(embed, tse)
        self.fc = nn.Linear(embed, tse)
        self.unused = nn.ModuleDict()
        if unused:
            self.unused["norm"] = nn.BatchNorm1d(tse)
        if unused_linear:
            self.unused["linear"] = nn.Linear(embed, tse)
        self.unused.requires_grad_(False)  # or DistributedDataParallel would wait for their gradients

    def select(self, output: TowerOutput) -> tuple[Tensor, Tensor]:
        """The tokens that count.

        Returns:
            Positions ``(B, k)``, best first, and bool ``(B, k)``: False where a caption has fewer words than k.
        """
        real, position = output.real, output.position
        count = max(1, int((real.shape[1] - self.specials) * self.ratio))
        row = output.attention[torch.arange(real.shape[0], device=real.device), position].float()
        # what fills a short caption up counts in the statistics of the batch: padding before start and end tokens
        place = torch.arange(real.shape[1], device=real.device)
        special = (place == 0) | (place == position.unsqueeze(1))
        chosen = row.masked_fill(~real, -0.5).masked_fill(special, -1.0).topk(count, dim=1)
        return chosen.indices, chosen.values >= 0

    def forward(self, output: TowerOutput) -> Tensor:
        """The embedding ``(B, T)`` of a tower's output."""
        positions, valid = self.select(output)
        x = output.tokens.gather(1, positions.unsqueeze(-1).expand(-1, -1, output.tokens.shape[-1]))
        x = x / (x.norm(dim=-1, keepdim=True) + 1e-8)
        x = x.to(self.inner.weight.dtype)
        hidden = self.inner(x)
        # over B * k rows, in the precision of the statistics
        normed = self.norm(hidden.flatten(0, 1).float()).view_as(hidden).to(hidden.dtype)
        features = self.outer(torch.relu(normed)) + self.fc(x)
        return features.masked_fill(~valid.unsqueeze(-1), -torch.inf).amax(1)
