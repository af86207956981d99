"""Documents of users' own classes: how they are declared, and added, found and removed beside those of the files."""

import copy
import dataclasses
import math
import pickle
import subprocess
import sys
from datetime import datetime
from enum import Enum, IntEnum
from typing import ClassVar, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import write_samples
from tinydb import TinyDB, where

from bufcache import Buffer, BufferMetadata, BufferMetadataCache, ExpressionError, LogStorage, asc, desc, select
from bufcache.buffer_metadata_cache import get_declarative_base
from bufcache.buffer_metadata_cache.store.database import Edit
from bufcache.errors import BufcacheError, CacheLockedError, ClosedError, InvalidArgumentError

Base = get_declarative_base()


class Grade(IntEnum):
    """How good a part is."""

    GOOD = 1
    BAD = 2


class Note(Base):
    """A remark on a process."""

    __tablename__ = "notes"

    process: int
    text: str | None = None


class Finding(Base):
    """One field of each kind, with and without None, with and without a default."""

    __tablename__ = "findings"
    unit: ClassVar[str] = "mm"

    process: int
    width: float
    text: str
    is_done: bool
    grade: Grade
    datamode: Optional[Buffer.DATAMODE]  # noqa: UP045  # the older spelling
    depth: float | None
    is_seen: bool = False
    rank: int = 3
    worst: Grade = Grade.BAD
    comment: "str | None" = "none"

    def area(self):
        """Return width times depth."""
        return self.width * self.depth


def finding(**values):
    """Return a finding that can be added."""
    complete = {"process": 1, "width": 0.5, "text": "a", "is_done": True, "grade": Grade.GOOD}
    return Finding(**{**complete, **values})


@pytest.fixture
def notes(cache):
    """Return a cache with notes 1 to 6 on processes 71 to 73."""
    texts = ["b", None, "B", "a", "c", None]
    cache.add(*(Note(process=71 + number // 2, text=text) for number, text in enumerate(texts)))
    return cache


def ids(found):
    return [document.id for document in found]


# -- classes ----------------------------------------------------------------------------------------------------------


def test_the_fields_are_the_annotations():
    """Each annotated attribute is a field, in order and behind the id; other attributes stay what they are."""
    names = ["process", "width", "text", "is_done", "grade", "datamode", "depth"]
    assert list(Finding.__fields__) == ["id", *names, "is_seen", "rank", "worst", "comment"]
    assert repr(Finding.rank) == "Finding.rank"
    assert Finding.unit == "mm"
    assert finding(depth=4).area() == 2.0
    assert Finding.is_done.owner is Finding
    assert get_declarative_base() is Base


def test_an_object_is_a_dataclass_that_takes_any_of_its_fields():
    """An object takes fields by name and has the defaults of the others; it is compared, copied and shown by value."""
    note = Note(process=71)
    assert (note.id, note.process, note.text) == (None, 71, None)
    assert (Finding().rank, Finding().worst, Finding().comment, Finding().process) == (3, Grade.BAD, "none", None)
    assert note == Note(process=71, text=None) != Note(process=72)
    assert repr(note) == "Note(process=71)"
    assert [field.name for field in dataclasses.fields(Note)] == ["id", "process", "text"]
    assert dataclasses.asdict(note) == {"id": None, "process": 71, "text": None}
    assert dataclasses.replace(note, text="a") == Note(process=71, text="a")
    assert copy.deepcopy(note) == pickle.loads(pickle.dumps(note)) == note
    assert pickle.loads(pickle.dumps(Note.process == 71)) == (Note.process == 71)
    with pytest.raises(TypeError, match="Note has no field 'proces'; did you mean 'process'"):
        Note(proces=71)


def test_classes_that_inherit_fields():
    """A class takes over the annotated attributes of its bases, documents or not, with fields of its own for them."""

    class Dated:
        year: int = 2026

    class Signed(Dated, Note):
        __tablename__ = "signed"
        author: str

    assert list(Signed.__fields__) == ["id", "process", "text", "year", "author"]
    assert (Signed().year, Signed().text) == (2026, None)
    assert Signed.process is not Note.process
    assert repr(Signed.process) == "Signed.process"


def test_an_id_may_be_declared():
    """Who is used to declare the id may do so, as an int."""

    class Declared(Base):
        __tablename__ = "declared"
        process: int
        id: int | None = None

    assert list(Declared.__fields__) == ["id", "process"]
    with pytest.raises(TypeError, match=r"Bad\.id is annotated as <class 'str'>; it is the int"):
        declare(process=int, id=str)


def declare(tablename="bad", default=None, /, **annotations):
    """Declare a class with these annotations, and a default for the last of them."""
    body = {"__annotations__": annotations, "__tablename__": tablename, "__module__": __name__}
    if default is not None:
        body[list(annotations)[-1]] = default
    return type("Bad", (Base,), body)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    "annotation", [list, list[int], [int], bytes, datetime, int | str, Colour | None, Colour, None, 3]
)
def test_annotations_that_no_field_has(annotation):
    """An annotation that is none of the types is a TypeError with class, field and what is allowed."""
    with pytest.raises(TypeError, match=r"Bad\.size is annotated as .*; expected int, float, str, bool, an IntEnum"):
        declare(process=int, size=annotation)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (int, "3"),
        (int, 2**63),
        (int, 3.0),
        (bool, 1),
        (str, 3),
        (float | None, "1"),
        (Grade, "GODO"),
        (Grade, Colour.RED),
    ],
)
def test_defaults_that_the_field_cannot_hold(annotation, default):
    """A default of another type is told when the class is made."""
    with pytest.raises(TypeError, match=r"Bad\.size: its default cannot be stored, "):
        declare("bad", default, size=annotation)


