"""The tables of TinyDB over our storage: they do what TinyDB does in memory, and keep it."""

from collections.abc import Mapping
from types import MappingProxyType
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import NOTES, InMemory, Note, open_database
from tinydb import Query, TinyDB, where
from tinydb import operations as change
from tinydb.middlewares import CachingMiddleware
from tinydb.storages import MemoryStorage
from tinydb.table import Document, Table

from bufcache import BufferMetadata, BufferMetadataCache, LogStorage
from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.buffer_metadata_cache.store.tables import DocumentDB, DocumentTable
from bufcache.errors import BufcacheError, CacheFormatError, ClosedError, InvalidArgumentError

DOCUMENTS = [
    {"name": "a", "number": 1, "tags": ["x", "y"], "part": {"size": 1.5}},
    {"name": "b", "number": 2, "tags": []},
    {"name": "c", "number": 3, "part": {"size": 2}},
    {"name": "d", "number": 2, "tags": ["y"], "part": {"size": None}},
    {},
]


class Custom(Mapping):
    """A mapping that is no dict."""

    def __init__(self, **content):
        self._content = content

    def __getitem__(self, key):
        return self._content[key]

    def __iter__(self):
        return iter(self._content)

    def __len__(self):
        return len(self._content)


class NeverReusing(Table):
    """TinyDB's own table, which gives an id that it took back a second time; this one does not."""

    _largest = 0

    def _update_table(self, updater):
        super()._update_table(updater)
        self._largest = max(self._largest, *map(int, self._read_table()), 0)

    def _get_next_id(self):
        self._largest += 1
        return self._largest


class Stock(TinyDB):
    """TinyDB as it is."""

    table_class = NeverReusing


def opened(place):
    """Return TinyDB over a store, as another process opens it."""
    return DocumentDB(open_database(place.files()))


@pytest.fixture
def db(place):
    """Return TinyDB over a store, which is sound in the end and the same for all who open it."""
    ours = opened(place)
    yield ours
    if ours._opened:
        assert ours.storage.database.problems() == []
        assert state(ours) == state(opened(place))


@pytest.fixture
def stock():
    """Return TinyDB over its own storage in memory."""
    return Stock(storage=MemoryStorage)


def state(db):
    """Return the documents of all tables that have any."""
    return {name: plain(db.table(name).all()) for name in db.tables() if len(db.table(name))}


def plain(result):
    """Return a result in a form that can be compared: documents with their ids."""
    if isinstance(result, Document):
        return result.doc_id, dict(result)
    return list(map(plain, result)) if isinstance(result, list) else result


def outcome(operation, db):
    """Return what an operation gives or raises."""
    try:
        return plain(operation(db))
    except Exception as error:
        return type(error), str(error)


# -- as TinyDB --------------------------------------------------------------------------------------------------------


ASKING = {
    "search": lambda db: db.search(where("number") > 1),
    "search for what is not there": lambda db: db.search(where("number") > 9),
    "search in a part": lambda db: db.search(where("part").size == 2),
    "search in a list": lambda db: db.search(where("tags").any(["x", "z"])),
    "search for all of a list": lambda db: db.search(where("tags").all(["y"])),
    "search for a text": lambda db: db.search(where("name").matches("[ab]")),
    "search for one of several": lambda db: db.search(where("number").one_of([1, 3])),
    "search by a test": lambda db: db.search(where("number").test(lambda number, low: number >= low, 2)),
    "search by a fragment": lambda db: db.search(where("part").fragment({"size": 2})),
    "search for what exists": lambda db: db.search(where("part").exists()),
    "search for both": lambda db: db.search((where("number") == 2) & (where("tags") == [])),
    "search for either": lambda db: db.search((where("number") == 1) | (where("name") == "c")),
    "search for the others": lambda db: db.search(~(where("number") == 2)),
    "search by a function": lambda db: db.search(lambda document: len(document) == 4),
    "search by a function that is no query": lambda db: [db.search(bool), db.count(bool), db.contains(len)],
    "search by a value made of another": lambda db: db.search(where("name").map(str.upper) == "B"),
    "search all the documents": lambda db: db.search(Query().noop()),
    "search in a part that has none": lambda db: db.search(where("part").size.depth.exists()),
    "search twice": lambda db: [db.search(where("number") == 2) for _ in range(2)],
    "search that fails": lambda db: db.search(lambda document: document["name"]),
    "get": lambda db: db.get(where("number") == 2),
    "get what is not there": lambda db: db.get(where("number") == 9),
    "get by id": lambda db: db.get(doc_id=3),
    "get by an id that is not there": lambda db: db.get(doc_id=9),
    "get by an id that is none": lambda db: [db.get(doc_id=id) for id in ("x", "", 1.0, " 1", "+1", "1_0", -1, True)],
    "get by an id as text": lambda db: db.get(doc_id="3"),
    "get by an id that is not a number": lambda db: db.get(doc_id=float("nan")),
    "get by ids": lambda db: db.get(doc_ids=[4, 9, 2, 2]),
    "get by id and condition": lambda db: db.get(where("number") == 2, doc_id=1),
    "get nothing in particular": lambda db: db.get(),
    "contains": lambda db: [db.contains(where("number") == number) for number in (2, 9)],
    "contains an id": lambda db: [db.contains(doc_id=id) for id in (1, 9, "x")],
    "contains nothing in particular": lambda db: db.contains(),
    "count as search does": lambda db: [
        db.count(query) == len(db.search(query)) for query in (where("number") > 1, where("x").exists())
    ],
    "count": lambda db: [db.count(where("number") == number) for number in (2, 9)],
    "all": lambda db: db.all(),
    "iterate": lambda db: [list(db), list(db.table("_default")), list(db.table("missing"))],
    "iterate over two at a time": lambda db: list(map(list, zip(db, db, strict=True))),
    "length": lambda db: [len(db), len(db.table("missing"))],
    "tables": lambda db: db.tables(),
    "tables of several sizes of cache": lambda db: [
        db.table(f"{size}", cache_size=size).search(where("a") == 1) for size in (0, 1)
    ],
    "default table": lambda db: [db.default_table_name, db.table("_default").all()],
    "name": lambda db: [db.table("x").name, db.table("x") is db.table("x")],
    "clear the cache": lambda db: db.clear_cache(),
}

