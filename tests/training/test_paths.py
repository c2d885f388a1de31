"""Paths that were written on another system."""

from zoo.training.paths import below


def test_windows_paths_and_names_with_a_backslash(tmp_path):
    assert below(tmp_path, "a/b.jpg") == tmp_path / "a" / "b.jpg"
    assert below(tmp_path, "a\\b.jpg") == tmp_path / "a" / "b.jpg"
    (tmp_path / "odd\\name.jpg").touch()
    assert below(tmp_path, "odd\\name.jpg") == tmp_path / "odd\\name.jpg"
