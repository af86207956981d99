"""The command line: argparse over the public interface. Data go to stdout, the rest to stderr."""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bufcache import printing
from bufcache.errors import (
    BufcacheError,
    CacheFormatError,
    CacheLockedError,
    ExpressionError,
    InvalidArgumentError,
    InvalidFileError,
)
from bufcache.names import nearest

if TYPE_CHECKING:
    from bufcache.buffer_metadata_cache import BufferMetadata, BufferMetadataCache, Select
    from bufcache.buffer_parser import Buffer

CACHE_NAME = ".bufcache"
CACHE_VARIABLE = "BUFCACHE"

DONE, FINDINGS, USAGE, UNREADABLE, INTERRUPTED = 0, 1, 2, 3, 130

_NAMING_NOTHING = (
    ExpressionError,
    FileNotFoundError,
    InvalidArgumentError,
    IsADirectoryError,
    NotADirectoryError,
)
_DEFAULT_COLUMNS = "process,channel,datamode,compression_frq,filepath"
_WITHHELD = frozenset(
    {"data", "filepath", "frequencies", "header_hash", "last_spec", "metainfo", "partnumber", "refEnergy", "times"}
)
"""Properties that no report of a file has: those that read more than its header, long ones, what is there already, and
what gives away the folder or a text: the hash would confirm a guess."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 is done, 1 findings such as files that could not be read, 2 a usage error or an argument that names nothing,
    3 a cache that is locked or cannot be read, 130 interrupted.
    """
    _accept_any_text()
    with warnings.catch_warnings():
        warnings.simplefilter("once", UserWarning)
        warnings.showwarning = lambda message, *_: _tell(str(message))
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        except BrokenPipeError:
            return DONE  # the reader, such as head, has seen enough
        except KeyboardInterrupt:
            _tell("interrupted; what was committed stays")
            return INTERRUPTED
        except _NAMING_NOTHING as error:
            return _failed(error, USAGE)
        except (CacheFormatError, CacheLockedError, OSError) as error:
            return _failed(error, UNREADABLE)
        except BufcacheError as error:
            return _failed(error, FINDINGS)


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed = _parser().parse_args(_joined(arguments))
        code: int = parsed.run(parsed)
    finally:
        _flush()
    return code


def _flush() -> None:
    """Write what is buffered while a closed pipe or a full disk can still be told; what is left is given up."""
    if sys.stdout is None:  # started without one
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _failed(error: Exception, code: int) -> int:
    _tell(f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error))
    return code


def _tell(message: str) -> None:
    print(f"bufcache: {message}", file=sys.stderr)


def _accept_any_text() -> None:
    """Let names that are not UTF-8 through, byte for byte, and escape what an encoding does not have."""
    codecs.register_error("bufcache", _encoded_somehow)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="bufcache")


