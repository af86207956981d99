"""Predicates from text: what they stand for, and where an error points."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from query_strategies import few_names, histories, predicates

from bufcache import Buffer
from bufcache.buffer_metadata_cache import BufferMetadata as BM
from bufcache.buffer_metadata_cache import expression, select
from bufcache.buffer_metadata_cache.query import AllOf, AnyOf, Not, Predicate
from bufcache.errors import ExpressionError

# -- what works ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("process == 71", BM.process == 71),
        ("process != 71", BM.process != 71),
        ("process < 71", BM.process < 71),
        ("process <= 71", BM.process <= 71),
        ("process > 71", BM.process > 71),
        ("process >= 71", BM.process >= 71),
        ("71 == process", BM.process == 71),
        ("71 != process", BM.process != 71),
        ("71 < process", BM.process > 71),
        ("71 <= process", BM.process >= 71),
        ("71 > process", BM.process < 71),
        ("71 >= process", BM.process <= 71),
        ("10 <= process < 20", (BM.process >= 10) & (BM.process < 20)),
        ("1 < process != 7", (BM.process > 1) & (BM.process != 7)),
        ("process is None", BM.process.is_(None)),
        ("process is not None", BM.process.is_not(None)),
        ("process == None", BM.process.is_(None)),
        ("process != None", BM.process.is_not(None)),
        ("None == process", BM.process.is_(None)),
        ("process in (1, 2)", BM.process.in_([1, 2])),
        ("process in [1, 2, None]", BM.process.in_([1, 2, None])),
        ("process not in {1, 2}", BM.process.not_in([1, 2])),
        ("process in ()", BM.process.in_([])),
        ("project_id == 18446744073709551615", BM.project_id == 2**64 - 1),
        ("process == -5", BM.process == -5),
        ("frq_end >= 1.5e6", BM.frq_end >= 1.5e6),
        ("frq_end > -0.5", BM.frq_end > -0.5),
        ("process == 0x10", BM.process == 16),
        ("process == 1_000", BM.process == 1000),
        ("process == True", BM.process == 1),
        ("datamode == 'DATAMODE_FFT'", BM.datamode == Buffer.DATAMODE.DATAMODE_FFT),
        ("datamode == 2", BM.datamode == Buffer.DATAMODE.DATAMODE_FFT),
        ("datakind in ('KIND_USER', 105)", BM.datakind.in_([100, 105])),
        ("partnumber == 'A'", BM.partnumber == "A"),
        ('partnumber == "it\'s"', BM.partnumber == "it's"),
        ("partnumber == 'Größe #7'", BM.partnumber == "Größe #7"),
        ("partnumber in ('A', 'B')", BM.partnumber.in_(["A", "B"])),
        ("filename.like('%c0b%')", BM.filename.like("%c0b%")),
        ("filename.like('a!_%', '!')", BM.filename.like("a!_%", escape="!")),
        ("filename.ilike('a%')", BM.filename.ilike("a%")),
        ("filename.startswith('a')", BM.filename.startswith("a")),
        ("filename.endswith('a')", BM.filename.endswith("a")),
        ("filename.contains('#')", BM.filename.contains("#")),
        (r"filename.regexp_match('p\d+c')", BM.filename.regexp_match(r"p\d+c")),
        ("directory_path.below('/data')", BM.directory_path.below("/data")),
        ("filepath.below('/data')", BM.filepath.below("/data")),
        ("process.between(1, 2)", BM.process.between(1, 2)),
        ("process.in_([1, 2])", BM.process.in_([1, 2])),
        ("process.not_in((1, 2))", BM.process.not_in([1, 2])),
        ("process > 1 and channel == 1", (BM.process > 1) & (BM.channel == 1)),
        ("process > 1 or channel == 1", (BM.process > 1) | (BM.channel == 1)),
        ("not channel == 1", ~(BM.channel == 1)),
        ("not not channel == 1", ~~(BM.channel == 1)),
        ("process > 1 and channel == 1 or process == 0", ((BM.process > 1) & (BM.channel == 1)) | (BM.process == 0)),
        ("process > 1 and (channel == 1 or process == 9)", (BM.process > 1) & ((BM.channel == 1) | (BM.process == 9))),
        ("  ( process > 1 )  ", BM.process > 1),
        ("process > 1\nand channel == 1", (BM.process > 1) & (BM.channel == 1)),
        ("process > 1\r\n  and channel == 1\r\n", (BM.process > 1) & (BM.channel == 1)),
        ("\tprocess > 1", BM.process > 1),
    ],
)
def test_a_text_stands_for_a_predicate(text, expected):
    """Comparisons, lists, calls and their combinations are read as the predicate that says the same."""
    assert expression(text) == expected


def test_filter_takes_a_text():
    """Select reads a text as expression does, over the fields of its documents."""
    assert select(BM).filter("process > 100") == select(BM).filter(BM.process > 100)


def test_the_fields_may_be_others():
    """The names in a text are those of the fields that are given."""
    assert expression("number > 3", {"number": BM.process}) == (BM.process > 3)
    with pytest.raises(ExpressionError, match="unknown field 'process'"):
        expression("process > 3", {"number": BM.process})


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        # names
        ("proces > 3", r"unknown field 'proces'; did you mean 'process'\?", "proces"),
        ("process == 1 and procss == 2", "unknown field 'procss'; did you mean 'process'", "procss"),
        ("partnumber == 'Größe №7 🔩' and procss == 2", "unknown field 'procss'", "procss"),
        ("process == 1\nand procss == 2", "unknown field 'procss'", "procss"),
        ("1 <= procss <= 2", "unknown field 'procss'", "procss"),
        ("zzz == 2", "unknown field 'zzz'$", "zzz"),
        ("filname.like('a')", "unknown field 'filname'; did you mean 'filename'", "filname"),
        ("filename.lik('a')", "unknown method 'lik'; did you mean 'like'", "filename"),
        ("process.asc()", "unknown method 'asc'", "process"),
        ("process.__class__()", "unknown method '__class__'", "process"),
        # values
        ("process > '3'", r"BufferMetadata\.process: expected a number, got '3'", "process"),
        ("channel == 1 or process in (1, 'a')", r"BufferMetadata\.process: expected a number, got 'a'", "process"),
        ("process == (1, 2)", r"BufferMetadata\.process: expected a number", "process"),
        ("process in 'abc'", "expected several values such as a list, got 'abc'", "process"),
        ("partnumber == 3", r"BufferMetadata\.partnumber: expected text", "partnumber"),
        ("datamode == 'DATAMODE_FTT'", r"no member 'DATAMODE_FTT'; did you mean 'DATAMODE_FFT'", "datamode"),
        ("datamode == DATAMODE_FFT", "'DATAMODE_FFT' stands where a value is expected; texts need quotes", "DATAMODE_"),
        ("process > channel", "'channel' stands where a value is expected", "channel"),
        ("process == 1j", "expected a number, a text in quotes, None or a list", "1j"),
        ("process == b'a'", "expected a number, a text in quotes, None or a list", "b'a'"),
        ("process == ...", r"expected a number, a text in quotes, None or a list", "..."),
        ("process == 1 + 1", "expected a number, a text in quotes, None or a list", "1 + 1"),
        ("process in [1, 2, x]", "'x' stands where a value is expected", "x]"),
        ("process in [1, *x]", "expected a number, a text in quotes, None or a list", "*x"),
        ("process == f'{process}'", "expected a number, a text in quotes, None or a list", "f'"),
        (f"process == 1{'0' * 400}", "the number is too large", "1"),
        ("process.like('a')", r"BufferMetadata\.process holds no text", "process"),
        ("partnumber.below('/')", r"BufferMetadata\.partnumber holds no folders", "partnumber"),
        ("filename.regexp_match('(')", "no regular expression", "filename"),
        ("filename.like('a', 'bc')", "escape is 'bc'; expected one character", "filename"),
        ("filename.like()", "", "filename"),
        ("process.between(1)", "", "process"),
        # form
        ("process", "expected a comparison such as process > 100", "process"),
        ("not process", "expected a comparison", "process"),
        ("process & channel", "expected a comparison", "process"),
        ("-process", "expected a comparison", "-process"),
        ("lambda: 3", "expected a comparison", "lambda"),
        ("[process for process in (1, 2)]", "expected a comparison", "["),
        ("process if channel else 3", "expected a comparison", "process"),
        ("process + 1 == 3", "expected the name of a field on one side", "process"),
        ("process.real == 3", "expected the name of a field on one side", "process"),
        ("3 == 3", "expected the name of a field on one side", "3"),
        ("5 in process", "expected the name of a field on one side", "5"),
        ("process == 1 == 2", "expected the name of a field on one side", "1"),
        ("__import__('os').system('true')", "expected a call such as filename", "__import__"),
        ("like('a')", "expected a call such as filename", "like"),
        ("filename.like('a', escape='!')", "expected a call such as filename", "filename"),
        ("process > 1 # and channel == 2", "a comment cannot stand in an expression", "#"),
        ("process > 1 # x\nand channel == 2", "a comment cannot stand in an expression", "#"),
        # what is no Python
        ("process = 3", "expected == to compare", "="),
        ("process > 1 AND channel == 1", "invalid syntax", "AND"),
        ("process > 1 && channel == 1", "invalid syntax", "& channel"),
        ("process > 1; channel == 1", "invalid syntax", ";"),
        ("process == '", "unterminated string", "'"),
        ("(process == 1", "was never closed", "("),
        ("process == 007", "leading zeros", "007"),
        ("process == 😀", "invalid character", "😀"),
    ],
)
def test_an_error_points_at_its_place(text, message, place):
    """What cannot be read is an ExpressionError with the text and a mark under the place; names get the nearest one."""
    with pytest.raises(ExpressionError, match=f"(?m){message}") as raised:
        expression(text)
    _, shown, mark = str(raised.value).split("\n")
    assert shown == f"  {text}".replace("\n", " ")
    assert mark == " " * shown.index(place) + "^"


@pytest.mark.parametrize("text", ["process ==", "process == 1 and", "not", "partnumber == 'a=b' and"])
def test_an_error_points_behind_a_text_that_just_ends(text):
    """Where something is missing at the end, the mark stands behind the text."""
    with pytest.raises(ExpressionError, match="invalid syntax") as raised:
        expression(text)
    assert str(raised.value).endswith(f"\n  {text}\n  {' ' * len(text)}^")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_an_error(text):
    """A text that says nothing is no question for everything."""
    with pytest.raises(ExpressionError, match="empty"):
        expression(text)


@pytest.mark.parametrize("text", [None, 3, b"process > 1", BM.process > 1])
def test_what_is_no_text_is_a_type_error(text):
    """Only a text is read."""
    with pytest.raises(TypeError, match="expected text"):
        expression(text)


# -- any text -----------------------------------------------------------------------------------------------------

WORDS = [
    *("process", "proces", "datamode", "partnumber", "filename", "filepath", "x"),
    *("and", "or", "not", "in", "is", "None", "True", "lambda", "if", "else", "for", "await", "yield"),
    *("==", "!=", "<", "<=", ">", ">=", "=", ":=", "+", "-", "*", "**", "&", "|", "~", "@", "->"),
    *("(", ")", "[", "]", "{", "}", ",", ":", ";", ".", "#", "\\", "'", '"', "'''", "\n", "\r", "\t", "\f", "\0"),
    *("1", "-1", "1.5", "1e999", "1j", "0x", "1_", "00", "'a'", "b'a'", "f'{x}'", "'DATAMODE_FFT'", r"'\d'", "'(?P<'"),
    *(".like(", ".in_(", ".between(", ".regexp_match(", ".below(", ".__class__", "...", "\ud800", "é", "🔩"),
]
words = st.lists(st.sampled_from(WORDS), max_size=12)


def assert_answer(text: str) -> None:
    """Read a text; what it gives can be shown and asked, or is an ExpressionError."""
    try:
        found = expression(text)
    except ExpressionError:
        return
    assert isinstance(found, Predicate)
    assert repr(found)
    assert found.evaluate({"process": 3}) in (True, False, None)


@given(st.text() | words.map(" ".join) | words.map("".join))
@example(r"process == '\N{LATIN SMALL LETTER A}'")
@example(r"process == '\N{nonsense}'")
@example(r"process == '\x'")
@example("process ==\\\n1")
@example("process == '\ud800'")
def test_any_text_is_a_predicate_or_an_expression_error(text):
    """Whatever a text is, it gives a predicate, which can be shown and asked, or an ExpressionError."""
    assert_answer(text)


@given(st.sampled_from(["10 <= process < 20", "partnumber in ('A', 'B#')", "not filename.like('%c0b%')"]), st.data())
def test_a_slip_of_the_finger_is_a_predicate_or_an_expression_error(text, data):
    """A text in which a character is left out, put in or changed is a predicate or an ExpressionError."""
    place, width = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 2))
    assert_answer(text[:place] + data.draw(st.sampled_from([*WORDS, ""])) + text[place + width :])


@pytest.mark.parametrize(
    "text",
    [
        *(mark * 100 for mark in ("(", "[", "not ", "-", "process")),
        *(mark * 2400 for mark in ("(", "[", "{", "not ", "-", "~", "'", "x.", "x<", "x,")),
        "(" * 150 + "process == 1" + ")" * 150,
        "not (channel == 1 and " * 400 + "process == 1" + ")" * 400,
        " or ".join(f"process == {number}" for number in range(500)),
        "process in (" + "1," * 4000 + ")",
        "process == " + "9" * 9000,
        "process == " + "9" * 9000 + ".0",
        "process == 1 " + " " * 10_000,
        "process == " + " " * 10_000 + "1",
    ],
    ids=lambda text: f"{text[:16]} {len(text)}",
)
def test_a_hostile_text_is_answered_soon(text):
    """Deep, long and huge texts are answered or refused in little time, and without a RecursionError."""
    started = time.monotonic()
    assert_answer(text)
    assert time.monotonic() - started < 5


def test_as_deep_as_it_gets():
    """A hundred levels are read and can be asked; more are refused."""
    assert expression("not " * 100 + "process == 1")({"process": 1})
    with pytest.raises(ExpressionError, match="more than 100 levels"):
        expression("not " * 101 + "process == 1")


# -- there and back -----------------------------------------------------------------------------------------------


def written(predicate: Predicate) -> str:
    """Return a predicate as people type it."""
    match predicate:
        case AllOf(parts=()):
            return "not process in ()"
        case AnyOf(parts=()):
            return "process in ()"
        case AllOf(parts=parts):
            return " and ".join(f"({written(part)})" for part in parts)
        case AnyOf(parts=parts):
            return " or ".join(f"({written(part)})" for part in parts)
        case Not(part=part):
            return f"not ({written(part)})"
    typed = repr(predicate).removeprefix("BufferMetadata.").replace(", escape=", ", ").replace("inf", "1e999")
    return typed.replace(".is_(None)", " is None")


@given(st.data())
def test_a_predicate_written_as_text_asks_the_same(data):
    """Any predicate can be typed, and the text is true, false and unknown of the same documents."""
    names = data.draw(few_names())
    predicate = data.draw(predicates(names).filter(lambda asked: "nan" not in repr(asked)))
    read = expression(written(predicate))
    for commit in data.draw(histories(names)):
        for change in commit:
            document = change.document or {}
            assert read.evaluate(document) is predicate.evaluate(document)