def test_an_annotation_that_cannot_be_read():
    """A name that is not known where the class stands is a TypeError that names it."""
    with pytest.raises(TypeError, match="Bad: an annotation cannot be read, name 'Missing' is not defined"):
        declare(size="Missing")


@pytest.mark.parametrize("name", ["to_document", "from_rows", "stored_fields", "from_document"])
def test_names_that_no_field_has(name):
    """A field cannot have the name of a method that all documents have."""
    with pytest.raises(TypeError, match=rf"Bad\.{name} cannot be a field"):
        declare(**{name: int})


def test_classes_without_fields():
    """A class without annotations, as one made for SQLAlchemy, is told how to declare fields."""
    with pytest.raises(TypeError, match="Bad has no fields; annotate some, as in 'process: int'"):
        declare()


@pytest.mark.parametrize(
    ("tablename", "message"),
    [
        (None, "has no __tablename__ of its own"),
        ("", "has no __tablename__ of its own"),
        (3, "has no __tablename__ of its own"),
        ("buffer_metadata", "is 'buffer_metadata', the table of the files; choose another"),
        ("_default", "is '_default', the default table of TinyDB; choose another"),
    ],
)
def test_table_names_that_cannot_be(tablename, message):
    """A class needs a table of its own, and not one that is taken."""
    with pytest.raises(InvalidArgumentError, match=message):
        declare(tablename, process=int)


def test_a_table_name_is_not_inherited():
    """A class that inherits from a class of documents names a table of its own."""
    with pytest.raises(InvalidArgumentError, match="LongNote has no __tablename__ of its own"):

        class LongNote(Note):
            length: int


def test_two_classes_of_one_table(notes):
    """Two classes cannot share a table of one cache; the same one, defined again, takes the place of the first."""
    Other = declare("notes", size=int)
    for call in (lambda: notes.all(Other), lambda: notes.add(Other(size=1))):
        with pytest.raises(
            InvalidArgumentError, match=r"table 'notes' has the documents of .*\.Note; give .*\.Bad another"
        ):
            call()
    assert len(notes.all(Note)) == 6
    Again = declare("notes", number=int, process=str, text=str)
    Again.__qualname__ = Note.__qualname__
    assert [document.text for document in notes.all(Again)] == ["b", None, "B", "a", "c", None]
    assert {document.process for document in notes.all(Again)} == {None}
    assert ids(notes.all(Note.process == 72)) == [3, 4]


# -- adding -----------------------------------------------------------------------------------------------------------