CHANGING = {
    "insert": [lambda db: db.insert({"name": "e"})],
    "insert twice": [lambda db: db.insert({}), lambda db: db.insert({"name": "e"})],
    "insert what is no dict": [lambda db: db.insert(MappingProxyType({"name": "e"}))],
    "insert what is no mapping": [lambda db: db.insert(["name"])],
    "insert a mapping of one's own": [lambda db: db.insert(Custom(name="e")), lambda db: db.update(Custom(a=1))],
    "insert a dict where several are expected": [lambda db: db.insert_multiple({"name": "e"})],
    "insert a set": [lambda db: db.insert({"name"})],
    "insert a document": [lambda db: db.insert(Document({"name": "e"}, doc_id=9)), lambda db: db.insert({})],
    "insert a document that is there": [lambda db: db.insert(Document({"name": "e"}, doc_id=2))],
    "insert a document of a number below": [lambda db: db.insert(Document({}, doc_id=0))],
    "insert several": [lambda db: db.insert_multiple([{"name": "e"}, {}])],
    "insert none": [lambda db: db.insert_multiple([])],
    "insert from a generator": [lambda db: db.insert_multiple({"number": number} for number in range(3))],
    "insert documents": [lambda db: db.insert_multiple([Document({}, doc_id=9), {}, Document({}, doc_id=8)])],
    "insert documents, one there": [lambda db: db.insert_multiple([{}, Document({}, doc_id=1)])],
    "insert several, one no mapping": [lambda db: db.insert_multiple([{}, 5])],
    "update all": [lambda db: db.update({"number": 0})],
    "update some": [lambda db: db.update({"number": 0, "new": [1]}, where("number") == 2)],
    "update none": [lambda db: db.update({"number": 0}, where("number") == 9)],
    "update what is so already": [lambda db: db.update({"number": 2}, where("number") == 2)],
    "update by ids": [lambda db: db.update({"number": 0}, doc_ids=[1, 9, 3])],
    "update by no ids": [lambda db: db.update({"number": 0}, doc_ids=[])],
    "update by a function": [lambda db: db.update(lambda document: document.update(number=len(document)))],
    "update inside": [lambda db: db.update(lambda document: document["part"].pop("size"), where("part").exists())],
    "delete a key": [lambda db: db.update(change.delete("number"), where("number").exists())],
    "add": [lambda db: db.update(change.add("number", 5), where("number") == 2)],
    "add to a text": [lambda db: db.update(change.add("name", "xyz"), where("name") == "a")],
    "add to what is not there": [lambda db: db.update(change.add("missing", 1))],
    "remove by a condition that fails": [lambda db: db.remove(lambda document: document["name"] == "a")],
    "update by a condition and ids": [lambda db: db.update({"a": 1}, where("number") == 1, doc_ids=[2])],
    "subtract": [lambda db: db.update(change.subtract("number", 5), doc_ids=[1])],
    "increment": [lambda db: db.update(change.increment("number"), where("number").exists())],
    "decrement": [lambda db: db.update(change.decrement("number"), where("number").exists())],
    "set": [lambda db: db.update(change.set("tags", ["z"]))],
    "update several ways": [
        lambda db: db.update_multiple(
            [({"number": 7}, where("name") == "a"), (change.delete("name"), where("number") == 7)]
        )
    ],
    "update several ways, one after the other": [
        lambda db: db.update_multiple(
            [(change.increment("number"), where("number") == 2), (change.increment("number"), where("number") == 3)]
        )
    ],
    "upsert several": [lambda db: db.upsert({"number": 2, "new": 1}, where("number") == 2)],
    "upsert by a condition and an id": [lambda db: db.upsert(Document({"new": 1}, doc_id=1), where("number") == 2)],
    "upsert what is there": [lambda db: db.upsert({"number": 2, "name": "z"}, where("number") == 2)],
    "upsert what is not": [lambda db: db.upsert({"number": 9}, where("number") == 9)],
    "upsert a document": [lambda db: db.upsert(Document({"number": 9}, doc_id=2))],
    "upsert a new document": [lambda db: db.upsert(Document({"number": 9}, doc_id=12)), lambda db: db.insert({})],
    "upsert without a condition": [lambda db: db.upsert({"number": 9})],
    "remove": [lambda db: db.remove(where("number") == 2)],
    "remove none": [lambda db: db.remove(where("number") == 9)],
    "remove by ids": [lambda db: db.remove(doc_ids=[1, 9, 3])],
    "remove an id twice": [lambda db: db.remove(doc_ids=[2, 2])],
    "remove nothing in particular": [lambda db: db.remove()],
    "remove the last and insert": [lambda db: db.remove(doc_ids=[5]), lambda db: db.insert({})],
    "remove, and put back": [lambda db: db.remove(doc_ids=[2]), lambda db: db.insert(Document({}, doc_id=2))],
    "remove all that there is": [lambda db: db.remove(Query().noop()), len],
    "truncate": [lambda db: db.truncate(), len],
    "truncate and insert": [lambda db: db.truncate(), lambda db: db.insert({})],
    "another table": [
        lambda db: db.table("other").insert({"name": "o"}),
        lambda db: db.table("other").all(),
        lambda db: db.table("other").update({"name": "p"}, where("name") == "o"),
        lambda db: db.truncate(),
        lambda db: db.table("other").search(where("name") == "p"),
    ],
    "a table of any name": [lambda db: [db.table(name).insert({}) for name in ("", "ä\n\"'", "1", "{}")]],
    "drop a table": [
        lambda db: db.table("other").insert({"name": "o"}),
        lambda db: db.drop_table("other"),
        lambda db: db.drop_table("missing"),
        lambda db: db.tables(),
        lambda db: db.table("other").all(),
    ],
    "drop the default table": [lambda db: db.drop_table("_default"), lambda db: db.all()],
    "drop all tables": [
        lambda db: db.table("other").insert({"name": "o"}),
        lambda db: db.drop_tables(),
        lambda db: db.tables(),
        lambda db: db.all(),
    ],
}


