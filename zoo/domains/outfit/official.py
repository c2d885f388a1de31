"""The released third-party network: CLIP features, task tokens, a wide pre-norm transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mish

from zoo.domains.outfit.network import OutfitNetwork, unit_halves
from zoo.errors import InputError


class OfficialOutfit(OutfitNetwork):
    """OutfitTransformer as released by owj0421 with FashionCLIP items; 50,238,833 parameters as they are here.

    A sequence is a task token and the items, every position scaled to length 1 per half. Six pre-norm layers without
    a final norm run over it; position 0 gives the score or the query embedding. An item is embedded by a sequence of
    itself alone. There is no position and no type embedding, so the order of items means nothing.

    Args:
        image_features: Width of an item's image features; others than ``half`` are projected first (no counterpart
            in the released model).
        text_features: Width of an item's text features, likewise.
        half: Half of the transformer's width.
        layers: Transformer layers.
        heads: Attention heads.
        ffn: Width of the feed-forward layers; the released model really has 2024.
        dropout: In the layers and before the score.
        embedding: E, width of the query and item embeddings.
        max_items: Only the first so many items of an outfit are used.
    """

    def __init__(
        self,
        image_features: int = 512,
        text_features: int = 512,
        half: int = 512,
        layers: int = 6,
        heads: int = 16,
        ffn: int = 2024,
        dropout: float = 0.3,
        embedding: int = 128,
        max_items: int | None = 16,
    ) -> None:
        super().__init__(image_features, text_features, max_items)
        if 2 * half % heads:
            raise InputError(f"{heads} heads do not divide the width {2 * half}")
        self.side, self.embedding = half, embedding
        self.task_emb, self.predict_emb, self.embed_emb = (nn.Parameter(torch.randn(half) * 0.02) for _ in range(3))
        self.pad_emb = nn.Parameter(torch.randn(2 * half) * 0.02)
        layer = nn.TransformerEncoderLayer(2 * half, heads, ffn, dropout, mish, batch_first=True, norm_first=True)
        self.style_enc = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.predict_ffn = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * half, 1))
        self.embed_ffn = nn.Sequential(nn.Linear(2 * half, embedding, bias=False))
        self.projections = nn.ModuleDict()
        for name, width in (("image", image_features), ("text", text_features)):
            if width not in (0, half):
                self.projections[name] = nn.Linear(width, half)

    def logits(self, features: Tensor, mask: Tensor) -> Tensor:
        """Compatibility before the sigmoid, ``(B,)``; see :meth:`OutfitNetwork.logits`."""
        logits: Tensor = self.predict_ffn(self.read(features, mask, self.predict_emb)).squeeze(-1)
        return logits

    def queries(self, features: Tensor, mask: Tensor, target: Tensor | None = None) -> Tensor:
        """Query embeddings ``(B, E)``; the released model is never told what is looked for.

        Raises:
            InputError: A target is given.
        """
        if target is not None:
            raise InputError("target: the official network takes no description of the target; variant paper does")
        query: Tensor = self.embed_ffn(self.read(features, mask, self.embed_emb))
        return query

    def embed_item(self, items: Tensor) -> Tensor:
        """Embeddings ``(N, E)`` of items ``(N, F)``: each a sequence of its own, without a token."""
        self._check(0, items)
        embedded: Tensor = self.embed_ffn(self.style_enc(self._units(items).unsqueeze(1))[:, 0])
        return embedded

    def sequence(self, features: Tensor, mask: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Token and items, ``(B, 1 + L, 2 * half)``, every half of length 1; and the mask of real positions."""
        items = torch.where(mask.unsqueeze(-1), self._units(features), unit_halves(self.pad_emb, self.side))
        start = unit_halves(torch.cat([self.task_emb, token]), self.side).expand(items.shape[0], 1, -1)
        return torch.cat([start, items], 1), torch.cat([mask.new_ones(mask.shape[0], 1), mask], 1)

    def read(self, features: Tensor, mask: Tensor, token: Tensor) -> Tensor:
        """What the transformer says at the token, ``(B, 2 * half)``."""
        sequence, real = self.sequence(features, mask, token)
        hidden: Tensor = self.style_enc(sequence, src_key_padding_mask=~real)
        return hidden[:, 0]

    def _units(self, features: Tensor) -> Tensor:
        parts = []
        for name, part in zip(("image", "text"), self.halves(features), strict=True):
            if name in self.projections:
                part = self.projections[name](nn.functional.normalize(part, dim=-1))
            parts.append(part if part.shape[-1] else part.new_zeros(*part.shape[:-1], self.side))
        return unit_halves(torch.cat(parts, -1), self.side)
