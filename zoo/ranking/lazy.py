"""Similarities, positives and masks that are described instead of computed: what a loss needs comes row by row.

A matrix `(Q, G)` of 32,000 by 32,000 takes 4 GB, its gradient as much again; the embeddings behind it take 64 MB each.
Every similarity loss takes one of these objects wherever it takes the matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.ranking.checks import accumulation_dtype, check_real


class LazySimilarity(ABC):
    """Similarity of every query to every gallery entry, `(Q, G)`, computed when it is asked for.

    A subclass says what a block is worth (`tile`) and how its slope reaches the embeddings (`pull`).

    Args:
        queries: `(Q, D)` floating point; float16 and bfloat16 are compared in float32.
        gallery: `(G, D)`, same dtype and device.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if a shape, dtype or device does not fit.
    """

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        for name, tensor in (("queries", queries), ("gallery", gallery)):
            check_real(name, tensor)
            if tensor.ndim != 2:
                raise ValueError(f"{name}: shape {tuple(tensor.shape)} given, expected (n, D)")
        if gallery.shape[1] != queries.shape[1]:
            raise ValueError(f"gallery: {gallery.shape[1]} features given, expected {queries.shape[1]} as in queries")
        if gallery.dtype != queries.dtype:
            raise ValueError(f"gallery: dtype {gallery.dtype} given, expected {queries.dtype} as in queries")
        if gallery.device != queries.device:
            raise ValueError(f"gallery: lies on {gallery.device}, expected {queries.device} as queries do")
        self.queries, self.gallery = queries, gallery

    @property
    def shape(self) -> torch.Size:
        """`(Q, G)`."""
        return torch.Size((len(self.queries), len(self.gallery)))

    @property
    def device(self) -> torch.device:
        """Where the embeddings lie."""
        return self.queries.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the embeddings."""
        return self.queries.dtype

    @property
    def T(self) -> Self:
        """Every gallery entry against every query."""
        return type(self)(self.gallery, self.queries)

    def parts(self) -> tuple[Tensor, Tensor]:
        """What `tile` compares, `(Q, D)` and `(G, D)`, in the dtype of the computation and on the graph."""
        dtype = accumulation_dtype(self.queries)
        return self.prepare(self.queries.to(dtype)), self.prepare(self.gallery.to(dtype))

    def dense(self) -> Tensor:
        """The matrix, `(Q, G)`."""
        with torch.autocast(self.device.type, enabled=False):
            return self.tile(*self.parts())

    @staticmethod
    def prepare(embeddings: Tensor) -> Tensor:
        """What is done to embeddings `(n, D)` once, beforehand."""
        return embeddings

    @staticmethod
    @abstractmethod
    def tile(queries: Tensor, gallery: Tensor) -> Tensor:
        """Similarity of prepared embeddings: `(q, D)`, `(g, D)` -> `(q, g)`."""

    @staticmethod
    @abstractmethod
    def pull(slope: Tensor, tile: Tensor, queries: Tensor, gallery: Tensor, into: Tensor) -> Tensor:
        """From the slope of a tile to those of its embeddings.

        Args:
            slope: `(q, g)`, of the loss by the tile.
            tile: `(q, g)`.
            queries: `(q, D)`.
            gallery: `(g, D)`.
            into: `(g, D)`; the gallery's slope is added to it.

        Returns:
            `(q, D)`, the queries' slope.
        """


class Dot(LazySimilarity):
    """Scalar products."""

    @staticmethod
    def tile(queries: Tensor, gallery: Tensor) -> Tensor:
        """See the base class."""
        return queries @ gallery.T

    @staticmethod
    def pull(slope: Tensor, tile: Tensor, queries: Tensor, gallery: Tensor, into: Tensor) -> Tensor:
        """See the base class."""
        into.addmm_(slope.T, queries)
        return slope @ gallery


class Cosine(Dot):
    """Scalar products of the normalised embeddings; a zero embedding is orthogonal to all."""

    @staticmethod
    def prepare(embeddings: Tensor) -> Tensor:
        """See the base class."""
        return F.normalize(embeddings, dim=-1)


class Euclidean(LazySimilarity):
    """Minus the Euclidean distance; where two embeddings coincide it has the slope 0."""

    @staticmethod
    def tile(queries: Tensor, gallery: Tensor) -> Tensor:
        """See the base class."""
        # squares of differences, not differences of squares: exact where the two nearly coincide
        return -torch.cdist(queries, gallery, compute_mode="donot_use_mm_for_euclid_dist")

    @staticmethod
    def pull(slope: Tensor, tile: Tensor, queries: Tensor, gallery: Tensor, into: Tensor) -> Tensor:
        """See the base class."""
        share = torch.where(tile < 0, slope / tile, 0.0)
        into.addmm_(share.T, queries, alpha=-1).add_(share.sum(0).unsqueeze(1) * gallery)
        return share.sum(1, keepdim=True) * queries - share @ gallery


class LazyRelation:
    """Which query and which gallery entry belong together, bool `(Q, G)`, by one id each.

    Args:
        queries: `(Q,)` ids: any dtype that can be compared.
        gallery: `(G,)`, same dtype and device.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if a shape, dtype or device does not fit.
    """

    dtype: ClassVar[torch.dtype] = torch.bool
    equal: ClassVar[bool]

    def __init__(self, queries: Tensor, gallery: Tensor) -> None:
        for name, tensor in (("queries", queries), ("gallery", gallery)):
            if not isinstance(tensor, Tensor):
                raise TypeError(f"{name}: {type(tensor).__name__} given, expected a torch.Tensor of ids")
            if tensor.ndim != 1:
                raise ValueError(f"{name}: shape {tuple(tensor.shape)} given, expected (n,), one id each")
        if gallery.dtype != queries.dtype:
            raise ValueError(f"gallery: dtype {gallery.dtype} given, expected {queries.dtype} as in queries")
        if gallery.device != queries.device:
            raise ValueError(f"gallery: lies on {gallery.device}, expected {queries.device} as queries do")
        self.queries, self.gallery = queries, gallery

    @property
    def shape(self) -> torch.Size:
        """`(Q, G)`."""
        return torch.Size((len(self.queries), len(self.gallery)))

    @property
    def device(self) -> torch.device:
        """Where the ids lie."""
        return self.queries.device

    @property
    def T(self) -> Self:
        """The same with the sides exchanged."""
        return type(self)(self.gallery, self.queries)

    def dense(self) -> Tensor:
        """The matrix, bool `(Q, G)`."""
        return self[slice(None)]

    def __getitem__(self, rows: slice) -> Tensor:
        """Rows of the matrix."""
        compare = torch.eq if self.equal else torch.ne
        return compare(self.queries[rows].unsqueeze(1), self.gallery)


class Same(LazyRelation):
    """True where the ids are equal: the positives of a batch with labels, `Same(label, label)`."""

    equal = True


class Different(LazyRelation):
    """True where the ids differ: a mask that leaves each item itself out is `Different(index, index)`."""

    equal = False


Matrix = Tensor | LazySimilarity
Relation = Tensor | LazyRelation


@overload
def dense(x: Tensor | LazySimilarity | LazyRelation) -> Tensor: ...


@overload
def dense(x: None) -> None: ...


def dense(x: Tensor | LazySimilarity | LazyRelation | None) -> Tensor | None:
    """The matrix itself."""
    return x if x is None or isinstance(x, Tensor) else x.dense()