@pytest.mark.parametrize("operation", ASKING.values(), ids=ASKING)
def test_asks_as_tinydb_does(db, stock, operation):
    """Each way to ask gives what it gives with TinyDB's own storage, and changes nothing."""
    for each in (db, stock):
        each.insert_multiple(DOCUMENTS)
    before = db.storage.database.problems(), state(db)
    assert outcome(operation, db) == outcome(operation, stock)
    assert (db.storage.database.problems(), state(db)) == before


@pytest.mark.parametrize("operations", CHANGING.values(), ids=CHANGING)
def test_changes_as_tinydb_does(db, stock, operations):
    """Each change gives and leaves what it does with TinyDB's own storage."""
    for each in (db, stock):
        each.insert_multiple(DOCUMENTS)
    for operation in operations:
        assert outcome(operation, db) == outcome(operation, stock)
        assert by_id(state(db)) == by_id(state(stock))


def by_id(tables):
    """Return documents in the order of their ids: ours are always so, TinyDB's stand as they were inserted."""
    return {name: ordered(documents) for name, documents in tables.items()}


def ordered(result):
    return sorted(result, key=repr) if isinstance(result, list) else result


documents = st.dictionaries(
    st.sampled_from("abc"), st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2), max_size=3
)
conditions = st.builds(lambda key, value: where(key) == value, st.sampled_from("abc"), st.integers(0, 3))
ids = st.lists(st.integers(1, 8), max_size=3)
operations = st.one_of(
    st.builds(lambda document: lambda table: table.insert(document), documents),
    st.builds(lambda several: lambda table: table.insert_multiple(several), st.lists(documents, max_size=3)),
    st.builds(lambda id: lambda table: table.insert(Document({}, doc_id=id)), st.integers(1, 12)),
    st.builds(lambda fields, cond: lambda table: table.update(fields, cond), documents, st.none() | conditions),
    st.builds(lambda fields, ids: lambda table: table.update(fields, doc_ids=ids), documents, ids),
    st.builds(lambda document, cond: lambda table: table.upsert(document, cond), documents, conditions),
    st.builds(lambda cond: lambda table: table.remove(cond), conditions),
    st.builds(lambda ids: lambda table: table.remove(doc_ids=ids), ids.map(lambda ids: list(dict.fromkeys(ids)))),
    st.builds(lambda cond: lambda table: table.search(cond), conditions),
    st.builds(lambda ids: lambda table: table.get(doc_ids=ids), ids),
    st.just(lambda table: table.truncate()),
)


