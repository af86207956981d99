"""BufferMetadataCache: the metadata of many buffer files, kept and asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

from bufcache.buffer_metadata_cache import metadata, paths, scan
from bufcache.buffer_metadata_cache.columns import Rows
from bufcache.buffer_metadata_cache.declarative import OwnDocument
from bufcache.buffer_metadata_cache.documents import collecting_no_garbage
from bufcache.buffer_metadata_cache.export import export
from bufcache.buffer_metadata_cache.index import Index
from bufcache.buffer_metadata_cache.intake import TABLE
from bufcache.buffer_metadata_cache.known import KnownFiles, doubled
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.own_documents import OwnDocuments, OwnQuery
from bufcache.buffer_metadata_cache.paths import AnyPath
from bufcache.buffer_metadata_cache.query import Field
from bufcache.buffer_metadata_cache.report import SyncReport
from bufcache.buffer_metadata_cache.selection import Query, Select, as_select, field_of, find
from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_metadata_cache.store.opening import open_database
from bufcache.buffer_metadata_cache.store.tables import DocumentDB
from bufcache.buffer_metadata_cache.sync import BATCH_SIZE, Options, Synchronisation
from bufcache.buffer_parser import Buffer
from bufcache.errors import CacheFormatError, InvalidArgumentError

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

FILE_NAME_PATTERN = r"^.*[p][0-9]*[c][0-9]{1}[b][0-9]{2}"
GLOB_PATTERN = "*p*c?b*"

_BLOCK = 5000
"""Rows whose values are held as lists at a time."""


class BufferMetadataCache:
    """A cache of what buffer files say of themselves, to find files by it without opening them.

    A context manager; after `close` every call raises ClosedError. The files themselves are never written to, and
    what is kept of them can always be deleted and made anew from them. Documents of your own can not.

    A call that changes the cache raises CacheLockedError where another process writes for longer than `lock_timeout`,
    BufcacheError with `read_only`, and OSError where the disk does not take it; what was committed before stays.

    Parameters
    ----------
    db_url
        ``":memory:"``, or the path of a cache folder, also as ``tinydb:///path``; it is made where it does not
        exist.
    Buffer_cls
        What opens the files: a class whose instances are context managers with a `filepath`.
    read_only
        Never write, and take no lock.
    lock_timeout
        Seconds to wait while another process writes.

    Raises
    ------
    CacheFormatError
        Something else stands at the path, or a cache of a newer version; it is left untouched.
    InvalidArgumentError
        `db_url` names an SQL database.
    FileNotFoundError
        The folder in which to make the cache does not exist, or with `read_only` the cache itself.
    """

    BufferMetadata: ClassVar[type[metadata.BufferMetadata]] = BufferMetadata

    def __init__(
        self,
        db_url: AnyPath = ":memory:",
        Buffer_cls: type[Any] = Buffer,
        *,
        read_only: bool = False,
        lock_timeout: float = 10.0,
    ) -> None:
        self._buffer_class = Buffer_cls
        self._database = open_database(db_url, read_only=read_only, lock_timeout=lock_timeout)
        self._own_documents = OwnDocuments(self._database)
        self.db = DocumentDB(self._database)
        """The documents as a TinyDB; those of the files are in the table ``buffer_metadata``."""

    def __enter__(self) -> Self:
        with self._database.reading():
            return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the cache; all that was committed stays."""
        self.db.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database!r})"

    def __len__(self) -> int:
        with self._database.reading():
            return len(self._index)

    @property
    def _index(self) -> Index:
        return self._database.table(TABLE)

    # -- synchronising ----------------------------------------------------------------------------------------------

    def synchronize_directory(
        self,
        *paths: AnyPath,
        sync_subdirectories: bool = True,
        regex_pattern: str = FILE_NAME_PATTERN,
        verbose: int = 1,
        delete_stale_entries: bool | Literal["all"] = False,
        machine_id: str | None = None,
        glob_pattern: str = GLOB_PATTERN,
        executor: Executor | None = None,
        verify: bool = False,
        dry_run: bool = False,
    ) -> SyncReport:
        """Bring the cache in line with folders.

        New files are added, changed ones (by size and modification time) are read again under their old id,
        unchanged ones cost a look at the folder. A file that was moved or renamed below these folders keeps its entry.
        What cannot be read gets an entry with `opening_error`, and is tried again when it changes.

        Parameters
        ----------
        *paths
            The folders.
        sync_subdirectories
            Whether to go into the folders below.
        regex_pattern, glob_pattern
            Which names buffer files have; both must match, the regular expression at the start.
        verbose
            1 shows a progress bar on stderr.
        delete_stale_entries
            Remove entries below these paths whose files are gone. Kept, with a warning, are those below a folder
            that is empty or cannot be listed, and all where more than half of 20 or more would go: a share that is
            not mounted must not empty a cache. ``"all"`` removes them too.
        machine_id
            Name of the machine whose paths these are; entries of other machines are not touched.
        executor
            Who reads the files: any `concurrent.futures.Executor`, such as a ProcessPoolExecutor or the
            ``client.get_executor()`` of Dask. Without one they are read here, and in several threads where opening them
            turns out to take long, as on a network share.
        verify
            Whether to read the headers of files, too, whose size and modification time are the same: it finds what
            these hide.
        dry_run
            Whether to change nothing: files are compared and read, and the report says what would be done. It is
            possible with `read_only` and while another process writes.

        Returns
        -------
        SyncReport, which also names what could not be read.

        Raises
        ------
        FileNotFoundError
            A path does not exist; nothing was changed.
        InvalidArgumentError
            No path, that of a cache, or a pattern that cannot be used.
        TypeError
            Something is no path, such as a list of paths.
        CacheLockedError
            Another process is writing.
        """
        if delete_stale_entries not in (True, False, "all"):
            raise InvalidArgumentError(f"delete_stale_entries is {delete_stale_entries!r}; expected a bool or 'all'")
        roots = scan.roots(paths, recursive=sync_subdirectories)
        is_wanted = scan.name_filter(glob_pattern, regex_pattern)
        options = Options(self._buffer_class, machine_id, BATCH_SIZE, executor, dry_run, verify, verbose)
        with nullcontext() if dry_run else self._database.writing():
            return Synchronisation(self._database, options).of_folders(
                roots, is_wanted, recursive=sync_subdirectories, delete_stale_entries=delete_stale_entries
            )

    def add_files_to_cache(
        self,
        files: Iterable[AnyPath],
        verbose: int = 0,
        batch_size: int = 1000,
        machine_id: str | None = None,
        check_synced: bool = True,
        *,
        executor: Executor | None = None,
    ) -> SyncReport:
        """Bring the cache in line with single files.

        Parameters
        ----------
        files
            Their paths.
        verbose
            1 shows a progress bar on stderr.
        batch_size
            Files a durable commit.
        machine_id
            Name of the machine whose paths these are.
        check_synced
            Whether to pass over files that have not changed; otherwise all are read.
        executor
            Who reads the files, as of `synchronize_directory`.

        Returns
        -------
        SyncReport; a file that does not exist is among those that failed, and an entry that it has stays.

        Raises
        ------
        InvalidArgumentError
            `batch_size` is less than 1.
        TypeError
            One path was given, not several.
        CacheLockedError
            Another process is writing.
        """
        if batch_size < 1:
            raise InvalidArgumentError(f"batch_size is {batch_size}; expected at least 1")
        given = _absolute(files)
        with self._database.writing():
            options = Options(self._buffer_class, machine_id, batch_size, executor, verbose=verbose)
            return Synchronisation(self._database, options).of_files(given, reads_all=not check_synced)

    def get_non_synchronized_files(
        self, files: Iterable[AnyPath], machine_id: str | None = None
    ) -> tuple[list[Path], list[Path]]:
        """Compare files with the cache.

        Parameters
        ----------
        files
            Their paths.
        machine_id
            Name of the machine whose paths these are.

        Returns
        -------
        The files that are new or changed, and the files of entries of this machine that are not among those given.

        Raises
        ------
        TypeError
            One path was given, not several.
        """
        from pathlib import Path

        given = dict.fromkeys(_absolute(files))
        with self._database.reading():
            known = KnownFiles(self._database, BufferMetadata.machine_id == machine_id)
            entries = {
                start + name: found
                for folder in known.folders
                for start in [paths.start(folder)]
                for name, found in known.take(folder).fingerprints().items()
            }
        now = dict(scan.fingerprints(given, failures=[]))
        changed = [Path(path) for path in given if entries.get(path, ()) != now.get(path)]
        return changed, [Path(path) for path in entries if path not in given]

    def remove_files_from_cache(self, files: Iterable[AnyPath], verbose: int = 0) -> None:
        """Remove the entries of files, of whatever machine; the files are not touched and need not exist.

        Parameters
        ----------
        files
            Their paths.
        verbose
            Taken for compatibility; this is done before a bar could be seen.

        Raises
        ------
        TypeError
            One path was given, not several.
        CacheLockedError
            Another process is writing.
        """
        given = _absolute(files)
        with self._database.writing():
            index = self._index
            ids = index.ids_of(index.match(BufferMetadata.filepath.in_(given)))
            self._database.commit(Edit(TABLE, id, None) for id in ids)

    # -- asking -----------------------------------------------------------------------------------------------------

    def get_buffer_metadata_query(self, buffer_metadata: metadata.BufferMetadata) -> Select:
        """Return the query that a template stands for.

        Every field that is not None must be equal; files that could not be read are left out.
        """
        return as_select(buffer_metadata)

    def get_matching_metadata(self, query: Query | None = None) -> list[metadata.BufferMetadata]:
        """Return the metadata of the files that match.

        Parameters
        ----------
        query
            A select, a template, a predicate, or a text as `expression` reads it; without it all files match.

        Raises
        ------
        TypeError
            It is none of these, or asks for other documents.
        ExpressionError
            The text cannot be read.
        """
        found: list[metadata.BufferMetadata] = []
        with self._database.reading(), collecting_no_garbage():
            rows = self._rows(query)
            for start in range(0, len(rows), _BLOCK):  # so that memory is needed for the result alone
                records = self._index.records(rows[start : start + _BLOCK], BufferMetadata.stored_fields())
                found += BufferMetadata.from_rows(records)
        return found

    def get_matching_files(self, query: Query | None = None) -> list[str]:
        """Return the paths of the files that match; parameters and errors as of `get_matching_metadata`."""
        with self._database.reading():
            [files] = self._index.take(self._rows(query), [BufferMetadata.filepath])
        return files

    def get_matching_buffers(self, query: Query | None = None) -> list[Any]:
        """Return a buffer for each file that matches, none opened yet; as `get_matching_metadata`."""
        return [self._buffer_class(path) for path in self.get_matching_files(query)]

    @overload
    def count(self, query: Query | None = None, by: None = None) -> int: ...
    @overload
    def count(self, query: Query | None = None, *, by: Field[Any] | str) -> dict[Any, int]: ...
    def count(self, query: Query | None = None, by: Field[Any] | str | None = None) -> int | dict[Any, int]:
        """Count what matches; with `by` the number of files for each value of that field, None included."""
        with self._database.reading():
            rows = self._rows(query)
            if by is None:
                return len(rows)
            counts = self._index.counts(rows, field_of(BufferMetadata, by))
        return dict(sorted(counts.items(), key=lambda item: _none_first(item[0])))

    def distinct(self, field: Field[Any] | str, query: Query | None = None) -> list[Any]:
        """Return the different values of a field among what matches, sorted, None first."""
        with self._database.reading():
            counts = self._index.counts(self._rows(query), field_of(BufferMetadata, field))
        return sorted(counts, key=_none_first)

    # -- documents of one's own -------------------------------------------------------------------------------------

    def add(self, *documents: OwnDocument) -> None:
        """Store documents of classes of your own, all of them in one durable commit or none.

        A new document gets its `id`. One that has an id, since it was added before, replaces what stands under it.

        Parameters
        ----------
        *documents
            Instances of subclasses of `get_declarative_base`.

        Raises
        ------
        TypeError
            It is none, or a field has a value of a type that it cannot hold.
        InvalidArgumentError
            A field that must not be None is, an id of yours is larger than 2**62, or another class has a table of that
            name in this cache.
        CacheLockedError
            Another process is writing.
        """
        self._own_documents.add(documents)

    def all(self, query: OwnQuery) -> list[Any]:
        """Return the documents of a class of your own that match.

        Parameters
        ----------
        query
            ``select(Note)`` with what belongs to it, the class alone for all of its documents, a template
            ``Note(process=71)``, or a predicate ``Note.process == 71``.

        Returns
        -------
        New objects, in order of their ids where nothing else is asked for. What a document lacks, or has of a type
        that its field cannot hold, is None.

        Raises
        ------
        TypeError
            It is none of these.
        InvalidArgumentError
            Another class has a table of that name in this cache.
        """
        return self._own_documents.matching(query)

    def remove(self, *documents: OwnDocument) -> None:
        """Remove documents of classes of your own, by their ids, in one durable commit.

        Those that are not there any more are passed over. The objects keep their ids.

        Raises
        ------
        TypeError
            It is no such document.
        InvalidArgumentError
            It has no id, as it was never added.
        CacheLockedError
            Another process is writing.
        """
        self._own_documents.remove(documents)

    # -- upkeep -----------------------------------------------------------------------------------------------------

    def check(self, fix: bool = False) -> list[str]:
        """Verify the store: all checksums, each document, the columns against the documents.

        Parameters
        ----------
        fix
            Whether to mend it: what cannot be trusted is dropped, and what can be rebuilt is. Entries of files that
            were dropped come back with the next synchronisation; documents of your own do not.

        Returns
        -------
        What is wrong, or was before it was mended; nothing where the store is sound.

        Raises
        ------
        CacheLockedError
            Another process is writing; only with `fix`.
        """
        with self._database.writing() if fix else nullcontext():
            problems = self._database.mend() if fix else self._database.problems()
            try:
                with self._database.reading():
                    doubles = doubled(self._database)
            except CacheFormatError as damage:  # of columns, and of the log there
                problems.append(str(damage))
                doubles = {}
            if fix:
                self._database.commit(Edit(TABLE, id, None) for ids in doubles.values() for id in ids[:-1])
        return problems + [f"{len(ids)} entries stand for {path}" for (_, path), ids in doubles.items()]

    def compact(self) -> None:
        """Rewrite the store without what no longer holds; who reads meanwhile goes on undisturbed.

        It is done unasked where more than half of a log is dead, and that is more than 16 MB.

        Raises
        ------
        CacheLockedError
            Another process is writing.
        OSError
            There is no room for the new log beside the old one, which stays.
        """
        self._database.compact()

    def export_tinydb(self, path: AnyPath, *, overwrite: bool = False) -> None:
        """Write all documents, those of other tables too, into a file that TinyDB opens by itself.

        ``tinydb.TinyDB(path)`` reads the whole file into memory; writing it takes little. It is made under another
        name beside, and renamed when it is whole.

        What is damaged does not stop it: a document of a file is taken from its columns, another one is left out, and
        a warning says of each table how many are missing.

        Parameters
        ----------
        path
            The JSON file to make.
        overwrite
            Whether to replace a file that exists.

        Raises
        ------
        FileExistsError
            A file exists there, and `overwrite` was not given; nothing was written.
        IsADirectoryError, FileNotFoundError
            A folder stands there, or the folder in which to make the file does not exist.
        """
        export(self._database, path, overwrite)

    def _rows(self, query: Query | None) -> Rows:
        return find(self._index, as_select(query))


def _absolute(files: Iterable[AnyPath]) -> list[str]:
    """Return the absolute paths of files, each once."""
    if isinstance(files, (str, bytes, os.PathLike)):
        raise TypeError(f"expected several paths such as a list, got {files!r}")
    return list(dict.fromkeys(map(paths.absolute, files)))


def _none_first(value: Any) -> tuple[bool, Any]:
    return value is not None, value
