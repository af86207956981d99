"""The command line: what it prints where, and how it ends."""

import errno
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

import pytest
from samples import set_time, write_broken, write_other, write_sample, write_samples

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache, __version__
from bufcache.buffer_metadata_cache import batches
from bufcache.buffer_parser import Buffer
from bufcache.cli import main


class Result(NamedTuple):
    """How a run ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def run(tmp_path, monkeypatch, capsysbinary):
    """Give a function that runs the command line, from a folder without a cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUFCACHE", raising=False)

    def run(*arguments):
        capsysbinary.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as exit:
            code = exit.code
        out, err = map(os.fsdecode, capsysbinary.readouterr())
        return Result(code or 0, out, err)

    return run


@pytest.fixture
def synced(run, project):
    """Give such a function where there is a cache: processes 1 to 3 on two channels, and one broken file."""
    for process in (1, 2, 3):
        for channel in (1, 2):
            write_sample(project, process, channel, frqratio=4 if process == 2 else 8)
    write_broken(project, 4)
    run("sync", "-q", project)
    return run


def executed(*arguments, stdout=subprocess.PIPE, **environment):
    """Run Python as a shell would: its output is buffered unless it is a terminal."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "BUFCACHE")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**inherited, **environment},
        check=False,
    )


# -- sync ---------------------------------------------------------------------------------------------------------


def test_sync_makes_a_cache_and_reports(run, project, tmp_path):
    """Sync makes ./.bufcache where there is no cache; progress and report go to stderr."""
    write_samples(project, 3)
    result = run("sync", "project")
    assert (result.code, result.out) == (0, "")
    assert f"making the cache {tmp_path / '.bufcache'}\n" in result.err
    assert "3/3" in result.err
    assert re.search(r"\.bufcache: 3 added in \d+\.\d\d s\n$", result.err)
    with BufferMetadataCache(tmp_path / ".bufcache") as cache:
        assert len(cache) == 3
    again = run("sync", project).err
    assert "3 unchanged" in again
    assert "making" not in again


def test_sync_may_be_quiet(run, project):
    """With -q nothing is printed but what went wrong."""
    write_samples(project, 2)
    assert run("sync", "-q", project) == (0, "", "")
    broken = write_broken(project, 3)
    result = run("sync", "--quiet", project)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"bufcache: {broken}: TruncatedFileError: ")
    assert result.err.count("\n") == 1


def test_sync_tells_a_broken_file_once(run, project):
    """Files that cannot be read are exit code 1 and named on stderr; when nothing has changed, 0."""
    write_sample(project, 1)
    broken = write_broken(project, 2)
    result = run("sync", project)
    assert result.code == 1
    assert f"{broken}: TruncatedFileError" in result.err
    assert "1 failed" in result.err
    again = run("sync", project)
    assert again.code == 0
    assert broken not in again.err


def test_sync_takes_several_folders(run, project):
    """Several folders are one synchronisation; files that are no buffer files are no failure."""
    for name in ("a", "b"):
        (project / name).mkdir()
        write_sample(project / name)
    write_other(project / "b", 2)
    result = run("sync", "project/a", "project/b")
    assert result.code == 0
    assert "2 added" in result.err
    assert "1 skipped" in result.err


@pytest.mark.parametrize("missing", ["missing", "", "project/Test_00001p1c0b01"])
def test_sync_of_a_missing_folder(run, project, tmp_path, missing):
    """A folder that does not exist is exit code 2 and named; nothing is synchronised, no cache is made."""
    write_sample(project)
    for arguments in (["project", missing], [missing, "project"]):
        result = run("sync", *arguments)
        assert (result.code, result.out) == (2, "")
        assert re.match(f"bufcache: '{missing}' .*no folder", result.err)
    assert os.listdir(tmp_path) == ["project"]


def test_sync_may_be_a_dry_run(run, project, tmp_path):
    """--dry-run tells what would be done and does nothing: no entry is removed, and no cache is made."""
    paths = write_samples(project, 3)
    result = run("sync", "--dry-run", project)
    assert (result.code, result.out) == (0, "")
    assert f"would make the cache {tmp_path / '.bufcache'}" in result.err
    assert "dry run: 3 added" in result.err
    assert os.listdir(tmp_path) == ["project"]
    assert "3 added" in run("sync", project).err
    os.remove(paths[0])
    assert "2 unchanged, 1 removed" in run("sync", "--dry-run", "--delete-stale", project).err
    assert len(run("find", "-c", "id").lines) == 3
    assert run("sync", "--dry-run", "-q", project) == (0, "", "")


def test_sync_may_verify(run, project):
    """--verify finds a change that size and time hide, and --dry-run tells of it."""
    set_time(write_sample(project, proj__id=1), 5)
    run("sync", project)
    set_time(write_sample(project, proj__id=2), 5)
    assert "1 unchanged" in run("sync", project).err
    for _ in range(2):
        assert "1 changed" in run("sync", "--verify", "--dry-run", project).err
    assert "1 changed" in run("sync", "--verify", project).err
    assert run("find", "-c", "project_id").out == "2\n"


def test_sync_may_be_interrupted(run, project, monkeypatch):
    """Ctrl-C ends a synchronisation with a line and exit code 130, and the next one goes on."""

    def interrupt(path, fingerprint):
        raise KeyboardInterrupt

    write_samples(project, 3)
    with monkeypatch.context() as patched:
        patched.setattr(batches, "_read_start", interrupt)
        result = run("sync", "-q", project)
    assert result == (130, "", "bufcache: interrupted; what was committed stays\n")
    assert "3 added" in run("sync", project).err


def test_warnings_are_told_once_in_a_line(synced, project, tmp_path):
    """What the package warns of is a line on stderr, without a place in its code, and no failure."""
    write_sample(project, 9)
    synced("sync", "-q", project)
    [log] = (tmp_path / ".bufcache").glob("documents-*.jsonl")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1  # in the first of two commits
    log.write_bytes(content)
    shutil.rmtree(tmp_path / ".bufcache" / "columns")  # they have what the log had
    result = synced("find", "-c", "process")
    assert (result.code, result.out) == (0, "9\n")
    assert re.fullmatch(rf"bufcache: .*{re.escape(log.name)}.* damaged.*\n", result.err)
    assert "6 added, 1 unchanged, 1 failed" in synced("sync", project).err
    assert len(synced("find", "-c", "id").lines) == 8


# -- where the cache is -------------------------------------------------------------------------------------------


def test_the_nearest_cache_is_used(synced, project, monkeypatch, tmp_path):
    """The cache is the nearest .bufcache from the working folder upwards, for sync as well."""
    (project / "deep" / "deeper").mkdir(parents=True)
    write_sample(project / "deep", 9)
    monkeypatch.chdir(project / "deep" / "deeper")
    assert len(synced("find", "-c", "id").lines) == 7
    synced("sync", "-q", "..")
    assert len(synced("find", "-c", "id").lines) == 8
    assert list(project.rglob(".bufcache")) == []
    synced("sync", "-q", "..", "--cache", project / "deep" / ".bufcache")
    assert synced("find", "-c", "process").lines == ["9"]
    monkeypatch.chdir(tmp_path)
    assert len(synced("find", "-c", "id").lines) == 8


def test_a_file_of_that_name_is_no_cache(synced, project, monkeypatch):
    """A file that is called .bufcache is passed over on the way upwards."""
    (project / ".bufcache").write_text("")
    monkeypatch.chdir(project)
    assert len(synced("find", "-c", "id").lines) == 7


def test_the_cache_may_be_named(synced, project, monkeypatch, tmp_path):
    """--cache comes before $BUFCACHE, that before the nearest; an empty variable counts as none."""
    for name, count in (("by option", 1), ("by variable", 2)):
        with BufferMetadataCache(tmp_path / name) as cache:
            cache.add_files_to_cache(write_samples(project, count))
    monkeypatch.setenv("BUFCACHE", str(tmp_path / "by variable"))
    assert len(synced("find", "-c", "id", "--cache", "by option").lines) == 1
    assert len(synced("find", "-c", "id").lines) == 2
    assert "by variable" in synced("sync", project).err
    monkeypatch.setenv("BUFCACHE", "")
    assert len(synced("find", "-c", "id").lines) == 7


def test_find_without_a_cache(run):
    """Where there is no cache, find says so with what to do, makes none, and ends with 2."""
    result = run("find")
    assert (result.code, result.out) == (2, "")
    assert "bufcache sync DIR" in result.err
    assert "--cache" in result.err
    result = run("find", "--cache", "missing")
    assert result.code == 2
    assert "missing" in result.err
    assert os.listdir() == []


@pytest.mark.parametrize("command", [["find"], ["sync", "project"]], ids=["find", "sync"])
def test_what_is_no_cache_is_refused(run, project, command):
    """A file or a folder that is no cache is exit code 3 and named, and left as it is; another database is 2."""
    path = write_sample(project)
    for foreign in (path, project):
        result = run(*command, "--cache", foreign)
        assert (result.code, result.out) == (3, "")
        assert str(foreign) in result.err
    assert run(*command, "--cache", "sqlite:///x.db").code == 2
    assert os.listdir(project) == [os.path.basename(path)]


def test_a_locked_cache(synced, project, tmp_path, monkeypatch):
    """Where another process is writing, sync gives up with exit code 3 and says who it is; find goes on."""
    monkeypatch.setitem(BufferMetadataCache.__init__.__kwdefaults__, "lock_timeout", 0.01)
    with BufferMetadataCache(tmp_path / ".bufcache") as cache, cache._database.writing():
        result = synced("sync", project)
        assert (result.code, result.out) == (3, "")
        assert f"process {os.getpid()} on host" in result.err
        assert len(synced("find", "-c", "id").lines) == 7
    assert synced("sync", "-q", project).code == 0


# -- find ---------------------------------------------------------------------------------------------------------


def test_find_prints_a_table(synced, project):
    """Without options find prints all files as a table on stdout: numbers to the right, a dash for None."""
    result = synced("find")
    assert (result.code, result.err) == (0, "")
    assert result.lines[0] == "process  channel  datamode      compression_frq  filepath"
    assert f"      1        1  DATAMODE_FFT                8  {project / 'Test_00001p1c0b01'}" in result.lines
    assert f"      -        -  -                           -  {project / 'Test_00001p4c0b01'}" in result.lines
    assert len(result.lines) == 8


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["compression_frq == 8 and process > 1"], ["3 1", "3 2"]),
        (["channel == 1", "--sort", "-process"], ["3 1", "2 1", "1 1"]),
        (["channel == 1", "--sort=-process"], ["3 1", "2 1", "1 1"]),
        (["--sort", "-process", "channel == 1"], ["3 1", "2 1", "1 1"]),
        (["channel", "==", "1", "--sort", "-process"], ["3 1", "2 1", "1 1"]),
        (["process > 1", "--sort", "channel,-process"], ["3 1", "2 1", "3 2", "2 2"]),
        (["process > 1", "--sort", "-channel,process"], ["2 2", "3 2", "2 1", "3 1"]),
        (["process > 1", "--sort", "-compression_frq , -channel"], ["3 2", "3 1", "2 2", "2 1"]),
        (["process > 0", "--limit", "2", "--sort", "-process,-channel"], ["3 2", "3 1"]),
        (["--sort", "process", "--limit", "1"], ["- -"]),
        (["--sort", "-process", "--limit", "1"], ["3 1"]),
        (["--limit", "0"], []),
        ([" ", "--limit", "1"], ["1 1"]),
        (["process == 99"], []),
        (["directory_path.below('project') and channel == 2"], ["1 2", "2 2", "3 2"]),
    ],
    ids=str,
)
def test_find_filters_sorts_and_limits(synced, arguments, expected):
    """Find takes an expression, sort keys with - for descending order, and a limit, in any order of arguments."""
    result = synced("find", "-c", "process,channel", *arguments)
    assert (result.code, result.err) == (0, "")
    assert [" ".join(line.split()) for line in result.lines] == ["process channel", *expected]


def test_find_prints_a_single_column_bare(synced, project):
    """A single column has no heading and no padding, for other programs; nothing found is no line at all."""
    assert synced("find", "process == 2", "-c", "filepath").out == (
        f"{project / 'Test_00001p2c0b01'}\n{project / 'Test_00001p2c1b01'}\n"
    )
    assert synced("find", "--columns", "compression_frq", "--limit", "1").out == "8\n"
    assert synced("find", "process == 99", "-c", "filepath") == (0, "", "")


def test_find_prints_json(synced, project):
    """--json is an array of objects of the columns: names of members, null for None, empty where nothing is found."""
    result = synced("find", "channel == 2 and process < 3", "--json", "-c", "process,datamode,machine_id")
    assert json.loads(result.out) == [
        {"process": process, "datamode": "DATAMODE_FFT", "machine_id": None} for process in (1, 2)
    ]
    columns = ["process", "channel", "datamode", "compression_frq", "filepath"]
    assert [list(item) for item in json.loads(synced("find", "--json").out)] == [columns] * 7
    assert json.loads(synced("find", "process == 99", "--json").out) == []


def test_every_field_is_a_column(synced):
    """Every field can be printed and sorted by; in JSON as the value that it is."""
    result = synced("find", "process == 1 and channel == 1", "--json", "-c", ",".join(BM.__fields__))
    [found] = json.loads(result.out)
    assert list(found) == list(BM.__fields__)
    assert (found["id"], found["spec_duration"], found["partnumber"]) == (1, 81920.0, "Part 1")
    for name in BM.__fields__:
        assert synced("find", "--sort", f"-{name},{name}").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["proces > 1"], "process"),
        (["process >"], "process >"),
        (["process == 'one'"], "expected a number"),
        (["process = 1"], "=="),
        (["--sort", "-proces"], "process"),
        (["--sort", "process,chanel"], "channel"),
        (["-c", "file_path"], "filepath"),
    ],
    ids=str,
)
def test_find_names_what_it_does_not_understand(synced, arguments, message):
    """A field that does not exist, or an expression that is none, is exit code 2, told with the nearest name."""
    result = synced("find", *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("bufcache: ")
    assert message in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serch"],
        ["sync"],
        ["info"],
        ["find", "--limit", "-1"],
        ["find", "--limit", "many"],
        ["find", "--sort"],
        ["find", "--sort", ""],
        ["find", "-c", ","],
        ["sync", "--fast", "x"],
    ],
    ids=" ".join,
)
def test_wrong_usage(run, arguments):
    """Arguments that cannot be understood are exit code 2 with the usage on stderr."""
    result = run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("usage: bufcache")


# -- what is printed ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_names_that_are_not_utf_8_are_printed_as_they_are(run, project):
    """A file name of any bytes is printed byte for byte, and can be read from the JSON."""
    folder = os.fsdecode(os.path.join(os.fsencode(project), b"Gr\xf6\xdfe"))
    os.mkdir(folder)
    path, broken = write_sample(folder), write_broken(folder, 2)
    result = run("sync", project)
    assert f"bufcache: {broken}: TruncatedFileError" in result.err
    assert run("find", "process == 1", "-c", "filepath").out == f"{path}\n"
    assert path in run("find", "process == 1").out
    [found] = json.loads(run("find", "process == 1", "--json").out)
    assert found["filepath"] == path
    assert folder in run("info", path).out
    assert folder in run("info", broken).err


def test_control_characters_do_not_reach_the_terminal(run, project):
    """What a file says takes one line and moves no cursor, whatever characters are in it."""
    path = write_sample(project, asc_part="A\nB\tC\x1b[31m\r\x9b\u2028Größe")
    run("sync", "-q", project)
    for arguments in (["find", "-c", "process,partnumber"], ["find", "-c", "partnumber"], ["info", path]):
        lines = run(*arguments).out.split("\n")
        assert all(line.isprintable() for line in lines)
        [line] = [line for line in lines if "Größe" in line]
        assert "A" in line


def test_what_the_terminal_cannot_show_is_no_error(synced, project):
    """Where stdout cannot hold a character, it is printed in another form rather than not at all."""
    write_sample(project, 8, asc_part="№ 8 🔩")
    synced("sync", "-q", project)
    result = executed("-m", "bufcache", "find", "process == 8", "-c", "partnumber,id", PYTHONIOENCODING="latin-1")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b" 8 " in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="pipes are told otherwise there")
@pytest.mark.parametrize("arguments", [["find", "-c", "filename"], ["--version"]], ids=" ".join)
def test_a_reader_that_has_seen_enough(synced, arguments):
    """Where stdout is closed, as by head, the command ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    result = executed("-m", "bufcache", *arguments, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_full_disk_is_told(synced):
    """Where stdout cannot be written the command fails with a line, not with a traceback."""
    with open("/dev/full", "wb") as full:
        result = executed("-m", "bufcache", "find", stdout=full)
    assert result.returncode not in (0, 120)
    assert re.fullmatch(rb"bufcache: .*No space left on device.*\n", result.stderr)


# -- info ---------------------------------------------------------------------------------------------------------


def test_info_prints_what_a_file_says(run, project):
    """Info prints every property of a file, one a line, a dash for what the header does not say."""
    path = write_sample(project, 7, 2, an4dvers=None, proj__id=2**64 - 1)
    set_time(path, 1)
    result = run("info", path)
    assert (result.code, result.err) == (0, "")
    printed = dict(line.split(maxsplit=1) for line in result.lines)
    assert set(BM.properties) - {"id"} <= set(printed)
    assert (printed["process"], printed["channel"], printed["spec_duration"]) == ("7", "2", "81920.0")
    assert (printed["project_id"], printed["datamode"]) == (str(2**64 - 1), "DATAMODE_FFT")
    assert (printed["analyzer_version"], printed["file_size"]) == ("-", str(os.path.getsize(path)))
    assert os.path.join(printed["directory_path"], printed["filename"]) == path


@pytest.mark.parametrize(
    ("write", "code", "message"),
    [
        (write_other, 1, "not a buffer file"),
        (write_broken, 1, "2000 bytes"),
        (lambda project: os.path.join(project, "missing"), 2, "No such file"),
        (str, 2, "directory"),
    ],
    ids=["another file", "a broken file", "a missing file", "a folder"],
)
def test_info_of_what_cannot_be_read(run, project, write, code, message):
    """A file that is no buffer file, or a broken one, is exit code 1; what is no file at all is 2."""
    path = write(project)
    result = run("info", path)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("bufcache: ")
    assert path in result.err
    assert message in result.err


def test_a_report_of_a_file(run, project):
    """Info --json prints header values and properties as JSON, texts by their length, errors in the place of values."""
    path = write_sample(project, 7, asc_part="Größe", comments=b"", framedur=float("nan"), proctime=None, headsend=None)
    result = run("info", "--json", path)
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out, parse_constant=pytest.fail)
    assert list(report) == ["file", "file_size", "header_size", "header", "properties"]
    assert (report["file"], report["file_size"]) == (os.path.basename(path), os.path.getsize(path))
    header, properties = report["header"], report["properties"]
    assert list(header) == list(Buffer(path).metainfo)
    assert (header["qassdata"], header["proc_cnt"], header["an4dvers"]) == (report["header_size"], 7, "04030c02")
    assert (header["asc_part"], header["comments"]) == ({"length": 7}, {"length": 0})
    assert (properties["process"], properties["datamode"], properties["spec_count"]) == (7, "DATAMODE_FFT", 20)
    assert properties["spec_duration"] == "nan"
    assert re.match("MissingHeaderError: .*'proctime'", properties["process_date_time"]["error"])