@given(steps=st.lists(st.tuples(st.sampled_from(["_default", "other"]), operations), max_size=12))
@settings(max_examples=settings().max_examples * 2)
def test_any_operations(steps):
    """Whatever is done, in whatever order: results and documents are those of TinyDB's own storage."""
    place, stock = InMemory(), Stock(storage=MemoryStorage)
    db = opened(place)
    for name, operation in steps:
        given, expected = (outcome(operation, each.table(name)) for each in (db, stock))
        assert given == expected or sorted(given) == sorted(expected)
    assert by_id(state(db)) == by_id(state(stock)) == by_id(state(opened(place)))
    assert db.storage.database.problems() == []


def test_documents_stand_in_order_of_their_ids(db):
    """Results are in the order of the ids, however they came in."""
    db.insert_multiple([Document({}, doc_id=id) for id in (5, 2, 9)])
    db.insert(Document({}, doc_id=3))
    assert [document.doc_id for document in db] == [2, 3, 5, 9]
    assert [document.doc_id for document in db.search(lambda document: True)] == [2, 3, 5, 9]


def test_stock_tables_over_our_storage(place, stock):
    """TinyDB's own table class, which writes everything each time, reads and writes the same store."""
    plain_db = TinyDB(open_database(place.files()), storage=LogStorage)
    for each in (plain_db, stock):
        each.insert_multiple(DOCUMENTS)
        each.update({"number": 0}, where("number") == 2)
        each.remove(where("name") == "a")
        each.table("other").insert({"a": 1})
        each.drop_table("missing")
    assert state(plain_db) == state(opened(place)) == state(stock)
    opened(place).insert({"name": "ours"})
    assert plain_db.get(doc_id=6) == {"name": "ours"}
    plain_db.drop_table("other")
    plain_db.drop_tables()
    assert state(opened(place)) == {}
    assert plain_db.storage.database.problems() == []


def test_a_stock_tinydb_of_a_cache(tmp_path, stock):
    """TinyDB itself opens a cache by its path, reads it, and changes it for the cache to read."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.db.table("buffer_metadata").insert({"process": 71})
    with TinyDB(tmp_path / "c", storage=LogStorage) as db:
        assert type(db.table("buffer_metadata")) is Table
        for each in (db, stock):
            each.insert_multiple(DOCUMENTS)
            each.update({"number": 0}, where("number") == 2)
        assert plain(db.all()) == plain(stock.all())
        db.table("buffer_metadata").upsert({"process": 72}, where("process") == 71)
    with BufferMetadataCache(tmp_path / "c") as cache:
        assert [data.process for data in cache.get_matching_metadata()] == [72]
        assert plain(cache.db.all()) == plain(stock.all())
        assert cache.check() == []


def test_a_storage_takes_what_a_cache_takes(tmp_path):
    """The storage opens what a cache opens, takes its options, and refuses what it refuses, untouched."""
    with TinyDB(":memory:", storage=LogStorage) as db:
        assert db.insert({}) == 1
    with TinyDB(tmp_path / "stock.json") as stock:
        stock.insert({})
    with pytest.raises(CacheFormatError, match="left untouched"):
        TinyDB(tmp_path / "stock.json", storage=LogStorage)
    with pytest.raises(FileNotFoundError, match="no cache"):
        TinyDB(tmp_path / "c", storage=LogStorage, read_only=True)
    TinyDB(tmp_path / "c", storage=LogStorage, lock_timeout=0.1).close()
    with (
        TinyDB(tmp_path / "c", storage=LogStorage, read_only=True) as db,
        pytest.raises(BufcacheError, match="read_only"),
    ):
        db.insert({})


def test_a_middleware_of_tinydb(tmp_path):
    """TinyDB's caching middleware works over the storage, and all is there when it has been closed."""
    with TinyDB(tmp_path / "c", storage=CachingMiddleware(LogStorage)) as db:
        db.table("other").insert({"a": 1})
        db.insert_multiple({"number": number} for number in range(3))
        assert db.count(where("number") > 0) == 2
    with TinyDB(tmp_path / "c", storage=LogStorage) as db:
        assert state(db) == {
            "_default": [(id, {"number": id - 1}) for id in (1, 2, 3)],
            "other": [(1, {"a": 1})],
        }