def test_a_document_that_is_added_comes_back(open_cache):
    """What is added gets an id and comes back as it was, members as members and defaults filled in."""
    cache = open_cache()
    first = finding(datamode=Buffer.DATAMODE.DATAMODE_FFT, depth=1e300)
    second = finding(grade="BAD", is_done=False, width=3, rank=np.int16(4), comment=None, worst=Grade.GOOD)
    assert cache.add(first, second) is None
    assert (first.id, second.id) == (1, 2)
    found = cache.all(Finding)
    assert found[0] == first
    assert (found[0].grade, found[0].is_done, found[0].is_seen, found[0].rank) == (Grade.GOOD, True, False, 3)
    assert (found[1].grade, found[1].is_done, found[1].width, found[1].rank) == (Grade.BAD, False, 3.0, 4)
    assert (found[1].comment, found[1].depth, found[1].worst) == (None, None, Grade.GOOD)
    assert all(type(each.is_done) is bool and type(each.grade) is Grade for each in found)
    assert cache.db.table("findings").get(doc_id=2) == {
        **{"id": 2, "process": 1, "width": 3.0, "text": "a", "is_done": False, "grade": 2},
        **{"is_seen": False, "rank": 4, "worst": 1},
    }


def test_adding_again_replaces(notes):
    """An object that was added and has been changed replaces its document under its id when it is added again."""
    [note] = notes.all(Note.text == "a")
    note.text, note.process = None, 99
    notes.add(note)
    assert ids(notes.all(Note.process == 99)) == [note.id]
    assert len(notes.all(Note)) == 6
    again = notes.all(Note(process=99))[0]
    assert again == note
    assert again is not note


def test_one_call_is_one_commit(cache, monkeypatch):
    """Documents of several classes and tables are added by one commit; what has not changed costs none."""
    commits = []
    commit = cache._database.commit
    monkeypatch.setattr(cache._database, "commit", lambda edits: commits.append(list(edits)) or commit(commits[-1]))
    documents = [Note(process=1), finding(), Note(process=2)]
    cache.add(*documents)
    cache.add(*documents)
    cache.add()
    assert list(map(len, commits)) == [3, 0, 0]
    assert [document.id for document in documents] == [1, 1, 2]


def test_ids_that_are_given(cache):
    """A document with an id of its own stands under it, and no new one gets it, in the same call as little as later."""
    documents = [Note(process=1), Note(process=2, id=1), Note(process=3)]
    cache.add(*documents)
    assert ids(documents) == [2, 1, 3]
    same = Note(process=4)
    cache.add(same, same)
    assert ids(cache.all(Note)) == [1, 2, 3, 4]
    cache.remove(same)
    cache.add(Note(process=5))
    assert ids(cache.all(Note)) == [1, 2, 3, 5]


def test_ids_below_nought(cache):
    """A document may have an id below one, and is found and removed by it."""
    documents = [Note(process=number, id=id) for number, id in enumerate([-(2**63), -1, 0])]
    cache.add(*documents, new := Note(process=3))
    assert new.id == 1
    assert cache.all(Note) == [*documents, new]
    cache.remove(*documents[:2])
    assert ids(cache.all(Note.id < 2)) == [0, 1]


