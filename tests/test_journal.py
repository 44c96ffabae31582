import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchdistill.journal import FolderJournal, TableJournal
from patchdistill.journal.files import write_whole

HEADER = "image,value\n"
SETTINGS = {"rate": 0.45, "input": "ä"}


def rows(i):
    return "".join(f"image {i},{value}\n" for value in range(i % 3 + 1))


WHOLE = (HEADER + "".join(map(rows, range(5)))).encode()


def write(path, stop=5, finish=True, settings=SETTINGS, **keywords):
    """Write what is missing of the first images; their number."""
    with TableJournal(path, HEADER, settings, **keywords) as journal:
        begin = len(journal.records)
        for i in range(begin, stop):
            journal.append(rows(i), {"image": i})
        if finish:
            journal.finish()
    return stop - begin


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table.csv"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_table_in_one_go(table):
    assert write(table) == 5
    assert table.read_bytes() == WHOLE
    assert names(table.parent) == ["table.csv"]


@pytest.mark.parametrize("stop", range(6))
def test_a_table_in_two_goes(table, stop):
    write(table, stop, finish=False)
    assert not table.exists()
    assert names(table.parent) == ([] if stop == 0 else ["table.csv.part", "table.csv.part.jsonl"])
    assert write(table) == 5 - stop
    assert table.read_bytes() == WHOLE
    assert names(table.parent) == ["table.csv"]


def unfinished(table):
    """State of a run that was killed after four images: rows and log."""
    write(table, 4, finish=False)
    return table.with_name("table.csv.part"), table.with_name("table.csv.part.jsonl")


def test_rows_torn_at_any_byte_are_made_up_for(table):
    part, log = unfinished(table)
    state, lines = part.read_bytes(), log.read_bytes()
    ends = [len((HEADER + "".join(map(rows, range(i)))).encode()) for i in range(5)]
    for length in range(len(state) + 1):
        part.write_bytes(state[:length])
        log.write_bytes(lines)
        kept = sum(length >= end for end in ends[1:])
        assert write(table) == 5 - kept, length
        assert table.read_bytes() == WHOLE
        table.unlink()


def test_a_log_torn_at_any_byte_is_made_up_for(table):
    part, log = unfinished(table)
    state, lines = part.read_bytes(), log.read_bytes()
    for length in range(len(lines) + 1):
        part.write_bytes(state)
        log.write_bytes(lines[:length])
        assert write(table) == 5 - max(0, lines[:length].count(b"\n") - 1), length
        assert table.read_bytes() == WHOLE
        table.unlink()


@given(data=st.data())
def test_any_tear_and_any_damage_is_made_up_for(tmp_path_factory, data):
    table = tmp_path_factory.mktemp("torn") / "table.csv"
    part, log = unfinished(table)
    state = bytearray(part.read_bytes() + data.draw(st.binary(max_size=20)))
    for _ in range(data.draw(st.integers(0, 3))):
        state[data.draw(st.integers(0, len(state) - 1))] = data.draw(st.integers(0, 255))
    part.write_bytes(state[: data.draw(st.integers(0, len(state)))])
    lines = log.read_bytes()
    log.write_bytes(lines[: data.draw(st.integers(0, len(lines)))] + data.draw(st.sampled_from([b"", b"\0\0\n", b"{"])))
    write(table)
    assert table.read_bytes() == WHOLE
    assert names(table.parent) == ["table.csv"]


def test_a_complete_table_is_replaced_only_when_asked(table):
    write(table)
    with pytest.raises(FileExistsError, match="--restart"):
        write(table)
    assert names(table.parent) == ["table.csv"]
    write(table, 3, finish=False, restart=True)
    assert table.read_bytes() == WHOLE  # until the new one is complete
    assert write(table) == 2  # and the new one is gone on with
    assert names(table.parent) == ["table.csv"]


def test_restart_forgets(table):
    unfinished(table)
    assert write(table, restart=True) == 5
    assert table.read_bytes() == WHOLE