def test_a_storage_copies_from_another(db, place):
    """What one storage reads another can write: the documents of all tables, whatever table they came from."""
    db.insert_multiple(DOCUMENTS)
    db.table("other").insert({"a": 1})
    read = db.storage.read()
    copy = DocumentDB(":memory:")
    copy.storage.write({"_default": read["other"], "other": read["_default"]})
    assert state(copy) == {"_default": state(db)["other"], "other": state(db)["_default"]}
    copy.storage.write(read)
    assert state(copy) == state(db)


def test_documents_of_a_class_of_ones_own(place):
    """A table may give out documents of its own class; counting needs none of them."""

    class Own(Document):
        pass

    class OwnTable(DocumentTable):
        document_class = Own

    db = opened(place)
    db.table_class = OwnTable
    assert db.insert_multiple([{"a": 1}, Own({"a": 2}, doc_id=7)]) == [1, 7]
    found = [*db.search(where("a") > 0), db.get(doc_id=7), db.get(where("a") == 1), *db]
    assert {type(document) for document in found} == {Own}


# -- better than TinyDB -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [NOTES, "other"])
def test_an_id_is_given_once(db, place, table):
    """The id of a document that was removed is given to no other, nor after dropping the table or reopening."""
    notes = db.table(table)
    assert notes.insert_multiple([{}, {}]) == [1, 2]
    notes.remove(doc_ids=[2])
    assert notes.insert({}) == 3
    notes.truncate()
    assert notes.insert({}) == 4
    db.drop_table(table)
    assert db.table(table).insert({}) == 5
    db.drop_tables()
    assert opened(place).table(table).insert({}) == 6
    assert db.table(table).insert({}) == 7


def test_an_id_that_was_named_counts(db):
    """The id that a document came with is given to no other one, in the same call as little as later."""
    assert db.insert_multiple([Document({}, doc_id=5), {}]) == [5, 1]
    assert db.insert({}) == 6
    assert db.insert_multiple([Document({}, doc_id=7), {}, Document({}, doc_id=9), {}]) == [7, 8, 9, 10]
    assert len(db) == 7


@pytest.mark.parametrize("doc_id", ["9", 1.5, None, 2**63, True])
def test_documents_with_an_id_that_is_none(db, doc_id):
    """A document whose id is no integer of 64 bits is refused and leaves everything as it is."""
    db.insert({"a": 1})
    for insert in (db.insert, db.upsert):
        with pytest.raises((InvalidArgumentError, ValueError)):
            insert(Document({"a": 2}, doc_id=doc_id))
    assert state(db) == {"_default": [(1, {"a": 1})]}


WAYS_TO_INSERT = {
    "insert": lambda table, document: table.insert(document),
    "insert several": lambda table, document: table.insert_multiple([{}, document]),
    "upsert": lambda table, document: table.upsert(document),
    "stock TinyDB": lambda table, document: Table(table.storage, table.name).insert(document),
}


@pytest.mark.parametrize("doc_id", [2**62 + 1, 2**63 - 1])
@pytest.mark.parametrize("insert", WAYS_TO_INSERT.values(), ids=WAYS_TO_INSERT)
def test_an_id_that_leaves_no_room(db, insert, doc_id):
    """A new document whose id would leave too few for others is refused; one at the limit is not, and others follow."""
    with pytest.raises(InvalidArgumentError, match=rf"is {doc_id}; expected one up to {2**62}, so that ids are left"):
        insert(db.table(NOTES), Document({}, doc_id=doc_id))
    assert state(db) == {}
    insert(db.table(NOTES), Document({}, doc_id=2**62))
    assert db.table(NOTES).insert_multiple([{}, Document({}, doc_id=2**62 + 2), {}])[::2] == [2**62 + 1, 2**62 + 3]


@pytest.mark.parametrize("largest", [2**63 - 2, 2**63 - 1])
@pytest.mark.parametrize("table", [NOTES, "other"])
def test_a_log_that_has_the_largest_ids(place, table, largest):
    """Where a log has the largest ids they can be read, changed and removed; where no id follows, adding says so."""
    database = open_database(place.files())
    database.commit([Edit(table, id, {"number": 1}) for id in (1, largest)])
    db = opened(place)
    rows = db.table(table)
    if largest + 1 < 2**63:
        assert rows.insert({"number": 2}) == largest + 1
    before = place.read_log()
    for insert in (
        lambda: rows.insert({}),
        lambda: rows.insert_multiple([Document({}, doc_id=5), {}]),
        lambda: rows.upsert({}, where("number") == 3),
    ):
        with pytest.raises(BufcacheError, match=f"no id is left for a new document of {table}, as id {2**63 - 1}"):
            insert()
    assert place.read_log() == before
    assert rows.insert(Document({"number": 3}, doc_id=7)) == 7
    rows.update({"number": 4}, doc_ids=[largest])
    rows.upsert(Document({"text": "a"}, doc_id=largest))
    assert (rows.get(doc_id=largest)["number"], rows.get(doc_id=largest)["text"]) == (4, "a")
    rows.remove(doc_ids=[largest])
    assert rows.insert(Document({"number": 5}, doc_id=largest)) == largest  # put back: it takes no id from others
    rows.truncate()
    assert state(opened(place)) == {}
    with pytest.raises(BufcacheError, match="no id is left"):
        opened(place).table(table).insert({})
    assert opened(place).table("third").insert({}) == 1
    assert database.problems() == []