@pytest.mark.parametrize("header", [{}, {"db__size": -1, "framsize": 0, "dbhdsize": 2**31 - 1}, {"b_p_samp": None}])
def test_a_report_gives_nothing_away(run, project, header):
    """Whatever the header says, a report has numbers, enumerations and errors: no samples, texts, hashes or folders."""
    path = write_sample(
        project, 7, asc_part="Secret", asc_desc="Secret", comments="Secret", sparemem=b"Secret", **header
    )
    result = run("info", "--json", path)
    assert result.code == 0
    assert "Secret" not in result.out
    assert str(project) not in result.out
    assert Buffer(path).header_hash not in result.out
    properties = json.loads(result.out)["properties"]
    assert {"partnumber", "filepath", "data", "times", "frequencies", "last_spec"}.isdisjoint(properties)
    assert {"process", "spec_count", "ref_energy"} <= properties.keys()
    assert all(not isinstance(value, list) for value in properties.values())


def test_a_report_of_a_file_whose_header_cannot_be_read(run, project):
    """Where there is no header, or a broken one, the report has the reason, and the exit code is 1."""
    for process, write in enumerate((write_other, write_broken), 1):
        path = write(project, process)
        result = run("info", "--json", path)
        assert result.code == 1
        report = json.loads(result.out)
        assert (report["file"], report["file_size"]) == (os.path.basename(path), os.path.getsize(path))
        assert report["error"].startswith(("InvalidFileError: ", "TruncatedFileError: "))
        assert str(project) not in result.out
        assert path in result.err
    assert run("info", "--json", os.path.join(project, "missing")).code == 2


