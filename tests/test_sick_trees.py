"""Trees that are not as they should be: a synchronisation ends, tells every failure, and keeps the rest."""

import contextlib
import errno
import os
import re
import shutil
import socket
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from forks import as_nobody, for_all_users, forking, give_to_nobody, in_a_fork
from samples import buffer_class, set_time, write_broken, write_other, write_sample, write_samples
from syncing import counts, paths_of, sync, the_entry, told

from bufcache import BufferMetadata as BM
from bufcache import BufferMetadataCache
from bufcache.buffer_metadata_cache import batches, reading, scan
from bufcache.buffer_parser import Buffer
from bufcache.testing import write_buffer

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files, or needs rights for them")


class OtherBuffer(Buffer):
    """A class other than Buffer: its files are read one at a time."""


def add_all(cache, folder, **options):
    """Give all files below a folder one by one."""
    names = [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names]
    return cache.add_files_to_cache(sorted(names), **options)


both_ways = pytest.mark.parametrize("run", [sync, add_all])
both_classes = pytest.mark.parametrize("buffer_class", [Buffer, OtherBuffer])


def failed_paths(report):
    return sorted(failure.path for failure in report.failed)


# -- what may not be read -----------------------------------------------------------------------------------------


@forking
@both_ways
@both_classes
def test_a_file_that_may_not_be_read(run, buffer_class):
    """Its entry says why, once; it is tried again when its fingerprint changes, or when all are verified."""
    with for_all_users() as folder:
        paths = write_samples(folder, 3)
        for path in paths:
            set_time(path, 10**9)
        os.chmod(paths[1], 0)

        def use():
            cache = BufferMetadataCache(":memory:", buffer_class)
            [failure] = run(cache, folder).failed
            assert failure.path == paths[1]
            assert failure.error.startswith("PermissionError")
            assert cache.get_matching_files("opening_error is not None") == [paths[1]]
            assert counts(run(cache, folder)) == {"unchanged": 3}
            report = sync(cache, folder, verify=True)
            assert (counts(report), report.failed) == ({"unchanged": 3}, [])
            return cache.count()

        assert as_nobody(use) == "3"


@pytest.mark.parametrize("is_touched", [True, False])
def test_a_file_that_may_be_read_again(cache, project, monkeypatch, is_touched):
    """After a change of permissions alone a file is read again by verify or without a check; else with its change."""
    path = write_sample(project)
    set_time(path, 10**9)

    def refused(path, buffer_class):
        error = PermissionError(13, "Permission denied")
        return reading._document(path, BM(opening_error=scan.describe(error))), error, False

    with monkeypatch.context() as patched:  # the tests may run as root, whom nothing is shut to
        patched.setattr(batches, "_read_start", lambda path, fingerprint: None)
        patched.setattr(reading, "_open", refused)
        assert failed_paths(sync(cache, project)) == [path]
    assert counts(sync(cache, project)) == {"unchanged": 1}
    assert the_entry(cache).opening_error.startswith("PermissionError")
    if is_touched:
        set_time(path, 10**9 + 1)
    assert counts(sync(cache, project, verify=not is_touched)) == {"changed": 1}
    assert (the_entry(cache).id, the_entry(cache).process, the_entry(cache).opening_error) == (1, 1, None)


PASSING = [
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
    ConnectionResetError("by peer"),
    TimeoutError("no answer"),
    MemoryError("no memory"),
]


class Failing:
    """What a Buffer_cls calls on opening: it fails as long as it has an error."""

    error = None

    def __call__(self, path):
        if self.error is not None:
            raise self.error


@both_ways
@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_an_error_that_may_pass(open_cache, project, run, error):
    """A failure of the way to a file is told each time, and costs nothing of what was known; then the file is read."""
    failing = Failing()
    cache = open_cache(buffer_class(failing))
    known, new = write_sample(project, 1), write_sample(project, 2)
    set_time(known, 10**9)
    run(cache, project)
    cache.remove_files_from_cache([new])
    [before] = cache.get_matching_metadata()
    set_time(known, 5)
    failing.error = error
    for _ in range(2):
        report = run(cache, project)
        assert (counts(report), failed_paths(report)) == ({}, [known, new])
        assert {failure.error for failure in report.failed} == {scan.describe(error)}
        [entry] = cache.get_matching_metadata(BM.opening_error.is_(None))
        assert entry == before
        assert cache.get_matching_files(BM.opening_error == scan.describe(error)) == [new]
    failing.error = None
    assert counts(run(cache, project)) == {"changed": 2}