def test_ids_below_nought(db, place):
    """A document may come with any id below one; those without get the next one above."""
    ids = [-(2**63), -(2**62) - 1, -1, 0]
    assert db.insert_multiple([Document({"number": number}, doc_id=id) for number, id in enumerate(ids)]) == ids
    assert db.insert({}) == 1
    db.update({"changed": True}, doc_ids=[-1, -(2**63)])
    db.remove(doc_ids=[0])
    expected = [(ids[0], {"number": 0, "changed": True}), (ids[1], {"number": 1}), (-1, {"number": 2, "changed": True})]
    assert state(opened(place)) == {"_default": [*expected, (1, {})]}
    assert opened(place).get(doc_id=-1) == {"number": 2, "changed": True}


@pytest.mark.parametrize("number", range(5))
def test_an_updater_that_raises_changes_nothing(db, place, number):
    """Where an updater raises, in whatever document, none is changed, in memory as little as on the disk."""
    db.insert_multiple(DOCUMENTS)
    before, content = state(db), place.read_log()

    def update(document):
        document["changed"] = True
        document.setdefault("tags", []).append("changed")
        if document.get("name") == DOCUMENTS[number].get("name"):
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        db.update(update)
    with pytest.raises(KeyError):
        db.update(change.increment("missing"))
    with pytest.raises(KeyError):
        db.update({"changed": True}, lambda document: document["name"] == "a")
    assert state(db) == before
    assert place.read_log() == content


def test_documents_that_raise_while_they_are_inserted(db, place):
    """Where the documents to be inserted end in an error, none is inserted."""

    def documents():
        yield {"number": 1}
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        db.insert_multiple(documents())
    with pytest.raises(InvalidArgumentError, match="JSON"):
        db.insert_multiple([{"number": 1}, {"number": object()}])
    with pytest.raises(InvalidArgumentError, match="JSON"):
        db.insert({1: "a key that is no text"})
    assert place.read_log() == b""


def test_a_change_that_changes_nothing_writes_nothing(db, place):
    """An update that leaves all documents as they are, and a removal of none, cost no commit."""
    db.insert_multiple(DOCUMENTS)
    before = place.read_log()
    assert db.update({"number": 2}, where("number") == 2) == [2, 4]
    assert db.update(lambda document: None) == [1, 2, 3, 4, 5]
    assert db.remove(where("number") == 9) == []
    db.table("missing").truncate()
    db.drop_table("missing")
    assert place.read_log() == before


def test_a_change_is_one_commit(db, place):
    """Whatever one call changes is one commit: for all who read it is there as a whole."""
    calls = [
        lambda: db.insert_multiple(DOCUMENTS),
        lambda: db.update({"changed": True}),
        lambda: db.remove(where("number") == 2),
        db.truncate,
    ]
    for number, call in enumerate(calls, 1):
        call()
        assert place.read_log().count(b'{"commit":') == number


def test_what_a_change_reads(place, monkeypatch):
    """A change reads the documents that it has to look at, and no others."""
    files = place.files()
    notes = DocumentDB(open_database(files)).table(NOTES)
    notes.insert_multiple({"number": number} for number in range(100))
    monkeypatch.setattr(files, "read", Mock(wraps=files.read))
    notes.insert({"number": 100})
    notes.remove(doc_ids=[9])
    assert files.read.call_count == 0
    notes.update({"text": "a"}, doc_ids=[7])
    notes.update({"text": "b"}, Note.number == 7)
    notes.remove(Note.number == 7)
    assert files.read.call_count < 8
    files.read.reset_mock()
    notes.truncate()
    assert files.read.call_count == 0
    assert state(opened(place)) == {}


