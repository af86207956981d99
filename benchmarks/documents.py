"""Documents as a synchronisation of a tree gives them, as many as wanted, without as many files.

The files of fifteen projects are made (see trees.py) and synchronised for real. What follows are the documents of
those files again, moved into further projects: other folders, names, times, part numbers and hashes.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import count, islice
from typing import Any

from trees import FOLDER_SIZES, VERSIONS, tree

from bufcache import BufferMetadataCache

TABLE = "buffer_metadata"
PROJECTS = len(FOLDER_SIZES) * len(VERSIONS)
FILES = sum(FOLDER_SIZES) * len(VERSIONS)
FIRST_PROJECT = 10**15

Document = dict[str, Any]


def models(documents: int) -> list[Document]:
    """Return the documents of real files, enough of them to make that many of."""
    with tree(min(documents, FILES)) as work, BufferMetadataCache() as cache:
        cache.synchronize_directory(work / "tree", verbose=0)
        return [dict(document) for document in cache.db.table(TABLE).all()]


def documents(of: Sequence[Document], first_lap: int = 0) -> Iterator[Document]:
    """Give documents without end, in order of their paths; each has an `id`, counted from 1."""
    moved = (_moved(document, lap * PROJECTS) for lap in count(first_lap) for document in of)
    for id, document in enumerate(moved, 1):
        document["id"] = id
        yield document


def _moved(document: Mapping[str, Any], projects: int) -> Document:
    """Return what the document would be of a file in a project that many further on."""
    project = document["project_id"] - FIRST_PROJECT + projects
    name = f"Project{project}_{document['filename'].partition('_')[2]}"
    began = document["process_time"] + 10**5 * projects
    moved = {
        **document,
        "project_id": FIRST_PROJECT + project,
        "directory_path": f"/data/project_{project:03}/measurements",
        "filename": name,
        "process_time": began,
        "process_date_time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(began)),
        "header_hash": sha256(name.encode()).hexdigest(),
        "mtime_ns": document["mtime_ns"] + 10**14 * projects,
    }
    if projects:
        moved["partnumber"] = document["partnumber"].replace("Part ", f"Part {projects}-")
    return moved


def batches(of: Iterator[Document], documents: int, size: int = 1000) -> Iterator[list[Document]]:
    """Give that many documents, in batches."""
    for start in range(0, documents, size):
        yield list(islice(of, min(size, documents - start)))