@pytest.mark.parametrize("error", [*PASSING, PermissionError(errno.EACCES, "no"), OSError("no number")], ids=repr)
@pytest.mark.parametrize("options", [{}, {"verify": True}], ids=str)
def test_a_check_that_fails(open_cache, project, error, options):
    """An entry stays as it was where its file, which has not changed, can only not be opened this time."""
    failing = Failing()
    cache = open_cache(buffer_class(failing))
    path = write_sample(project)
    set_time(path, int(time.time()) + 3600 if not options else 10**9)
    sync(cache, project)
    before = cache.get_matching_metadata()
    failing.error = error
    report = sync(cache, project, **options)
    assert (counts(report), failed_paths(report)) == ({}, [path])
    assert cache.get_matching_metadata() == before
    failing.error = None
    assert counts(sync(cache, project, **options)) == {"unchanged": 1}


def test_a_file_that_another_program_of_windows_writes(open_cache, project):
    """What looks like a missing right there passes when that program is done."""
    failing = Failing()
    cache = open_cache(buffer_class(failing))
    path = write_sample(project)
    failing.error = PermissionError(errno.EACCES, "The process cannot access the file")
    failing.error.winerror = 32
    assert failed_paths(sync(cache, project)) == [path]
    failing.error = None
    assert counts(sync(cache, project)) == {"changed": 1}
    assert the_entry(cache).opening_error is None


@pytest.mark.parametrize("error", [OSError("no such thing inside"), PermissionError(errno.EACCES, "no"), ValueError()])
def test_an_error_that_lasts(open_cache, project, error):
    """What a file itself is to blame for stands in its entry, and is told once."""
    failing = Failing()
    cache = open_cache(buffer_class(failing))
    path = write_sample(project)
    failing.error = error
    assert failed_paths(sync(cache, project)) == [path]
    report = sync(cache, project)
    assert (counts(report), report.failed) == ({"unchanged": 1}, [])
    assert the_entry(cache).opening_error == scan.describe(error)


@posix_only
def test_a_pipe_with_the_name_of_a_log(cache, project):
    """It is not opened, and hides nothing."""
    (project / "a").mkdir()
    os.mkfifo(project / "documents-1.jsonl")
    os.mkfifo(project / "a" / "documents-1.jsonl")
    write_sample(project / "a")
    assert counts(sync(cache, project)) == {"added": 1}


def test_an_entry_that_cannot_be_asked_what_it_is(cache, project, monkeypatch):
    """One of a folder's entries that even says not whether it is a folder is told, and the others are read."""
    paths = write_samples(project, 3)
    scandir = os.scandir

    class Entry:
        def __init__(self, entry):
            self.name, self.path, self.stat = entry.name, entry.path, entry.stat

        def is_dir(self, *, follow_symlinks):
            if self.path == paths[1]:
                raise OSError(errno.EIO, "Input/output error")
            return False

    monkeypatch.setattr(os, "scandir", lambda path: contextlib.nullcontext(list(map(Entry, scandir(path)))))
    report = sync(cache, project)
    assert failed_paths(report) == [paths[1]]
    assert paths_of(cache)[::2] == paths[::2]


def test_an_entry_of_which_nothing_can_be_learned(cache, project, monkeypatch):
    """It is told once, although it is asked twice: what it is, and what its size is."""
    paths = write_samples(project, 3)
    scandir = os.scandir

    class Entry:
        def __init__(self, entry):
            self._entry, self.name, self.path = entry, entry.name, entry.path

        def is_dir(self, *, follow_symlinks):
            self._require_sound()
            return False

        def stat(self):
            self._require_sound()
            return self._entry.stat()

        def _require_sound(self):
            if self.path == paths[1]:
                raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "scandir", lambda path: contextlib.nullcontext(list(map(Entry, scandir(path)))))
    report = sync(cache, project)
    assert (counts(report), failed_paths(report)) == ({"added": 2}, [paths[1]])