def test_info_of_a_file_that_may_not_be_read(run, project, monkeypatch):
    """A file that cannot be opened for lack of permission is exit code 1: the cache has no part in it."""

    def refuse(buffer):
        raise PermissionError(errno.EACCES, "Permission denied", buffer.filepath)

    path = write_sample(project)
    monkeypatch.setattr(Buffer, "_open", refuse)  # root may read everything
    for arguments in (["info", path], ["info", "--json", path]):
        assert run(*arguments) == (1, "", f"bufcache: {path}: Permission denied\n")


# -- the rest -----------------------------------------------------------------------------------------------------


# -- check and compact --------------------------------------------------------------------------------------------


def test_check_of_a_sound_cache(synced):
    """A sound cache is no word and code 0."""
    assert synced("check") == (0, "", "")


def test_check_lists_what_is_wrong_and_mends_it(synced, tmp_path):
    """Each finding is a line on stdout, with code 1; with --fix it is the last time."""
    [log] = (tmp_path / ".bufcache").glob("documents-*.jsonl")
    with log.open("ab") as file:
        file.write(b'{"commit":')
    for arguments in (["check"], ["check", "--fix"]):
        result = synced(*arguments)
        assert (result.code, len(result.lines)) == (1, 1)
        assert "not finished" in result.out
    assert synced("check") == (0, "", "")