def test_no_id_is_left(cache):
    """Where a document has the largest id there is none for a new one, which is told; the others can be changed."""
    cache._database.commit([Edit("notes", 2**63 - 1, {"process": 1})])
    new = [Note(process=2), Note(process=3, id=5)]
    with pytest.raises(BufcacheError, match="no id is left for a new document of notes"):
        cache.add(*new)
    assert new[0].id is None
    [note] = cache.all(Note)
    note.process = 4
    cache.add(note, new[1])
    assert ids(cache.all(Note.process > 1)) == [5, 2**63 - 1]
    cache.remove(note)
    assert cache.all(Note) == [new[1]]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (Note(), InvalidArgumentError, r"Note\.process is None; expected a value, as its annotation has no '\| None'"),
        (Note(process="71"), TypeError, r"Note\.process: expected a number, got '71' \(str\)"),
        (Note(process=1, text=3), TypeError, r"Note\.text: expected text"),
        (Note(process=1, id="x"), TypeError, r"Note\.id: expected a number"),
        (Note(process=1, id=True), InvalidArgumentError, "the id of a document is True"),
        (
            Note(process=1, id=2**63 - 1),
            InvalidArgumentError,
            "the id of a new document of notes is 9223372036854775807",
        ),
        (finding(is_done=1), TypeError, r"Finding\.is_done: expected True or False, got 1 \(int\)"),
        (finding(width=math.nan), InvalidArgumentError, r"Finding\.width is nan; expected a value"),
        (finding(rank=None), InvalidArgumentError, r"Finding\.rank is None; expected a value"),
        (finding(grade=Colour.RED), TypeError, r"Finding\.grade: expected a Grade, got <Colour"),
        (
            finding(grade="GODO"),
            InvalidArgumentError,
            r"Finding\.grade: Grade has no member 'GODO'; did you mean 'GOOD'",
        ),
        (BufferMetadata(process=1), TypeError, r"expected documents of classes of your own, got BufferMetadata"),
        ([Note(process=1)], TypeError, r"got \[Note\(process=1\)\]; give several as several arguments"),
        (Note, TypeError, r"expected documents of classes of your own, got <class"),
    ],
    ids=repr,
)
def test_what_cannot_be_added(notes, bad, error, message):
    """A document that cannot be stored is refused with its field, and those beside it stay without an id, unstored."""
    good = Note(process=1)
    for documents in ((good, bad), (bad, good)):
        with pytest.raises(error, match=message):
            notes.add(*documents)
        assert good.id is None
        assert len(notes.all(Note)) == 6


def test_a_number_that_the_enumeration_does_not_know(cache):
    """A number that an enumeration lacks is kept, as in the metadata of files."""
    cache.add(finding(grade=7))
    assert cache.all(Finding.grade == 7)[0].grade == 7


# -- finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Note, [1, 2, 3, 4, 5, 6]),
        (select(Note), [1, 2, 3, 4, 5, 6]),
        (select(Note).filter(Note.process == 71), [1, 2]),
        (select(Note).filter("process > 71 and text is not None"), [3, 4, 5]),
        (select(Note).filter_by(process=72, text="a"), [4]),
        (select(Note).order_by(Note.text), [2, 6, 3, 4, 1, 5]),
        (select(Note).order_by(desc(Note.process), asc(Note.text).nulls_last()), [5, 6, 3, 4, 1, 2]),
        (select(Note).order_by(Note.id.desc()).offset(1).limit(2), [5, 4]),
        (Note(process=71), [1, 2]),
        (Note(process=71, text="b"), [1]),
        (Note(), [1, 2, 3, 4, 5, 6]),
        (Note.text == "a", [4]),
        (Note.id == 2, [2]),
        (~(Note.text == "a"), [1, 3, 5]),
        ((Note.text.ilike("b") | (Note.process == 73)) & Note.text.is_not(None), [1, 3, 5]),
        (Note.id.in_([6, 1, 9]), [1, 6]),
    ],
    ids=repr,
)
def test_all_takes_the_queries_of_files(notes, query, expected):
    """The class, select, templates and predicates find what they find of files."""
    assert ids(notes.all(query)) == expected


def test_each_kind_can_be_asked_for(cache):
    """Every kind of field has its predicates: truth values as such, enumerations by member, name and number."""
    cache.add(finding(), finding(is_done=False, grade=Grade.BAD, depth=2.5, datamode=2, comment=None))
    for predicate in (
        Finding.is_done == False,  # noqa: E712
        ~(Finding.is_done == np.True_),
        Finding.is_done.in_([False]),
        Finding.grade == Grade.BAD,
        Finding.grade == "BAD",
        Finding.grade > 1,
        Finding.depth.between(2, 3),
        Finding.depth.is_not(None),
        Finding.datamode == Buffer.DATAMODE.DATAMODE_FFT,
        Finding.comment == None,  # noqa: E711
    ):
        assert ids(cache.all(predicate)) == [2]
    assert ids(cache.all(select(Finding).filter("is_done == True and grade == 'GOOD'"))) == [1]
    assert ids(cache.all(select(Finding).order_by(Finding.is_done))) == [2, 1]
    assert cache.all(Finding(rank=3, is_seen=False, process=1)) == cache.all(Finding)
    with pytest.raises(TypeError, match=r"Finding\.is_done: expected a number, got 'yes'"):
        Finding.is_done == "yes"  # noqa: B015