@pytest.mark.parametrize("values", [{"filename": None}, {"filename": "a\0b"}, {"directory_path": None}], ids=str)
def test_entries_that_were_put_in_by_hand(open_cache, project, values):
    """An entry that can have no file disturbs no synchronisation and no comparison."""
    cache = open_cache()
    path = write_sample(project)
    sync(cache, project)
    table = cache.db.table("buffer_metadata")
    [entry] = table.all()
    table.insert({name: value for name, value in {**entry, **values}.items() if value is not None})
    report = sync(cache, project, delete_stale_entries="all")
    assert (report.unchanged, report.failed) == (1, [])
    assert path not in map(str, cache.get_non_synchronized_files([path])[0])
    table.remove(doc_ids=[2])


@forking
def test_a_process_that_may_open_no_more_files(project):
    """Each file is told, what was known of it stays, and all are read when there is room again."""
    paths = write_samples(project, 3)
    for path in paths:
        set_time(path, 10**9)

    def use():
        import resource  # which Windows has not

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 5000), most))  # what other tests left open counts, too
        cache = BufferMetadataCache()
        cache.add_files_to_cache(paths[:2])
        before, held = cache.get_matching_metadata(), []
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        report = cache.add_files_to_cache(paths, check_synced=False)
        is_kept = cache.get_matching_metadata()[:2] == before
        for descriptor in held:
            os.close(descriptor)
        return is_kept, failed_paths(report) == paths, counts(cache.add_files_to_cache(paths))

    assert in_a_fork(use) == str((True, True, {"changed": 1, "unchanged": 2}))


@forking
def test_a_folder_that_may_not_be_listed():
    """It is told with path and reason, what it held stays, and everything else is synchronised."""
    with for_all_users() as folder:
        for name in ("a", "shut", "shut/below", "z"):
            (folder / name).mkdir()
            write_samples(folder / name, 2)

        def use():
            cache = BufferMetadataCache(":memory:")
            cache.add_files_to_cache([path for name in ("shut", "a") for path in (folder / name).glob("Test*")])
            os.remove(folder / "a" / "Test_00001p1c0b01")
            os.chmod(folder / "shut", 0)
            try:
                report = sync(cache, folder, delete_stale_entries=True)
            finally:
                os.chmod(folder / "shut", 0o755)
            [failure] = report.failed
            assert failure.path == str(folder / "shut")
            assert failure.error.startswith("PermissionError")
            assert cache.count(BM.directory_path == str(folder / "shut")) == 2
            return counts(report)

        give_to_nobody(folder)
        assert as_nobody(use) == str({"added": 2, "unchanged": 1, "removed": 1})


@forking
def test_a_folder_that_may_be_listed_and_not_entered():
    """Files whose names are known and nothing else fail one by one, and their entries are not stale."""
    with for_all_users() as folder:
        (folder / "half").mkdir()
        paths = write_samples(folder / "half", 2)
        write_sample(folder, 9)
        give_to_nobody(folder)

        def use():
            with BufferMetadataCache(":memory:") as cache:
                sync(cache, folder)
                os.chmod(folder / "half", 0o444)
                try:
                    report = sync(cache, folder, delete_stale_entries="all")
                finally:
                    os.chmod(folder / "half", 0o755)
                assert failed_paths(report) == paths
                assert {failure.error.split(":")[0] for failure in report.failed} == {"PermissionError"}
                return counts(report), len(cache)

        assert as_nobody(use) == str(({"unchanged": 1}, 3))


# -- what is gone in the meantime ---------------------------------------------------------------------------------


def before_reading(monkeypatch, change):
    """Let something happen when the first file was listed and is not read yet."""
    read_start, fingerprint, changes = batches._read_start, reading.fingerprint, [change]

    def begin():
        while changes:
            changes.pop()()

    monkeypatch.setattr(batches, "_read_start", lambda *arguments: [begin(), read_start(*arguments)][1])
    monkeypatch.setattr(reading, "fingerprint", lambda path: [begin(), fingerprint(path)][1])


def write_changed(cache, project, run):
    """Write three files that have changed since the cache has their entries, and return their paths."""
    paths = write_samples(project, 3)
    run(cache, project)
    for path in paths:
        set_time(path, 5)
    return paths


@both_ways
@both_classes
@pytest.mark.parametrize("is_known", [False, True])
def test_a_file_that_vanishes_before_it_is_read(open_cache, project, monkeypatch, *, run, buffer_class, is_known):
    """It fails, the others are read, an entry that it had stays until it is found stale."""
    cache = open_cache(buffer_class)
    paths = write_changed(cache, project, run) if is_known else write_samples(project, 3)
    with monkeypatch.context() as patched:
        before_reading(patched, lambda: os.remove(paths[1]))
        report = run(cache, project)
    assert counts(report) == {"changed" if is_known else "added": 2}
    [failure] = report.failed
    assert failure.path == paths[1]
    assert failure.error.startswith("FileNotFoundError")
    assert paths_of(cache) == (paths if is_known else [paths[0], paths[2]])
    sync(cache, project, delete_stale_entries=True)
    assert paths_of(cache) == [paths[0], paths[2]]