@pytest.mark.parametrize(
    "operation",
    [
        lambda table: table.update({"new": 1}, where("number") == 7),
        lambda table: table.remove(where("number") == 7),
        lambda table: table.upsert({"new": 1}, where("number") == 7),
    ],
    ids=["update", "remove", "upsert"],
)
def test_what_a_change_by_a_condition_reads(place, monkeypatch, operation):
    """A change of what a condition of TinyDB finds reads each document once, as a search does, and those twice more."""
    files = place.files()
    db = DocumentDB(open_database(files))
    db.insert_multiple({"number": number} for number in range(100))
    monkeypatch.setattr(files, "read", Mock(wraps=files.read))
    assert operation(db) == [8]
    assert files.read.call_count <= 102


def test_counting_by_a_predicate_reads_nothing(place, monkeypatch):
    """The documents that a predicate over fields matches are counted without reading them."""
    files = place.files()
    notes = DocumentDB(open_database(files)).table(NOTES)
    notes.insert_multiple({"number": number} for number in range(100))
    monkeypatch.setattr(files, "read", Mock(wraps=files.read))
    assert notes.count(Note.number >= 40) == 60
    assert files.read.call_count == 0


def test_results_are_the_callers(db):
    """What was given out, or in, can be changed without changing the database."""
    given = {"tags": ["x"]}
    id = db.insert(given)
    given["tags"].append("changed")
    asked = [
        lambda: db.get(doc_id=id),
        lambda: db.search(where("tags").exists())[0],
        lambda: db.all()[0],
        lambda: next(iter(db)),
        lambda: db.get(doc_ids=[id])[0],
    ]
    for ask in asked:
        for _ in range(2):
            found = ask()
            assert found == {"tags": ["x"]}
            found["tags"].append("changed")
            found["new"] = 1
    fields = {"tags": ["y"]}
    db.update(fields)
    fields["tags"].append("changed")
    assert db.get(doc_id=id) == {"tags": ["y"]}


def test_iterating_over_what_changes(db):
    """Iteration goes over the documents that were there when it began."""
    db.insert_multiple({"number": number} for number in range(5))
    seen = []
    for document in db:
        seen.append(document["number"])
        db.remove(where("number") == 3)
        db.insert({"number": 9})
    assert seen == [0, 1, 2, 3, 4]


def test_a_search_sees_one_state(db, place):
    """What another handle commits during a search is not seen by a part of it."""
    other = opened(place)
    db.insert_multiple({"number": number, "state": 0} for number in range(5))

    def condition(document):
        other.update({"state": 1})
        other.remove(where("number") == 4)
        return True

    assert [document["state"] for document in db.search(condition)] == [0, 0, 0, 0, 0]
    assert [document["state"] for document in db.search(condition)] == [1, 1, 1, 1]


def test_handles_see_each_others_changes(db, place):
    """What one handle changed is there for the next call of another one, and no id is given twice."""
    other = opened(place)
    assert (db.insert({"a": 1}), other.insert({"a": 2}), db.insert({"a": 3})) == (1, 2, 3)
    assert other.search(where("a") > 1) == db.search(where("a") > 1) == [{"a": 2}, {"a": 3}]
    other.update({"a": 9}, doc_ids=[1])
    assert db.get(where("a") == 9).doc_id == 1
    db.remove(doc_ids=[2])
    assert not other.contains(doc_id=2)
    assert other.insert_multiple([{"a": 4}, {"a": 5}]) == [4, 5]
    assert len(db) == len(other) == 4
    other.table("new").insert({})
    assert db.tables() == {"_default", "new"}
    db.drop_tables()
    assert other.tables() == set()


def test_tables_are_not_dropped_by_chance(db, place):
    """Dropping one table leaves those that another handle has just made."""
    db.table("old").insert({})
    db.tables()
    opened(place).table("new").insert({})
    db.drop_table("old")
    assert db.tables() == {"new"}


def test_a_change_inside_a_change(db):
    """A table is not changed inside a change of itself; other tables can be."""
    db.insert_multiple(DOCUMENTS)
    before = state(db)
    with pytest.raises(InvalidArgumentError, match="inside a change"):
        db.update(lambda document: db.insert({}))
    for call in (lambda cond: db.update({"a": 1}, cond), db.remove):
        with pytest.raises(InvalidArgumentError, match="inside a change"):
            call(lambda document: db.insert({}))
    assert state(db) == before
    db.update(lambda document: db.table("log").insert({"seen": document.get("name")}))
    assert len(db.table("log")) == 5
    assert db.insert_multiple({"number": db.insert({})} for _ in range(2)) == [8, 9]
    assert [document.doc_id for document in db] == list(range(1, 10))


def test_tables_that_are_empty(db, stock):
    """A table without documents is none, where TinyDB goes on to name it."""
    for each in (db, stock):
        each.table("other", persist_empty=True)
        each.insert({})
        each.truncate()
    assert db.tables() == set()
    assert stock.tables() == {"_default", "other"}


