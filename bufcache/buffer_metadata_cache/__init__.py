"""Everything about many buffer files."""

from bufcache.buffer_metadata_cache.cache import BufferMetadataCache
from bufcache.buffer_metadata_cache.declarative import OwnDocument, get_declarative_base
from bufcache.buffer_metadata_cache.expressions import expression
from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import and_, asc, desc, not_, or_
from bufcache.buffer_metadata_cache.report import SyncReport
from bufcache.buffer_metadata_cache.selection import Select, select
from bufcache.buffer_metadata_cache.store.tables import LogStorage
from bufcache.buffer_parser import Buffer, InvalidFileError

__all__ = [
    "Buffer",
    "BufferMetadata",
    "BufferMetadataCache",
    "InvalidFileError",
    "LogStorage",
    "OwnDocument",
    "Select",
    "SyncReport",
    "and_",
    "asc",
    "desc",
    "expression",
    "get_declarative_base",
    "not_",
    "or_",
    "select",
]
