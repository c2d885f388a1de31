"""The paper's network: projected image and text features, an outfit token, a target-item token."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from zoo.domains.outfit.network import OutfitNetwork
from zoo.errors import InputError


class PaperOutfit(OutfitNetwork):
    """OutfitTransformer as the paper describes it.

    Image features (of a CNN) and text features (of a sentence encoder) pass a linear layer each, to ``half`` numbers;
    together they are the item's embedding, which is also what a query is compared with. Compatibility: an outfit token
    in front of the items, an MLP on its output. Retrieval: instead of it a token of the target, an empty image beside
    the text of what is looked for, and another MLP, whose output shall lie near the embedding of the item. No position
    embedding, so the order of items means nothing.

    The paper gives no width of the feed-forward layers, no dropout and no shape of the MLPs; those are choices here.

    Args:
        image_features: Width of an item's image features (512 for ResNet-18); 0 leaves all of the embedding to texts.
        text_features: Width of an item's text features (384 for MiniLM); 0 leaves all of it to images.
        half: Numbers that each modality is projected to.
        layers: Transformer layers.
        heads: Attention heads.
        ffn: Width of the feed-forward layers.
        dropout: In the layers.
        normalise: Scale each half of the features to a root mean square of 1 first, so that their scale means nothing.
            The paper does not; with an image encoder trained along, False is its setting.
        norm_first: Normalise before attention and feed-forward instead of after them.
        max_items: Only the first so many items of an outfit are used; None for any number.
    """

    takes_target = True

    def __init__(
        self,
        image_features: int = 512,
        text_features: int = 384,
        half: int = 64,
        layers: int = 6,
        heads: int = 16,
        ffn: int = 512,
        dropout: float = 0.1,
        normalise: bool = True,
        norm_first: bool = False,
        max_items: int | None = None,
    ) -> None:
        super().__init__(image_features, text_features, max_items)
        width = 2 * half
        if width % heads:
            raise InputError(f"{heads} heads do not divide the width {width}")
        self.embedding, self.normalise = width, normalise
        widths = {"image": image_features, "text": text_features}
        share = half if image_features and text_features else width
        self.projections = nn.ModuleDict({name: nn.Linear(size, share) for name, size in widths.items() if size})
        self.outfit_token = nn.Parameter(torch.randn(width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, ffn, dropout, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.score_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.target_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def logits(self, features: Tensor, mask: Tensor) -> Tensor:
        """Compatibility before the sigmoid, ``(B,)``; see :meth:`OutfitNetwork.logits`."""
        logits: Tensor = self.score_head(self.read(features, mask, self.outfit_token)).squeeze(-1)
        return logits

    def queries(self, features: Tensor, mask: Tensor, target: Tensor | None = None) -> Tensor:
        """Query embeddings ``(B, 2 * half)``; without a target its text half is as empty as its image half."""
        if target is None:
            target = features.new_zeros(features.shape[0], self.text_features)
        if target.shape != (features.shape[0], self.text_features):
            given, wanted = tuple(target.shape), (features.shape[0], self.text_features)
            raise InputError(f"target: shape {given} given, expected {wanted}, the text features of what is looked for")
        empty = features.new_zeros(features.shape[0], self.image_features)
        token = self._project(torch.cat([empty, target], -1)).unsqueeze(1)
        query: Tensor = self.target_head(self.read(features, mask, token))
        return query

    def embed_item(self, items: Tensor) -> Tensor:
        """Embeddings ``(N, 2 * half)`` of items ``(N, F)``: what the item encoder gives, before the transformer."""
        self._check(0, items)
        return self._project(items)

    def read(self, features: Tensor, mask: Tensor, token: Tensor) -> Tensor:
        """What the transformer says at the token in front of the items, ``(B, 2 * half)``."""
        sequence = torch.cat([token.expand(features.shape[0], 1, -1), self._project(features)], 1)
        real = torch.cat([mask.new_ones(mask.shape[0], 1), mask], 1)
        hidden: Tensor = self.encoder(sequence, src_key_padding_mask=~real)
        return hidden[:, 0]

    def _project(self, features: Tensor) -> Tensor:
        image, text = self.halves(features)
        parts = []
        for name, part in (("image", image), ("text", text)):
            if name in self.projections:
                part = normalize(part, dim=-1) * part.shape[-1] ** 0.5 if self.normalise else part
                parts.append(self.projections[name](part))
        return torch.cat(parts, -1)