@pytest.mark.parametrize("is_dry", [False, True])
def test_a_folder_that_vanishes_before_it_is_listed(cache, project, monkeypatch, is_dry):
    """It is told, what it held is kept this time, and the next synchronisation knows that it is gone."""
    for name in ("a", "b", "c"):
        (project / name).mkdir()
        write_samples(project / name, 2)
    sync(cache, project)
    scandir = os.scandir

    def scandir_beside_a_remover(path):
        if path == str(project / "a"):
            shutil.rmtree(project / "b")
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir_beside_a_remover)
        with pytest.warns(UserWarning, match="kept"):
            report = sync(cache, project, delete_stale_entries=True, dry_run=is_dry)
    assert counts(report) == {"unchanged": 4, "kept": 2}
    [failure] = report.failed
    assert failure.path == str(project / "b")
    assert failure.error.startswith("FileNotFoundError")
    assert len(cache) == 6
    report = sync(cache, project, delete_stale_entries=True)
    assert (counts(report), report.failed) == ({"unchanged": 4, "removed": 2}, [])


def test_a_folder_that_vanishes_while_its_files_are_looked_at(cache, project, monkeypatch):
    """What was listed and is gone when its size is asked for is no file: no failure, and no entry."""
    write_sample(project, 9)
    (project / "a").mkdir()
    write_samples(project / "a", 3)
    looked, fingerprint_of = [], scan._fingerprint_of

    def look(entry, failures):
        if entry.path.startswith(str(project / "a")) and not looked:
            looked.append(entry.path)
            shutil.rmtree(project / "a")
        return fingerprint_of(entry, failures)

    monkeypatch.setattr(scan, "_fingerprint_of", look)
    report = sync(cache, project)
    assert (counts(report), report.failed, len(looked)) == ({"added": 1}, [], 1)


@both_classes
def test_a_folder_that_vanishes_before_its_files_are_read(open_cache, project, monkeypatch, buffer_class):
    """Each of its files fails."""
    cache = open_cache(buffer_class)
    kept = write_sample(project, 9)
    (project / "a").mkdir()
    paths = write_samples(project / "a", 3)
    before_reading(monkeypatch, lambda: shutil.rmtree(project / "a"))
    report = sync(cache, project)
    assert (counts(report), failed_paths(report)) == ({"added": 1}, paths)
    assert paths_of(cache) == [kept]


# -- what is no file ----------------------------------------------------------------------------------------------


def put_folder(path):
    os.mkdir(path)


def put_pipe(path):
    os.mkfifo(path)


def put_socket(path):
    with contextlib.chdir(os.path.dirname(path)), socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.basename(path))  # a socket's path must be short


def put_link_to_a_device(path):
    os.symlink("/dev/zero", path)


def put_link_to_a_pipe(path):
    os.mkfifo(os.path.join(os.path.dirname(path), "pipe"))
    os.symlink("pipe", path)


no_files = pytest.mark.parametrize(
    "put", [put_folder, put_pipe, put_socket, put_link_to_a_device, put_link_to_a_pipe], ids=lambda put: put.__name__
)


@posix_only
@both_ways
@no_files
def test_what_is_no_file_is_never_opened(open_cache, project, run, put):
    """Whatever has a fitting name and is no regular file is neither opened nor waited for."""
    opened = []
    cache = open_cache(buffer_class(opened.append))
    put(str(project / "Thing_00001p5c0b01"))
    path = write_sample(project)
    report = run(cache, project, **({"glob_pattern": "*b01"} if run is sync else {}))
    assert (report.added, report.failed) == (1, [])
    assert opened == [path]