def test_compact_rewrites_the_cache(synced, project, tmp_path):
    """The log is another, smaller one, and says the same."""
    for number in range(10):
        set_time(write_sample(project, 1), number)
        synced("sync", "-q", project)
    [before] = (tmp_path / ".bufcache").glob("documents-*.jsonl")
    size, found = before.stat().st_size, synced("find").out
    assert synced("compact") == (0, "", "")
    [after] = (tmp_path / ".bufcache").glob("documents-*.jsonl")
    assert after != before
    assert after.stat().st_size < size
    assert synced("find").out == found


@pytest.mark.parametrize("command", ["check", "compact"])
def test_upkeep_makes_no_cache(run, tmp_path, command):
    """Without a cache it says so, and makes none."""
    result = run(command, "--cache", tmp_path / "none")
    assert result.code == 2
    assert str(tmp_path / "none") in result.err
    assert not (tmp_path / "none").exists()


# -- the rest -----------------------------------------------------------------------------------------------------


def test_demo_shows_the_main_job(run, tmp_path, monkeypatch):
    """The demo makes files, synchronises twice, asks and answers, and leaves nothing behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = run("demo")
    assert result.code == 0
    assert result.err.count("100%") == 2
    assert "600 added" in result.out
    assert re.search("2 added, 1 changed.* 596 unchanged, 3 removed", result.out)
    assert "    150        1                8          20  Demo_00001p150c0b01" in result.lines
    for kind in ("select", "template", "predicate"):
        assert f"# {kind}" in result.out
    assert len(re.findall(r"\d ms\)", result.out)) >= 7
    assert os.listdir(tmp_path) == []


def test_version(run):
    """--version prints the version on stdout."""
    assert run("--version") == (0, f"bufcache {__version__}\n", "")


def test_every_command_has_help(run):
    """Every command is listed with what it does, and tells its options."""
    listed = re.findall(r"^    (\w+) +(.*)$", run("--help").out, re.MULTILINE)
    assert {"sync", "find", "info", "demo"} <= dict(listed).keys()
    for command, text in listed:
        assert text
        result = run(command, "--help")
        assert (result.code, result.err) == (0, "")


def test_the_module_is_the_command_line(monkeypatch, capsys):
    """`python -m bufcache` takes its arguments from the command line and ends with the exit code."""
    monkeypatch.setattr(sys, "argv", ["bufcache", "info", "no such file"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bufcache", run_name="__main__")
    assert ended.value.code == 2
    assert "no such file" in capsys.readouterr().err


def test_help_does_not_pay_for_numpy():
    """`python -m bufcache --help` imports neither numpy nor the libraries of the store."""
    result = executed("-X", "importtime", "-m", "bufcache", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(b"usage: bufcache")
    imported = {line.rsplit(b"|", 1)[-1].strip().decode() for line in result.stderr.splitlines()}
    assert "bufcache.cli" in imported
    assert imported.isdisjoint({"numpy", "tinydb", "orjson", "tqdm", "filelock"})