@pytest.mark.parametrize(
    "query",
    [
        None,
        "process > 1",
        Base,
        BufferMetadata,
        select(BufferMetadata),
        BufferMetadata(),
        BufferMetadata.process > 1,
        3,
        int,
    ],
)
def test_what_is_no_query_for_own_documents(notes, query):
    """Anything that does not say which class it is about is a TypeError."""
    with pytest.raises(TypeError, match="expected a class of"):
        notes.all(query)


def test_questions_about_two_classes(notes):
    """A predicate is over the fields of one class, and only of the one that is asked for."""
    for query in ((Note.process == 71) & (Finding.process == 1), select(Note).filter(Finding.process == 1)):
        with pytest.raises(TypeError, match=r"fields of one class|no field of these documents"):
            notes.all(query)
    for query in (Note.process == 71, select(Note), Note(process=71)):
        with pytest.raises(TypeError):
            notes.get_matching_files(query)
    with pytest.raises(TypeError, match=r"cache\.all finds other documents"):
        notes.count(select(Note))
    with pytest.raises(ExpressionError, match="unknown field 'proces'; did you mean 'process'"):
        select(Note).filter("proces == 71")


values = st.builds(Note, process=st.integers(-3, 3), text=st.none() | st.text(st.sampled_from("ab%\0é"), max_size=2))


@given(st.lists(values, max_size=8), st.integers(-3, 3))
def test_columns_find_what_the_documents_say(documents, number):
    """What is found is what the predicate is true of document by document, before and after changes."""
    with BufferMetadataCache() as cache:
        predicate = (Note.process > number) | Note.text.contains("a")
        for _ in range(2):
            cache.add(*documents)
            expected = [document for document in documents if predicate(document.to_document())]
            assert cache.all(predicate) == sorted(expected, key=lambda document: document.id)
            for document in documents[::2]:
                document.process = -document.process
        assert cache.check() == []


# -- removing ---------------------------------------------------------------------------------------------------------


def test_removing(notes):
    """Documents are removed by their ids, once; their ids are given to no other, and an object can be put back."""
    removed = notes.all(Note.process == 71)
    notes.remove(*removed, removed[0])
    notes.remove(*removed)
    notes.remove()
    assert ids(notes.all(Note)) == [3, 4, 5, 6]
    notes.add(removed[1], Note(process=1))
    assert ids(notes.all(Note)) == [2, 3, 4, 5, 6, 7]


def test_what_cannot_be_removed(notes):
    """What was never added, or is no document of one's own, is refused, and nothing is removed."""
    known = notes.all(Note)[0]
    with pytest.raises(InvalidArgumentError, match=r"Note\(process=71\) has no id: it was never added"):
        notes.remove(known, Note(process=71))
    for bad in (Note, Note.process == 71, BufferMetadata(id=1), [known]):
        with pytest.raises(TypeError, match="expected documents of classes of your own"):
            notes.remove(known, bad)
    assert len(notes.all(Note)) == 6


# -- in the database --------------------------------------------------------------------------------------------------


def test_they_live_beside_the_files(cache, project):
    """Files and own documents are in one cache, and neither is touched by what is done to the other."""
    cache.add(Note(process=1))
    cache.synchronize_directory(project, verbose=0)
    cache.add_files_to_cache(write_samples(project, 2))
    cache.remove_files_from_cache(cache.get_matching_files())
    assert (len(cache), len(cache.all(Note))) == (0, 1)
    assert cache.db.tables() == {"notes"}