def _encoded_somehow(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join ``--sort -process`` to one argument: argparse takes the second for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--sort" and not argument.startswith("--"):
            joined[-1] = f"--sort={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bufcache", description="Find and read the buffer files of QASS Analyzer4D.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    sync = _command(commands, "sync", _sync, "bring the cache in line with folders")
    sync.add_argument(
        "directories", nargs="+", metavar="DIR", help="a folder of buffer files, searched with those below"
    )
    sync.add_argument("--delete-stale", action="store_true", help="remove the entries of files that are gone")
    sync.add_argument("--verify", action="store_true", help="read the files that have not changed, too")
    sync.add_argument("--dry-run", action="store_true", help="change nothing, and tell what would be done")
    sync.add_argument("-q", "--quiet", action="store_true", help="show nothing but failures")
    _add_cache(sync)

    find = _command(commands, "find", _find, "list the files that match an expression")
    find.add_argument(
        "expression",
        nargs="*",
        metavar="EXPRESSION",
        help="such as 'compression_frq == 8 and process > 100'; all without",
    )
    find.add_argument(
        "--sort", type=_names, default=[], metavar="FIELDS", help="fields to sort by, such as channel,-process"
    )
    find.add_argument("--limit", type=_count, metavar="N", help="print at most so many files")
    find.add_argument(
        "-c", "--columns", type=_names, metavar="FIELDS", help=f"fields to print (default: {_DEFAULT_COLUMNS})"
    )
    find.add_argument("--json", action="store_true", help="print a JSON array of objects")
    _add_cache(find)

    info = _command(commands, "info", _info, "print what a buffer file says of itself")
    info.add_argument("file", metavar="FILE", help="a buffer file")
    info.add_argument("--json", action="store_true", help="print header and properties, without samples and texts")

    check = _command(commands, "check", _check, "verify the cache and list what is wrong with it")
    check.add_argument("--fix", action="store_true", help="drop what cannot be trusted and rebuild what can be")
    _add_cache(check)

    compact = _command(commands, "compact", _compact, "rewrite the cache without what no longer holds")
    _add_cache(compact)

    _command(commands, "demo", _demo, "make sample files, synchronise and ask, in a temporary folder")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.set_defaults(run=run)
    return parser


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        metavar="PATH",
        help=f"the cache folder (default: ${CACHE_VARIABLE}, else the nearest {CACHE_NAME} from here upwards)",
    )


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> None:
        from bufcache import __version__

        print(f"bufcache {__version__}")
        parser.exit()


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got {text!r}")
    return int(text)


# -- where the cache is -----------------------------------------------------------------------------------------------


def _cache_path(given: str | None) -> str | None:
    """Return the path of the cache, None where there is none."""
    return given or os.environ.get(CACHE_VARIABLE) or _nearest_cache(os.getcwd())


def _nearest_cache(folder: str) -> str | None:
    while True:
        candidate = os.path.join(folder, CACHE_NAME)
        if os.path.isdir(candidate):
            return candidate
        if os.path.dirname(folder) == folder:
            return None
        folder = os.path.dirname(folder)


def _open(given: str | None, *, read_only: bool = True) -> BufferMetadataCache:
    from bufcache.buffer_metadata_cache import BufferMetadataCache

    path = _cache_path(given)
    if path is None:
        raise FileNotFoundError(
            f"there is no {CACHE_NAME} here or above; run 'bufcache sync DIR', or name one with --cache"
        )
    if not os.path.exists(path):  # else to write would make it
        raise FileNotFoundError(f"there is no cache at {path}")
    return BufferMetadataCache(path, read_only=read_only)


# -- commands ---------------------------------------------------------------------------------------------------------


def _sync(arguments: argparse.Namespace) -> int:
    from bufcache.buffer_metadata_cache import BufferMetadataCache

    for directory in arguments.directories:
        if not os.path.isdir(directory):
            raise FileNotFoundError(f"{directory!r} does not exist or is no folder; nothing was synchronised")
    path = os.path.abspath(_cache_path(arguments.cache) or CACHE_NAME)
    is_dry, is_new = arguments.dry_run, not os.path.exists(path)
    if is_new and not arguments.quiet:
        _tell(f"{'would make' if is_dry else 'making'} the cache {path}")
    with BufferMetadataCache(":memory:" if is_dry and is_new else path, read_only=is_dry and not is_new) as cache:
        report = cache.synchronize_directory(
            *arguments.directories,
            verbose=not arguments.quiet,
            delete_stale_entries=arguments.delete_stale,
            verify=arguments.verify,
            dry_run=is_dry,
        )
    for failure in report.failed:
        _tell(f"{failure.path}: {failure.error}")
    if not arguments.quiet:
        _tell(f"{path}{', dry run' if is_dry else ''}: {report}")
    return FINDINGS if report.failed else DONE


def _find(arguments: argparse.Namespace) -> int:
    from bufcache.buffer_metadata_cache import BufferMetadata, select

    query = select(BufferMetadata).limit(arguments.limit)
    text = " ".join(arguments.expression)
    if text.strip():
        query = query.filter(text)
    for key in arguments.sort:
        query = _sorted(query, key)
    columns = arguments.columns or _names(_DEFAULT_COLUMNS)
    for name in columns:
        _check_field(name)
    with _open(arguments.cache) as cache:
        found = cache.get_matching_metadata(query)
    rows = [[getattr(metadata, name) for name in columns] for metadata in found]
    if arguments.json:
        printing.print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif arguments.columns and len(columns) == 1:
        print("\n".join(printing.shown(row[0]) for row in rows), end="\n" if rows else "")
    else:
        printing.print_table(columns, rows)
    return DONE


