"""Bounds what a small file may make us allocate."""

from __future__ import annotations

from zoo.checkpoint.records import Malformed

_EXPANDED = 1 << 30  # bytes; tensors saved as an expanded view (stride 0) are larger than their storage


class Budget:
    """Counts the memory that rebuilt objects take.

    Args:
        size: Bytes of the file. Genuine files hold every byte they stand for once; a copy or two is allowed.
    """

    def __init__(self, size: int) -> None:
        self._copies = 8 * size + (1 << 20)
        self._expanded = _EXPANDED

    def copy(self, count: int) -> None:
        """Takes ``count`` bytes, or items, that are copied from the file.

        Raises:
            Malformed: The file asks for many times its own size.
        """
        self._copies -= count
        if self._copies < 0:
            raise Malformed("it asks for much more memory than the file has bytes")

    def expand(self, count: int) -> None:
        """Takes ``count`` bytes by which a tensor is larger than its storage.

        Raises:
            Malformed: More than 1 GiB is asked for in all.
        """
        self._expanded -= max(0, count)
        if self._expanded < 0:
            raise Malformed("its tensors are far larger than the data behind them")
