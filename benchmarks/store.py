"""How long the store takes to open, to answer and to commit, and what it needs, at three sizes.

Against the rival, qass-tools-analyzer on its SQLite file with its indexes, and against stock TinyDB over a storage
that uses orjson; all three hold the same documents (see documents.py and filling.py), and what they find is asserted to
be equal. The floor of a fresh process is one that only imports numpy, orjson and tinydb; that of a commit is to append
as many bytes to a file in the same folder and to sync it. A fresh process is timed from its first line to the answer,
with compiled bytecode; memory is the most that it ever had in memory (VmHWM), mapped files included. "Cold": the pages
of the store, not those of Python and its packages, were dropped with posix_fadvise before.

Sides run by turns after one round to warm up; a side that has taken ten seconds of a row sits the other rounds out, and
one that needs more than 24 GiB of addresses or three minutes is shown as "-". Commits are made by turns at all sizes,
each of documents that are new, to caches that were compacted just before. The result says how busy the machine was:
where the load is above 1, others were at work, too.

    python benchmarks/store.py                     # 10,000, 100,000 and 1,000,000 documents: about a quarter of an hour
    python benchmarks/store.py --documents 3000    # some seconds
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import commits
from commits import adding_row, commit_rows
from documents import Document, batches, documents, models
from filling import fill
from fresh import fresh_rows
from goals import COLUMNS, Row
from measure import aligned, arguments, keep, machine
from questions import question_rows
from trees import tree
from upkeep import size_row, upkeep_rows

SIZES = (10_000, 100_000, 1_000_000)


def of_size(
    work: Path, base: Path, count: int, *, of: Sequence[Document], files: Iterator[Path], rounds: int, with_stock: bool
) -> Iterator[Row]:
    """Fill stores and measure all but commits."""
    yield Row("filling, once", fill(base, batches(documents(of), count)))
    yield from size_row(base)
    yield from fresh_rows(work, base, count, rounds)
    yield from question_rows(base, count, rounds, with_stock)
    yield adding_row(base, files, of[0], rounds, with_stock)
    yield from upkeep_rows(work, base)


def told(row: Row) -> Row:
    """Show how far it is."""
    print(f"{time.strftime('%H:%M:%S')} load {os.getloadavg()[0]:.1f}:", *row.cells(), sep="  ", flush=True)
    return row


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--documents", type=int, nargs="+", default=SIZES, help="how many, at least 2,500 each")
    parser.add_argument("--stock-up-to", type=int, default=100_000, help="where stock TinyDB is asked open questions")
    parser.add_argument("--commits", type=int, default=100, help="how many of each kind")
    parser.add_argument("--name", default="store", help="of the result")
    options = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()
    with tree(4 * (1 + options.rounds) * len(options.documents)) as work:
        of = models(max(options.documents))
        files = iter(sorted(path for path in (work / "tree").rglob("*") if path.is_file()))
        bases = {count: work / f"{count}" for count in options.documents}
        rows = {}
        for count, base in bases.items():
            with_stock = count <= options.stock_up_to
            rows[count] = list(
                map(told, of_size(work, base, count, of=of, files=files, rounds=options.rounds, with_stock=with_stock))
            )
        commit_lines, notes = commit_rows(bases, of, options.commits)
    seconds, loads = time.monotonic() - began, f"{load[0]:.1f} before, {os.getloadavg()[0]:.1f} after"
    about = f"store.py: medians of {options.rounds} rounds by turns; {seconds:.0f} s in all; load average {loads}"
    lines = [about, *machine()]
    for count, of_count in rows.items():
        lines += ["", *aligned([(f"{count:,} documents", *COLUMNS, "goal"), *(row.cells() for row in of_count)])]
    lines += ["", *aligned([("commits", *commits.COLUMNS), *(row.cells() for row in commit_lines)]), "", *notes, ""]
    keep(options.name, "\n".join(lines))


if __name__ == "__main__":
    main()