def test_they_stay(tmp_path):
    """A later cache finds the documents, also one that only reads, and gives no id twice."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add(Note(process=1, text="a"), gone := Note(process=2))
        cache.remove(gone)
    with BufferMetadataCache(tmp_path / "c", read_only=True) as cache:
        assert cache.all(Note.text == "a") == [Note(id=1, process=1, text="a")]
        with pytest.raises(BufcacheError, match="read_only"):
            cache.add(Note(process=2))
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add(new := Note(process=3))
        assert new.id == 3
        assert cache.check() == []
    for call in (lambda: cache.add(new), lambda: cache.all(Note), lambda: cache.remove(new)):
        with pytest.raises(ClosedError):
            call()


def test_another_cache_sees_them(tmp_path):
    """What one cache adds another finds at once, and the id of each is its own; who waits too long is told."""
    with (
        BufferMetadataCache(tmp_path / "c") as one,
        BufferMetadataCache(tmp_path / "c", lock_timeout=0) as two,
    ):
        one.add(Note(process=1))
        assert ids(two.all(Note.process == 1)) == [1]
        two.add(Note(process=2))
        one.add(Note(process=3))
        assert ids(two.all(select(Note).order_by(Note.process.desc()))) == [3, 2, 1]
        late = Note(process=4)
        with one._database.writing(), pytest.raises(CacheLockedError):
            two.add(late)
        assert late.id is None


def test_a_process_that_does_not_know_the_class(tmp_path):
    """Documents that another process writes without the class are found, under their ids and by them."""
    code = (
        "import sys, tinydb, bufcache\n"
        "with bufcache.BufferMetadataCache(sys.argv[1]) as cache:\n"
        "    cache.db.table('notes').insert({'process': 7})\n"
        "    cache.db.table('notes').update({'text': 'x'}, tinydb.where('process') == 1)\n"
    )
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add(Note(process=1))
        subprocess.run([sys.executable, "-c", code, tmp_path / "c"], check=True)
        subprocess.run([sys.executable, "-c", code, tmp_path / "c"], check=True)
        assert cache.all(Note) == [Note(id=1, process=1, text="x"), Note(id=2, process=7), Note(id=3, process=7)]
        assert ids(cache.all(Note.id > 1)) == [2, 3]
        assert cache.check() == []
    with BufferMetadataCache(tmp_path / "c") as cache:
        assert ids(cache.all(Note.id > 1)) == [2, 3]
        assert cache.check() == []


def test_tinydb_asks_for_them(notes):
    """Their table is one of TinyDB's, where their predicates work too, before and after the class was used."""
    table = notes.db.table("notes")
    expected = [{"id": 4, "process": 72, "text": "a"}]
    assert table.search(Note.text == "a") == table.search(where("text") == "a") == expected
    table.update({"process": 100}, Note.text == "a")
    table.insert({"process": 101})
    assert ids(notes.all(Note.process >= 100)) == [4, 7]
    notes.db.drop_table("notes")
    assert notes.all(Note) == []


def test_documents_that_do_not_fit(cache):
    """Of a document with values that its fields cannot hold, or without them, the others come out."""
    table = cache.db.table("findings")
    table.insert_multiple(
        [
            {"process": "1", "width": "wide", "text": 3, "is_done": 1, "grade": "GOOD", "rank": 2**63, "more": 1},
            {"process": 2, "width": 1, "text": "b", "is_done": True, "grade": 9, "rank": 1.0, "id": 77},
            {},
        ]
    )
    found = cache.all(Finding)
    assert ids(found) == [1, 2, 3]
    assert {value for name, value in vars(found[0]).items() if name != "id"} == {None}
    assert (found[1].process, found[1].width, found[1].is_done, found[1].grade) == (2, 1.0, True, 9)
    assert ids(cache.all(Finding.process.is_(None))) == [1, 3]
    assert cache.check() == []
    assert Finding.from_document(table.get(doc_id=2)).text == "b"


def test_exported_and_opened_by_tinydb(notes, tmp_path):
    """Their table is in what is exported, and in what TinyDB opens."""
    notes.export_tinydb(tmp_path / "stock.json")
    with TinyDB(tmp_path / "stock.json") as stock:
        assert stock.table("notes").get(doc_id=1) == {"id": 1, "process": 71, "text": "b"}


def test_a_stock_tinydb_changes_them(tmp_path):
    """TinyDB over the storage changes them, and the cache finds them so."""
    with BufferMetadataCache(tmp_path / "c") as cache:
        cache.add(Note(process=1))
    with TinyDB(tmp_path / "c", storage=LogStorage) as db:
        db.table("notes").update({"text": "x"})
    with BufferMetadataCache(tmp_path / "c") as cache:
        assert cache.all(Note) == [Note(id=1, process=1, text="x")]