def test_other_settings_are_told_of_and_change_nothing(table):
    part, log = unfinished(table)
    before = part.read_bytes(), log.read_bytes()
    with pytest.raises(ValueError, match=r"rate was 0\.45 and is 0\.3\..*--restart") as error:
        write(table, settings={**SETTINGS, "rate": 0.3})
    assert "input was" not in str(error.value)
    with pytest.raises(ValueError, match="h was not set and is 10"):
        write(table, settings={**SETTINGS, "h": 10})
    assert (part.read_bytes(), log.read_bytes()) == before
    assert write(table) == 1


def test_one_patch_and_all_patches_are_different_settings(table):
    write(table, 4, finish=False, settings={"rate": 1})
    with pytest.raises(ValueError, match=r"rate was 1 and is 1\.0"):
        write(table, settings={"rate": 1.0})


def test_settings_of_a_run_that_finished_no_image_do_not_bind(table):
    part, log = table.with_name("table.csv.part"), table.with_name("table.csv.part.jsonl")
    part.write_text(HEADER)
    log.write_text(json.dumps({"rate": 0.3}) + "\n")
    assert write(table) == 5


def test_a_second_run_is_kept_away(table):
    pytest.importorskip("fcntl")
    with TableJournal(table, HEADER, SETTINGS) as journal:
        with pytest.raises(ValueError, match="Another run is writing"):
            write(table)
        for i in range(5):
            journal.append(rows(i), {})
        journal.finish()
    assert table.read_bytes() == WHOLE


def test_a_conversion_that_fails_leaves_no_file_and_can_be_repeated(table):
    def broken(source, target):
        target.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), TableJournal(table, HEADER, SETTINGS) as journal:
        for i in range(5):
            journal.append(rows(i), {})
        journal.finish(broken)
    assert names(table.parent) == ["table.csv.part", "table.csv.part.jsonl"]
    with TableJournal(table, HEADER, SETTINGS) as journal:
        assert len(journal.records) == 5
        journal.finish(lambda source, target: target.write_bytes(source.read_bytes().upper()))
    assert table.read_bytes() == WHOLE.upper()
    assert names(table.parent) == ["table.csv"]


def test_the_folder_of_the_table_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="Make it first"):
        write(tmp_path / "absent" / "table.csv")


def test_write_whole_keeps_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted(target):
        target.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, interrupted)
    assert names(tmp_path) == ["file"] and path.read_text() == "old"
    write_whole(path, lambda target: target.write_text("new"))
    assert names(tmp_path) == ["file"] and path.read_text() == "new"


FILES = ["a.npy", "b.npy", "c.npy"]


def fill(folder, stamps, stop=3, **keywords):
    """Make the files that are missing; their names."""
    made = []
    with FolderJournal(folder, FILES, SETTINGS, **keywords) as journal:
        for name, stamp in list(zip(FILES, stamps, strict=True))[:stop]:
            if not journal.is_done(name, [stamp, 0]):
                journal.write(name, [stamp, 0], lambda stream, name=name: stream.write(name.encode()))
                made.append(name)
    return made


def test_a_folder_is_filled_up_and_changed_images_are_done_again(tmp_path):
    folder = tmp_path / "out"
    assert fill(folder, [1, 2, 3], stop=2) == ["a.npy", "b.npy"]
    assert fill(folder, [1, 2, 3]) == ["c.npy"]
    assert fill(folder, [1, 7, 3]) == ["b.npy"]
    assert fill(folder, [1, 7, 3]) == []
    (folder / "a.npy").unlink()
    assert fill(folder, [1, 7, 3]) == ["a.npy"]
    assert fill(folder, [1, 7, 3], restart=True) == FILES
    assert names(folder) == [*FILES, "patchdistill.jsonl"]


def test_a_folder_that_got_nothing_is_not_left_behind(tmp_path):
    assert fill(tmp_path / "out", [1, 2, 3], stop=0) == []
    assert names(tmp_path) == []
    (tmp_path / "mine").mkdir()
    fill(tmp_path / "mine", [1, 2, 3], stop=0)
    assert names(tmp_path) == ["mine"] and names(tmp_path / "mine") == []


def test_files_of_other_images_are_not_mixed_in(tmp_path):
    (tmp_path / "old.npy").touch()
    with pytest.raises(ValueError, match="holds old.npy, which no image of the input belongs to"):
        fill(tmp_path, [1, 2, 3])
    assert names(tmp_path) == ["old.npy"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        fill(tmp_path / "out", [1, 2, 3])