@posix_only
@both_ways
@both_classes
@no_files
@pytest.mark.parametrize("is_known", [False, True])
def test_what_takes_the_place_of_a_file(open_cache, project, monkeypatch, *, run, buffer_class, put, is_known):
    """What is no file any more when its turn comes is skipped, not waited for, and changes no entry."""
    cache = open_cache(buffer_class)
    paths = write_changed(cache, project, run) if is_known else write_samples(project, 3)
    before = cache.get_matching_metadata(BM.filename.like("%p2c%"))

    def replace():
        os.remove(paths[1])
        put(paths[1])

    with monkeypatch.context() as patched:
        before_reading(patched, replace)
        report = run(cache, project)
    assert (counts(report), report.failed) == ({"changed" if is_known else "added": 2, "skipped": 1}, [])
    assert cache.get_matching_metadata(BM.filename.like("%p2c%")) == before
    sync(cache, project, delete_stale_entries=True)
    assert paths_of(cache) == [paths[0], paths[2]]


@posix_only
@both_classes
def test_links_in_a_circle(open_cache, project, buffer_class):
    """Links that lead to each other, to themselves or upwards end nowhere: no failure, no entry, no end of walking."""
    cache = open_cache(buffer_class)
    (project / "a").mkdir()
    (project / "a" / "up_p1c0b01").symlink_to(project)
    for name, target in (("A", "B"), ("B", "A"), ("C", "C")):
        (project / f"{name}_00001p1c0b01").symlink_to(f"{target}_00001p1c0b01")
    path = write_sample(project, 2)
    (project / "D_00001p2c0b01").symlink_to(path)
    report = sync(cache, project)
    assert (counts(report), report.failed) == ({"added": 2}, [])
    given = sorted(project.glob("?_*"))
    report = cache.add_files_to_cache(given)
    assert counts(report) == {"unchanged": 1}
    assert [(failure.path, failure.error.split(":")[0]) for failure in report.failed] == [
        (str(path), "OSError") for path in given[:3]
    ]


@posix_only
@both_classes
def test_a_link_that_dangles_when_its_turn_comes(open_cache, project, monkeypatch, tmp_path, buffer_class):
    """A link whose file is gone when it is read fails as the file would."""
    cache = open_cache(buffer_class)
    target = write_sample(tmp_path)
    link = project / "Link_00001p1c0b01"
    link.symlink_to(target)
    before_reading(monkeypatch, lambda: os.remove(target))
    report = sync(cache, project)
    assert (counts(report), failed_paths(report)) == ({}, [str(link)])
    assert report.failed[0].error.startswith("FileNotFoundError")


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
@both_ways
@both_classes
def test_failures_of_names_that_are_not_utf_8(open_cache, project, monkeypatch, *, run, buffer_class):
    """A name that is not UTF-8 is told as Python gives it, in the report and by the entry, and is known again."""
    cache = open_cache(buffer_class)
    folder = os.fsdecode(os.path.join(os.fsencode(project), b"Gr\xf6\xdfe"))
    os.mkdir(folder)
    good, bad, gone = write_sample(folder, 1), write_broken(folder, 2), write_sample(folder, 3)
    new = [os.fsdecode(os.fsencode(path).replace(b"Test", b"T\xe4st")) for path in (good, bad, gone)]
    for path, other in zip((good, bad, gone), new, strict=True):
        os.rename(path, other)
    good, bad, gone = new
    with monkeypatch.context() as patched:
        before_reading(patched, lambda: os.remove(gone))
        report = run(cache, project)
    assert (counts(report), failed_paths(report)) == ({"added": 1}, [bad, gone])
    for failure in report.failed:
        failure.error.encode()  # can be printed
    assert paths_of(cache) == [good, bad]
    report = run(cache, project)
    assert (counts(report), report.failed) == ({"unchanged": 2}, [])


# -- contents -----------------------------------------------------------------------------------------------------


@both_ways
@both_classes
def test_empty_and_cut_files(open_cache, project, run, buffer_class):
    """A file that is cut at any place is no buffer file, or broken, or whole; each is told once."""
    cache = open_cache(buffer_class)
    whole = Path(write_sample(project, 1)).read_bytes()
    cuts = dict(enumerate([0, 1, 7, 8, 11, 12, 20, 100, 1999, 2000, 2001, 3000], 2))
    for process, cut in cuts.items():
        write_other(project, process, whole[:cut])
    report = run(cache, project)
    is_broken = [8 <= cut < 2000 for cut in cuts.values()]
    assert counts(report) == {"added": 4, "skipped": 3}
    assert len(report.failed) == sum(is_broken) == 6
    assert all(re.match("TruncatedFileError: ", failure.error) for failure in report.failed)
    again = run(cache, project)
    assert (counts(again), again.failed) == ({"unchanged": 10, "skipped": 3}, [])