def _sorted(query: Select, key: str) -> Select:
    from bufcache.buffer_metadata_cache import BufferMetadata

    name = key.removeprefix("-")
    _check_field(name)
    field = BufferMetadata.__fields__[name]
    return query.order_by(field.desc() if key.startswith("-") else field.asc())


def _check_field(name: str) -> None:
    from bufcache.buffer_metadata_cache import BufferMetadata

    if name not in BufferMetadata.__fields__:
        raise InvalidArgumentError(f"there is no field {name!r}{nearest(name, BufferMetadata.__fields__)}")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected names of fields, separated by commas")
    return names


def _info(arguments: argparse.Namespace) -> int:
    if os.path.isdir(arguments.file):
        raise IsADirectoryError(f"{arguments.file!r} is a directory; expected a buffer file")
    try:
        (_print_report if arguments.json else _print_properties)(arguments.file)
    except PermissionError as error:  # the file's, not the cache's
        return _failed(error, FINDINGS)
    return DONE


def _print_properties(path: str) -> None:
    from bufcache.buffer_metadata_cache import BufferMetadata
    from bufcache.buffer_parser import Buffer

    with Buffer(path) as buffer:
        metadata: BufferMetadata = BufferMetadata.buffer_to_metadata(buffer)
        rows = [[name, getattr(metadata, name)] for name in BufferMetadata.properties if name != "id"]
        rows += [["file_size", buffer.file_size]]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {printing.shown(value)}")


def _print_report(path: str) -> None:
    """Print what helps to find out why a file reads wrong, and gives no data away."""
    from bufcache.buffer_parser import Buffer

    report = {"file": os.path.basename(path), "file_size": os.path.getsize(path)}
    try:
        with Buffer(path) as buffer:
            report |= _report(buffer)
    except InvalidFileError as error:
        printing.print_json({**report, "error": _without_path(error, path)})
        raise
    printing.print_json(report)


def _report(buffer: Buffer) -> dict[str, Any]:
    header = {
        key: {"length": len(value)} if isinstance(value, bytes) else value for key, value in buffer.metainfo.items()
    }
    if "an4dvers" in header:
        header["an4dvers"] = buffer.metainfo["an4dvers"].decode("ascii")
    properties = {name: _value_or_error(buffer, name) for name in _reported(type(buffer))}
    return {"header_size": buffer.header_size, "header": header, "properties": properties}


def _reported(kind: type[Buffer]) -> list[str]:
    """Return the names of the properties that a report has, in order of their definition."""
    members = ((name, member) for base in reversed(kind.__mro__) for name, member in vars(base).items())
    return [
        name
        for name, member in members
        if isinstance(member, property) and not name.startswith("_") and name not in _WITHHELD
    ]


def _value_or_error(buffer: Buffer, name: str) -> Any:
    try:
        return getattr(buffer, name)
    except BufcacheError as error:
        return {"error": _without_path(error, os.fspath(buffer.filepath))}


def _without_path(error: BufcacheError, path: str) -> str:
    return f"{type(error).__name__}: {error}".replace(f"{path}: ", "")


def _check(arguments: argparse.Namespace) -> int:
    with _open(arguments.cache, read_only=not arguments.fix) as cache:
        problems = cache.check(fix=arguments.fix)
    for problem in problems:
        print(problem)
    return FINDINGS if problems else DONE


def _compact(arguments: argparse.Namespace) -> int:
    with _open(arguments.cache, read_only=False) as cache:
        cache.compact()
    return DONE


def _demo(arguments: argparse.Namespace) -> int:
    from bufcache.demo import run

    run()
    return DONE
