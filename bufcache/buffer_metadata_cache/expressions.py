"""Predicates from text, as people type it into a filter box or a shell."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from bufcache.buffer_metadata_cache.metadata import BufferMetadata
from bufcache.buffer_metadata_cache.query import Field, Predicate, and_, not_, or_
from bufcache.errors import ExpressionError, InvalidArgumentError
from bufcache.names import nearest

_LONGEST = 10_000
_DEEPEST = 100
_MOST_BITS = 1024
_MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Field[Any], Any], Predicate]] = {
    ast.Eq: lambda field, value: field == value,
    ast.NotEq: lambda field, value: field != value,
    ast.Lt: lambda field, value: field < value,
    ast.LtE: lambda field, value: field <= value,
    ast.Gt: lambda field, value: field > value,
    ast.GtE: lambda field, value: field >= value,
    ast.In: lambda field, value: field.in_(value),
    ast.NotIn: lambda field, value: field.not_in(value),
    ast.Is: lambda field, value: field.is_(value),
    ast.IsNot: lambda field, value: field.is_not(value),
}
_METHODS = frozenset(
    {"between", "like", "ilike", "startswith", "endswith", "contains", "regexp_match", "below", "in_", "not_in"}
)


def expression(text: str, fields: Mapping[str, Field[Any]] = BufferMetadata.__fields__) -> Predicate:
    """Return the predicate that a text stands for.

    Parameters
    ----------
    text
        Comparisons of a field with values, in Python's words: ``compression_frq == 8 and process > 100``,
        ``datamode == 'DATAMODE_FFT'``, ``partnumber in ('A', 'B')``, ``10 <= process < 20``,
        ``process is not None``, ``not channel == 1``, ``filename.like('%c0b%')``. Nothing in it is executed.
    fields
        The fields by name; those of BufferMetadata unless said otherwise.

    Raises
    ------
    ExpressionError
        The text says something else; the message points at the place and names the nearest field.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected text, got {text!r}")
    return _Reader(re.sub("[\r\n]", " ", text).strip(), fields).read()


class _Reader:
    """Reads one text; every node of its syntax tree that is not expected here is an error."""

    def __init__(self, text: str, fields: Mapping[str, Field[Any]]) -> None:
        self._text = text
        self._fields = fields

    def read(self) -> Predicate:
        if not self._text:
            raise ExpressionError("the expression is empty; expected a comparison such as process > 100")
        if len(self._text) > _LONGEST:
            raise ExpressionError(f"the expression has {len(self._text)} characters; at most {_LONGEST} are read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of backslashes in texts: a pattern has them
                tree = ast.parse(self._text, mode="eval")
        except SyntaxError as error:
            unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", lambda quoted: "." * len(quoted[0]), self._text)
            if single := re.search("(?<![=<>!])=(?!=)", unquoted):
                self._fail("expected == to compare", single.start())
            self._fail(error.msg, error.offset - 1 if error.offset else len(self._text))
        except (ValueError, RecursionError, MemoryError) as error:
            raise ExpressionError(f"the expression cannot be read: {error}") from None
        self._refuse_comments()
        return self._predicate(tree.body)

    def _refuse_comments(self) -> None:
        """Raise where a comment would hide a part of the text."""
        if "#" in self._text:
            for token in tokenize.generate_tokens(io.StringIO(self._text).readline):
                if token.type == tokenize.COMMENT:
                    self._fail("a comment cannot stand in an expression", token.start[1])

    def _predicate(self, node: ast.expr, depth: int = 0) -> Predicate:
        if depth > _DEEPEST:
            self._fail(f"more than {_DEEPEST} levels of 'and', 'or' and 'not'", node)
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return and_(*(self._predicate(part, depth + 1) for part in parts))
            case ast.BoolOp(op=ast.Or(), values=parts):
                return or_(*(self._predicate(part, depth + 1) for part in parts))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not_(self._predicate(part, depth + 1))
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call(node)
        self._fail("expected a comparison such as process > 100", node)

    def _comparison(self, node: ast.Compare) -> Predicate:
        sides = [node.left, *node.comparators]
        parts = [
            self._pair(left, kind, right) for left, kind, right in zip(sides[:-1], node.ops, sides[1:], strict=True)
        ]
        return parts[0] if len(parts) == 1 else and_(*parts)

    def _pair(self, left: ast.expr, kind: ast.cmpop, right: ast.expr) -> Predicate:
        if isinstance(left, ast.Name):
            return self._asked(left, _COMPARISONS[type(kind)], self._value(right))
        if isinstance(right, ast.Name) and type(kind) in _MIRRORED:
            return self._asked(right, _COMPARISONS[_MIRRORED[type(kind)]], self._value(left))
        self._fail("expected the name of a field on one side", left)

    def _call(self, node: ast.Call) -> Predicate:
        if not (isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)) or node.keywords:
            self._fail("expected a call such as filename.like('%c0b%')", node)
        method = node.func.attr
        if method not in _METHODS:
            self._fail(f"unknown method {method!r}{nearest(method, _METHODS)}", node)
        values = [self._value(argument) for argument in node.args]
        try:
            inspect.signature(getattr(Field, method)).bind(None, *values)
        except TypeError as error:
            self._fail(f"{method}(): {error}", node)
        return self._asked(node.func.value, lambda field, _: getattr(field, method)(*values), None)

    def _asked(self, name: ast.Name, ask: Callable[[Field[Any], Any], Predicate], value: Any) -> Predicate:
        field = self._fields.get(name.id)
        if field is None:
            self._fail(f"unknown field {name.id!r}{nearest(name.id, self._fields)}", name)
        try:
            return ask(field, value)
        except (TypeError, InvalidArgumentError) as error:
            self._fail(str(error), name)

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int() as value) if value.bit_length() > _MOST_BITS:
                self._fail("the number is too large", node)
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                return [self._value(part) for part in parts]
            case ast.Name(id=name):
                self._fail(f"{name!r} stands where a value is expected; texts need quotes", node)
        self._fail("expected a number, a text in quotes, None or a list of such", node)

    def _fail(self, message: str, place: ast.expr | int) -> NoReturn:
        """Raise the error with the text and a mark under the place: a node, or a number of characters."""
        column = place if isinstance(place, int) else len(self._text.encode()[: place.col_offset].decode())
        margin = re.sub("[^\t]", " ", self._text[:column])
        raise ExpressionError(f"{message}\n  {self._text}\n  {margin}^") from None
