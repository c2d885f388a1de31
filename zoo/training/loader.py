"""The data loader: errors of its processes arrive as they were raised, and a process that dies is named."""

from __future__ import annotations

import pickle
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import ProcessError
from typing import Any

from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _BaseDataLoaderIter, _MultiProcessingDataLoaderIter

from zoo.errors import ZooError

# PyTorch's own words where it notices by itself: in the handler of SIGCHLD, that is anywhere in the main process
_NOTICED = re.compile(r"DataLoader worker \(pid|Pin memory thread exited")
_SCARCE = re.compile(r"Too many open files|received \d+ items of ancdata")


class LoaderDied(ZooError):
    """A process that loads data died, and with it the batches it had in hand."""


class _Forwarded:
    """An error of an item, on its way from a loader process to the main process."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Guarded(Dataset[Any]):
    """Gives whole batches; an item that cannot be used comes back from a loader process as the error it raised.

    PyTorch would forward the text of a traceback in an error of the same class.

    Args:
        items: Items by key.
        collate: Joins items to a batch.
    """

    def __init__(self, items: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.items, self.collate = items, collate

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    def __getitems__(self, keys: Sequence[Any]) -> Any:
        """The batch of these keys."""
        if get_worker_info() is None:
            return self.collate([self.items[key] for key in keys])
        try:
            return self.collate([self.items[key] for key in keys])
        except (ZooError, OSError) as error:
            forwarded = _forwardable(error)
            if forwarded is None:
                raise
            return forwarded


def _forwardable(error: Exception) -> _Forwarded | None:
    """The error for another process, with its traceback as a note; None where it does not survive pickling."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        same = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a class of errors does when it is pickled: it is raised the usual way then
        return None
    return _Forwarded(error) if str(same) == str(error) else None


def as_is(batch: Any) -> Any:
    """The batch, which is joined already."""
    return batch


class Loader(DataLoader[Any]):
    """A DataLoader over :class:`Guarded` data whose loader processes are watched."""

    def _get_iterator(self) -> _BaseDataLoaderIter:
        return super()._get_iterator() if self.num_workers == 0 else _Watched(self)


class _Watched(_MultiProcessingDataLoaderIter):
    def _get_data(self) -> Any:
        """Fetches from the loader processes; nothing of a worker's own code is raised in here.

        A process that is killed while a tensor's file descriptor is fetched from it shows as a broken connection, a
        missing socket or a cut-off message, before the system tells that the process is gone.
        """
        try:
            return super()._get_data()
        except (OSError, EOFError, RuntimeError, ProcessError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            if _SCARCE.search(reason):
                raise ZooError(
                    "too many open files to fetch data; raise the limit (ulimit -n) or lower data.workers"
                ) from error
            self._hear_of_it()
            raise LoaderDied(f"a data loader process died ({reason})") from error

    def _hear_of_it(self, seconds: float = 0.5) -> None:
        """Waits for the system to tell that a process is gone.

        PyTorch raises an error of its own then, once, wherever the main process is: better here than after the end.
        """
        deadline = time.monotonic() + seconds
        with suppress(RuntimeError):
            while time.monotonic() < deadline and all(worker.is_alive() for worker in self._workers):
                time.sleep(0.01)

    def _process_data(self, data: Any, worker_idx: int) -> Any:
        batch = super()._process_data(data, worker_idx)
        if isinstance(batch, _Forwarded):
            raise batch.error
        return batch


@contextmanager
def deaths_told(advice: Callable[[], str]) -> Iterator[None]:
    """Turns the death of a loader process, wherever it shows, into one line.

    Args:
        advice: Gives what to do about it.

    Raises:
        LoaderDied: Instead of the error that came of it.
    """
    try:
        yield
    except Exception as error:
        reason = _death(error)
        if reason is None:
            raise
        raise LoaderDied(f"{reason}; {advice()}") from error


def _death(error: BaseException | None) -> str | None:
    """What says in an error, or in those it came from, that a loader process died."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, LoaderDied):
            return str(error)
        if isinstance(error, RuntimeError) and _NOTICED.match(str(error)):
            return f"a data loader process died ({' '.join(str(error).split())})"
        error = error.__cause__ or error.__context__
    return None
