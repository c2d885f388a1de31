"""The LETOR reader: what it reads, and what it says of a bad line."""

from pathlib import Path

import numpy as np
import pytest

from zoo.domains.ltr import read_letor
from zoo.training import DataError


def test_reads_queries_in_order(tmp_path, line):
    file = tmp_path / "a.txt"
    file.write_text(
        line(2, 10) + "\n" + line(0, 10, comment="# nothing said") + line(1, "x7", comment="#docid = G-1 i")
    )
    first, second = read_letor(file, 46, grades=3)
    assert (first.qid, second.qid) == ("10", "x7")
    assert first.target.tolist() == [2, 0]
    assert first.lines == [1, 3]
    assert (first.documents, second.documents) == (["D1", ""], ["G-1"])
    assert first.features.dtype == np.float32
    np.testing.assert_allclose(first.features, [[i / 100 for i in range(1, 47)]] * 2, rtol=1e-6)


def test_takes_dos_line_ends_and_any_number_of_features(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"-1 qid:3 1:0.5 2:-1e-3\r\n4 qid:3 1:1 2:2\r\n")
    (query,) = read_letor(file, 2)
    assert query.target.tolist() == [-1, 4]
    np.testing.assert_allclose(query.features, [[0.5, -0.001], [1, 2]], rtol=1e-6)


GOOD = "1:0.1 2:0.2 3:0.3"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (f"x qid:1 {GOOD}", "label 'x' is no whole number"),
        (f"1.5 qid:1 {GOOD}", "label '1.5' is no whole number"),
        (f"3 qid:1 {GOOD}", "label 3 is out of range, expected 0 to 2"),
        (f"-1 qid:1 {GOOD}", "label -1 is out of range, expected 0 to 2"),
        (f"1 {GOOD}", "expected 'qid:<query>' after the label, found '1:0.1'"),
        ("1 qid: 1:0.1", "expected 'qid:<query>' after the label, found 'qid:'"),
        ("1", "expected 'qid:<query>' after the label, found the end of the line"),
        ("# only a comment", "expected 'qid:<query>' after the label, found the end of the line"),
        (f"1 qid:1 {GOOD} 4:0.4", "feature 4 is out of range, expected 1 to 3"),
        (f"1 qid:1 0:0.5 {GOOD}", "feature 0 is out of range, expected 1 to 3"),
        ("1 qid:1 1:0.1 1:0.2 2:0.2 3:0.3", "feature 1 stands twice"),
        ("1 qid:1 1:0.1 3:0.3 2:0.2", "feature 3 where feature 2 should stand; all must be given in order"),
        ("1 qid:1 1:0.1 2:nan 3:0.3", "feature 2 is nan, not a finite float32"),
        ("1 qid:1 1:0.1 2:0.2 3:-inf", "feature 3 is -inf, not a finite float32"),
        ("1 qid:1 1:0.1 2:1e39 3:0.3", "feature 2 is 1e+39, not a finite float32"),
        ("1 qid:1 1:0.1 2:NULL 3:0.3", "feature 2 has the value 'NULL', which is no number"),
        ("1 qid:1 1:0.1 2: 3:0.3", "feature 2 has the value '', which is no number"),
        ("1 qid:1 1:0.1 two 3:0.3", "'two' is no feature; expected '<index>:<value>'"),
        ("1 qid:1 1:0.1 -2:0.2 3:0.3", "'-2:0.2' is no feature; expected '<index>:<value>'"),
        ("1 qid:1 1:0.1 2:0.2", "the line ends after 2 of 3 features (truncated file?)"),
    ],
)
def test_bad_line_names_file_and_line(tmp_path, bad, message):
    file = tmp_path / "bad.txt"
    file.write_text(f"0 qid:1 {GOOD} #docid = D\n{bad}\n")
    with pytest.raises(DataError) as error:
        read_letor(file, 3, grades=3)
    assert str(error.value) == f"{file}:2: {message}"


def test_a_query_must_stand_together(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("".join(f"0 qid:{qid} {GOOD}\n" for qid in (1, 2, 1)))
    with pytest.raises(DataError) as error:
        read_letor(file, 3)
    assert str(error.value) == f"{file}:3: query 1 appears again (first at {file}:1); its lines must stand together"


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_file(tmp_path, content):
    file = tmp_path / "empty.txt"
    file.write_text(content)
    with pytest.raises(DataError) as error:
        read_letor(file, 46)
    assert str(error.value) == f"{file}: the file holds no document; a line is 'label qid:Q 1:v ... 46:v #docid = D'"


def test_no_text(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"0 qid:1 1:\xff\xfe\x00")
    with pytest.raises(DataError) as error:
        read_letor(file, 46)
    assert str(error.value) == f"{file}:1: is no text in UTF-8 (byte 0xff)"


def test_absent_file():
    with pytest.raises(DataError) as error:
        read_letor(Path("/nowhere/S1.txt"), 46)
    assert str(error.value) == "/nowhere/S1.txt: there is no such file"


def test_not_strict_keeps_the_other_queries(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(f"0 qid:1 {GOOD}\n0 qid:2 {GOOD}\n0 qid:2 1:0.1\n9 qid:2 {GOOD}\n1 qid:3 {GOOD}\n")
    queries = read_letor(file, 3, grades=3, strict=False)
    assert [query.qid for query in queries] == ["1", "2", "3"]
    assert [query.error is None for query in queries] == [True, False, True]
    assert str(queries[1].error) == f"{file}:3: the line ends after 1 of 3 features (truncated file?)"
