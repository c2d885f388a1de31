"""Reader of the LETOR text format: ``label qid:Q 1:v 2:v ... F:v #docid = D ...``, a line per document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zoo.training import DataError, refuse
from zoo.training.lines import as_text, text_lines

_LABEL = re.compile(r"[+-]?\d+")
_DIGITS = 9  # of a label or of the number of a feature
_DOCUMENT = re.compile(r"docid\s*=\s*(\S+)")


@dataclass
class Query:
    """One query and its documents, in the order of the file.

    Attributes:
        qid: Name of the query.
        place: File and line of its first document, for messages.
        lines: Line number of each document in the file, from 1.
        documents: ``docid`` of each document, empty text where the line has none.
        labels: Relevance grade of each document.
        rows: Feature values of each document, F numbers each.
        error: What is wrong with its first unusable line; such a query is counted or stops the reading.
    """

    qid: str
    place: str
    lines: list[int] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    error: DataError | None = None

    @property
    def features(self) -> np.ndarray:
        """``(N, F)`` float32."""
        return np.stack(self.rows)

    @property
    def target(self) -> np.ndarray:
        """``(N,)`` int64."""
        return np.asarray(self.labels, dtype=np.int64)


def read_letor(
    file: Path,
    features: int,
    grades: int | None = None,
    strict: bool = True,
    spare: Callable[[DataError], None] = refuse,
) -> list[Query]:
    """Reads a file of queries.

    Args:
        file: Text in LETOR format; the lines of a query stand together; every line gives all features.
        features: F, the number of features of a document.
        grades: Labels are 0 to ``grades - 1``; None takes any whole number.
        strict: Stop at the first bad line. Otherwise a bad line makes its query unusable (``Query.error``).
        spare: What is done with a line whose query cannot be told, and with one of a query that stands elsewhere
            already; such a line is left out.

    Returns:
        The queries, at least one.

    Raises:
        DataError: The file is missing, empty or no text, or a line is malformed; names file and line.
    """
    queries: dict[str, Query] = {}
    current = ""
    for place, line in text_lines(file):
        body, _, comment = line.partition("#")
        words = body.split()
        if not line.strip():
            continue
        try:
            qid = _qid(words, place)
            if qid in queries and qid != current:
                raise DataError(
                    f"{place}: query {qid} appears again (first at {queries[qid].place}); its lines must stand together"
                )
        except DataError as error:
            spare(error)
            continue
        current = qid
        if qid not in queries:
            queries[qid] = Query(qid, place)
        query = queries[qid]
        try:
            as_text(place, line)
            label = _label(words[0], grades, place)
            row = _features(words[2:], features, place)
        except DataError as error:
            if strict:
                raise
            query.error = query.error or error
            continue
        found = _DOCUMENT.search(comment)
        query.lines.append(int(place.rpartition(":")[2]))
        query.documents.append(found.group(1) if found else "")
        query.labels.append(label)
        query.rows.append(row)
    if not queries:
        raise DataError(f"{file}: the file holds no document; a line is 'label qid:Q 1:v ... {features}:v #docid = D'")
    return list(queries.values())


def _qid(words: list[str], place: str) -> str:
    name = words[1].removeprefix("qid:") if len(words) > 1 else ""
    if not name or name == words[1]:
        found = repr(words[1]) if len(words) > 1 else "the end of the line"
        raise DataError(f"{place}: expected 'qid:<query>' after the label, found {found}")
    return name


def _label(word: str, grades: int | None, place: str) -> int:
    if not _LABEL.fullmatch(word):
        raise DataError(f"{place}: label {word!r} is no whole number")
    if len(word) > _DIGITS:
        raise DataError(f"{place}: label {word} is out of range")
    label = int(word)
    if grades is not None and not 0 <= label < grades:
        raise DataError(f"{place}: label {label} is out of range, expected 0 to {grades - 1}")
    return label


def _features(words: Iterable[str], features: int, place: str) -> np.ndarray:
    """The values of features 1 to F, ``(F,)`` float32."""
    values: list[float] = []
    for word in words:
        index, value = _pair(word, place)
        expected = len(values) + 1
        if not 1 <= index <= features:
            raise DataError(f"{place}: feature {index} is out of range, expected 1 to {features}")
        if index == expected - 1:
            raise DataError(f"{place}: feature {index} stands twice")
        if index != expected:
            raise DataError(
                f"{place}: feature {index} where feature {expected} should stand; all must be given in order"
            )
        values.append(value)
    if len(values) < features:
        raise DataError(f"{place}: the line ends after {len(values)} of {features} features (truncated file?)")
    row = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        single = row.astype(np.float32)
    if not np.isfinite(single).all():
        bad = int(np.flatnonzero(~np.isfinite(single))[0])
        raise DataError(f"{place}: feature {bad + 1} is {row[bad]}, not a finite float32")
    return single


def _pair(word: str, place: str) -> tuple[int, float]:
    index, colon, value = word.partition(":")
    try:
        if colon and index.isdecimal() and len(index) <= _DIGITS:
            return int(index), float(value)
    except ValueError:
        raise DataError(f"{place}: feature {index} has the value {value!r}, which is no number") from None
    raise DataError(f"{place}: {word!r} is no feature; expected '<index>:<value>'")
