"""What zoo predict makes of files, folders, globs and lists, with a method that takes folders of frames."""

import pytest

from zoo.cli.predict import expand
from zoo.errors import InputError

SUFFIXES = (".mp4",)


def frames(folder):
    return folder.is_dir() and any(file.suffix == ".jpg" for file in folder.iterdir())


@pytest.fixture
def place(tmp_path):
    for name in ("b/1.jpg", "b/2.jpg", "a.mp4", "deep/c/1.jpg", "deep/c/inside.mp4", "deep/d.mp4", "notes/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found, place):
    return [str(file.relative_to(place)) for file in found]


def test_a_folder_of_frames_is_one_input(place):
    assert names(expand([place / "b"], SUFFIXES, frames), place) == ["b"]


def test_a_folder_holds_files_and_folders_of_frames_and_nothing_twice(place):
    assert names(expand([place], SUFFIXES, frames), place) == ["a.mp4", "b", "deep/c", "deep/d.mp4"]


def test_a_glob_finds_both(place):
    assert names(expand([f"{place}/*"], SUFFIXES, frames), place) == ["a.mp4", "b"]


def test_a_list_may_name_both(place):
    (place / "list.csv").write_text("file\nb\ndeep/d.mp4\n")
    assert names(expand([place / "list.csv"], SUFFIXES, frames), place) == ["b", "deep/d.mp4"]
    (place / "list.csv").write_text("file\nb\nnotes\n")
    with pytest.raises(InputError, match=r"list.csv:3: 'notes' is no file ending in .mp4"):
        expand([place / "list.csv"], SUFFIXES, frames)


def test_a_list_of_another_system(place):
    (place / "list.csv").write_bytes(b"\xef\xbb\xbffile\r\ndeep\\d.mp4\r\na.mp4\r\n")
    assert names(expand([place / "list.csv"], SUFFIXES), place) == ["deep/d.mp4", "a.mp4"]
    (place / "list.csv").write_text("file,note\n,nothing\n")
    with pytest.raises(InputError, match=r"list.csv:2: '' is no file ending in .mp4"):
        expand([place / "list.csv"], SUFFIXES, frames)
    (place / "list.csv").write_bytes("file\ncafé.mp4\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"list.csv:2: is no text in UTF-8"):
        expand([place / "list.csv"], SUFFIXES)


def test_rows_that_are_none_and_names_that_no_file_can_have_are_named(place):
    (place / "list.csv").write_text('file\n"a.mp4\na.mp4\n')
    with pytest.raises(InputError, match=r"list.csv:2: is no row of a csv"):
        expand([place / "list.csv"], SUFFIXES)
    for length in (300, 200_000):
        (place / "list.csv").write_text(f"file\n{'a' * length}.mp4\n")
        with pytest.raises(InputError, match=r"list.csv:2: 'aaa.* is no file ending in .mp4"):
            expand([place / "list.csv"], SUFFIXES)
    with pytest.raises(InputError, match="no such file, folder or match"):
        expand(["a" * 5000], SUFFIXES)


def test_without_such_a_method_folders_are_only_places(place):
    assert names(expand([place], SUFFIXES), place) == ["a.mp4", "deep/c/inside.mp4", "deep/d.mp4"]
    with pytest.raises(InputError, match=r"no file in this folder ends in .mp4"):
        expand([place / "notes"], SUFFIXES)


def test_a_link_to_nowhere_is_no_less_of_an_input(place):
    """It was passed over in silence; what reads it tells that nothing is there."""
    (place / "deep" / "gone.mp4").symlink_to(place / "nowhere.mp4")
    assert "deep/gone.mp4" in names(expand([place / "deep"], SUFFIXES, frames), place)
    assert names(expand([place / "deep" / "gone.mp4"], SUFFIXES, frames), place) == ["deep/gone.mp4"]