LIES = {
    "a header longer than the file": {"qassdata": 10**6},
    "a header of nothing": {"qassdata": 0},
    "a header below nothing": {"qassdata": -1},
    "a header that ends in its first entry": {"qassdata": 13},
    "bands of nothing": {"frqbands": 0, "framsize": 0, "s_p_fram": 0},
    "bands below nothing": {"framsize": -5},
    "blocks of nothing": {"db__size": 0},
    "blocks that are all header": {"dbhdsize": 10**6},
    "samples of no bytes": {"b_p_samp": 0, "smplsize": 0},
    "an end before the headers": {"headsend": b""},
}


@both_ways
@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie(cache, open_cache, project, run, lie):
    """A lie is told or taken, and is so by the batch as one at a time; it never ends a run."""
    good = write_samples(project, 2)
    path = write_sample(project, 3, **LIES[lie])
    other = open_cache(OtherBuffer)
    reports = [run(each, project) for each in (cache, other)]
    assert told(reports[0]) == told(reports[1])
    assert cache.get_matching_metadata() == other.get_matching_metadata()
    assert paths_of(cache) == [*good, path]
    [entry] = cache.get_matching_metadata(BM.filepath == path)
    assert failed_paths(reports[0]) == ([path] if entry.opening_error else [])
    report = run(cache, project)
    assert (counts(report), report.failed) == ({"unchanged": 3}, [])


@pytest.mark.parametrize("lie", ["a header longer than the file", "a header of nothing", "a header below nothing"])
def test_a_lie_is_told_until_the_truth(cache, project, lie):
    """A header that cannot be true has its failure; the mended file is read under the same id."""
    path = write_sample(project, **LIES[lie])
    assert failed_paths(sync(cache, project)) == [path]
    write_sample(project)
    set_time(path, 5)
    assert counts(sync(cache, project)) == {"changed": 1}
    assert (the_entry(cache).id, the_entry(cache).opening_error) == (1, None)


@both_ways
@pytest.mark.parametrize("header_size", [4095, 4096, 4097, 6000, 65536, 70000])
def test_long_headers(cache, project, run, header_size):
    """A header of any length is read whole: its hash is over all of it, and its last text is there."""
    path = project / "Long_00001p7c0b01"
    write_buffer(path, {"proc_cnt": 7, "asc_part": "x" * 1000}, header_size=header_size)
    write_sample(project, 1)
    assert counts(run(cache, project)) == {"added": 2}
    [entry] = cache.get_matching_metadata(BM.process == 7)
    assert entry.header_hash == sha256(path.read_bytes()[:header_size]).hexdigest()
    assert (entry.header_size, entry.partnumber, entry.spec_count) == (header_size, "x" * 1000, 20)
    assert counts(run(cache, project)) == {"unchanged": 2}


def test_many_failures_are_all_told(cache, project):
    """A tree in which most is broken is synchronised to its end, in both of its batches."""
    paths = write_samples(project, 60)
    for path in paths[::2]:
        os.truncate(path, 1000)
    os.remove(paths[1])
    report = sync(cache, project)
    assert (counts(report), failed_paths(report)) == ({"added": 29}, sorted(paths[::2]))
    for path in paths[:10:2]:
        set_time(path, 5)
    report = sync(cache, project)
    assert (counts(report), failed_paths(report)) == ({"unchanged": 54}, sorted(paths[:10:2]))


# -- a share that is not mounted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"verify": True}, {"dry_run": True}, {"verify": True, "dry_run": True}])
def test_a_share_that_is_not_mounted(cache, project, options):
    """Nothing empties a cache whose share is not there: not verify, and no dry run says that it would."""
    (project / "share").mkdir()
    paths = write_samples(project / "share", 5)
    sync(cache, project / "share")
    shutil.rmtree(project / "share")
    with pytest.raises(FileNotFoundError, match="share"):
        sync(cache, project / "share", delete_stale_entries=True, **options)
    (project / "share").mkdir()
    with pytest.warns(UserWarning, match="not mounted"):
        assert counts(sync(cache, project / "share", delete_stale_entries=True, **options)) == {"kept": 5}
    assert paths_of(cache) == paths
    report = sync(cache, project / "share", delete_stale_entries="all", **options)
    assert counts(report) == {"removed": 5}
    assert paths_of(cache) == (paths if "dry_run" in options else [])