def test_closed(db, place):
    """After closing every call raises ClosedError, but the name of the database can be printed."""
    with db:
        db.insert({"a": 1})
    calls = [
        db.all,
        db.tables,
        db.truncate,
        db.drop_tables,
        lambda: db.insert({}),
        lambda: db.get(doc_id=1),
        lambda: db.search(where("a") == 1),
        lambda: len(db),
        lambda: list(db),
    ]
    for call in calls:
        with pytest.raises(ClosedError):
            call()
    assert "LogStorage" in repr(db)
    assert state(opened(place)) == {"_default": [(1, {"a": 1})]}


def test_read_only(place):
    """Who only reads can ask and cannot change."""
    opened(place).insert({"a": 1})
    db = DocumentDB(open_database(place.files(), is_read_only=True))
    for call in (lambda: db.insert({}), db.truncate, db.drop_tables, lambda: db.update({"a": 2})):
        with pytest.raises(BufcacheError, match="read_only"):
            call()
    assert db.all() == [{"a": 1}]


def test_repr(db):
    """A table's repr says what it is."""
    db.insert({})
    assert repr(db.table("_default")).startswith("<DocumentTable name='_default', total=1, storage=LogStorage(")


# -- tables with fields -----------------------------------------------------------------------------------------------


def test_predicates(db):
    """A predicate over fields finds in a table what it finds document by document, and so do TinyDB's conditions."""
    notes = db.table(NOTES)
    notes.insert_multiple({"number": number, "text": "ab"[number % 2]} for number in range(10))
    notes.insert_multiple([{"number": "no number"}, {"text": "b"}])
    predicate = (Note.number > 3) & (Note.text == "b")
    expected = [document for document in notes.all() if predicate(document)]
    assert [document["number"] for document in expected] == [5, 7, 9]
    assert notes.search(predicate) == expected
    assert notes.search((where("text") == "b") & where("number").one_of([5, 7, 9])) == expected
    assert notes.get(predicate) == expected[0]
    assert notes.count(predicate) == 3
    assert notes.contains(predicate)
    assert notes.search(Note.number.is_(None)) == [{"number": "no number", "id": 11}, {"text": "b", "id": 12}]
    assert notes.update({"text": "c"}, predicate) == [6, 8, 10]
    assert notes.remove(Note.text == "c") == [6, 8, 10]
    assert not notes.contains(predicate)


def test_predicates_on_other_tables(db):
    """In a table without fields a predicate is asked of each document."""
    other = db.table("other")
    other.insert_multiple([{"number": 1}, {"number": 5}, {"number": None}, {}])
    assert other.search(Note.number > 3) == [{"number": 5}]
    assert other.get(Note.number > 3).doc_id == 2
    assert other.count(Note.number.is_(None)) == 2


def test_documents_with_fields_say_their_id(db):
    """A document of a table with fields says its id, whatever a change says."""
    notes = db.table(NOTES)
    notes.insert({"text": "a"})
    notes.insert({"text": "b", "id": 77})
    notes.insert(Document({"text": "c", "id": 78}, doc_id=5))
    notes.upsert({"text": "d", "id": 79}, where("text") == "d")
    assert [(note.doc_id, note["id"]) for note in notes] == [(1, 1), (2, 2), (5, 5), (6, 6)]
    notes.update({"id": 80, "text": "e"}, where("text") == "a")
    notes.update(change.delete("id"))
    notes.update(lambda document: document.clear(), where("text") == "b")
    assert [(note.doc_id, note["id"]) for note in notes] == [(1, 1), (2, 2), (5, 5), (6, 6)]
    assert notes.search(Note.id == 5) == [{"text": "c", "id": 5}]


def test_the_documents_of_a_cache(cache):
    """The documents of a cache can be asked for and changed as a table of TinyDB, beside tables of one's own."""
    table = cache.db.table("buffer_metadata")
    table.insert_multiple(
        {"directory_path": "/data", "filename": f"p{process}c0b01", "process": process} for process in range(95, 105)
    )
    found = table.search(BufferMetadata.process > 100)
    assert [(document.doc_id, document["id"], document["process"]) for document in found] == [
        (7, 7, 101),
        (8, 8, 102),
        (9, 9, 103),
        (10, 10, 104),
    ]
    assert table.search(where("process") > 100) == found
    assert cache.get_matching_files(BufferMetadata.process > 102) == ["/data/p103c0b01", "/data/p104c0b01"]
    table.update({"process": 500}, BufferMetadata.process == 103)
    table.remove(BufferMetadata.process == 104)
    cache.db.table("notes").insert({"text": "mine"})
    assert cache.count(BufferMetadata.process > 100) == 3
    assert [data.id for data in cache.get_matching_metadata("process > 400")] == [9]
    assert cache.db.tables() == {"buffer_metadata", "notes"}
    assert len(cache) == 9
