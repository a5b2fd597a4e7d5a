"""What the source says, found by reading it: texts that are handed to `say`, and sentences that it composes.

A sentence (of an error, a notice, a warning, a finding) is composed in English where something is known, and may travel
through records before anybody reads it. So the catalogue has its patterns: `expected {1} axes, got {2}; pass one
volume`. Where a value is English itself, that has a pattern of its own: whatever literal of the source reads as English
is found, be it handed to an error or to a function, kept in a table or returned in a tuple.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

Text = str | tuple[str, str]
"""What is said, or what is said of one and of several."""

HOLE, PART = "\0", "\1"
"""In a pattern that is being made: a value, and one that has patterns of its own."""

MOST_PATTERNS = 4
"""Of one sentence; where there would be more, parts become patterns of their own."""

AT = {
    "Notice": 0,
    "on_warning": 0,
    "on_stage": 0,
    "on_part": 0,
    "Lost": 1,
    "warn_all": 0,
    "answer_of": 0,
    "part": 0,
    "Finding.error": 1,
    "Finding.warning": 1,
    "Choice": 2,
    "Mark": 0,
    "DatasetPlan": 4,
}
"""Whose argument is a sentence, and which. Other literals are found by how they read."""

UNSAID = {
    *("say", "say_many", "later", "all_later"),  # texts that are found by themselves
    *("arg", "Field", "ArgumentParser", "add_argument", "APIRouter", "get", "post", "put", "delete", "patch", "head"),
    *("compile", "search", "fullmatch", "match", "sub", "split", "findall", "getLogger", "TypeVar", "NewType"),
    *("execute", "executemany", "executescript", "Literal", "removeprefix", "startswith", "filterwarnings"),
}
"""What is given literals that nobody reads as a message: help, which is English, patterns and statements of SQL."""

UNREAD = (
    "bodies/kinds.py",  # patterns of names
    "language/",
    "notices.py",
    "pictures/structure_names.py",
    "files/label_tables.py",  # what stands in files
    "files/meshes.py",
    "files/itk/seg_nrrd.py",
    "files/itk/write_metaimage.py",
    "server/renumbering.py",
    "cli/__init__.py",  # help
    "formats.py",
    "loss_kinds.py",
    "network_kinds.py",
    "postprocess/step_kinds.py",
)
"""Modules in which literals are no messages, unless they are handed to an error."""

UNREAD_TABLES = {"MEMORY", "THREADS", "unusable", "OF_ANOTHER", "TYPES"}
"""Constants with what messages of others are known by."""

OURS = {
    "KeyError",
    "IndexError",
    "AssertionError",
    "NotImplementedError",
    "AttributeError",
    "TypeError",
    "RuntimeError",
}
"""Errors that nobody is meant to read."""


def texts_in(code: str) -> Iterator[Text]:
    """The texts of all calls of `say`, `say_many`, `later` and `all_later`, where they stand in the call itself."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).split(".")[-1]
        texts = node.args if called == "all_later" else node.args[:1] if called in {"say", "later"} else []
        for text in texts:
            yield from (n.value for n in ast.walk(text) if isinstance(n, ast.Constant) and type(n.value) is str)
        if called == "say_many":
            one, many = node.args[1:3]
            if isinstance(one, ast.Constant) and isinstance(many, ast.Constant):
                yield str(one.value), str(many.value)


def texts_in_page(template: str) -> Iterator[str]:
    """The same of a template of a page."""
    yield from re.findall(r'say\("([^"]+)"', template)


def texts_in_script(code: str) -> Iterator[str]:
    """The same of a script of the page, in which a text may be put together of several literals."""
    for found in re.findall(r'\b(?:say|later)\(\s*((?:"(?:[^"\\]|\\.)*"[\s+]*)+)', code):
        yield "".join(json.loads(one) for one in re.findall(r'"(?:[^"\\]|\\.)*"', found))


def texts_in_table(table: str) -> Iterator[str]:
    """What the models that can be fetched find, why others cannot be, and what they may be used under."""
    known = tomllib.loads(table)
    yield from (task["tells"] for task in known["tasks"].values())
    yield from known["reasons"].values()
    yield known["licence"]


def sentences(modules: Iterable[tuple[Path, str]]) -> dict[str, list[Path]]:
    """The patterns of all sentences, with the modules that say them.

    Args:
        modules: Files and their code.
    """
    read = [(path, ast.parse(code)) for path, code in modules]
    functions: dict[str, list[tuple[ast.Module, ast.FunctionDef]]] = {}
    for _, module in read:
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, []).append((module, node))
    found: dict[str, list[Path]] = {}
    seen: set[int] = set()
    names = frozenset(_names_of_kinds(module for _, module in read))
    readers = [(path, _Reader(module, functions, names, seen)) for path, module in read]
    texts = [(path, reader, list(reader.said())) for path, reader in readers]
    for path, reader, said in texts:
        others = [] if any(f"tomoseg/{one}" in path.as_posix() for one in UNREAD) else reader.others()
        for made in (*said, *others, *sorted(one for one in reader.parts if ODD.search(one) is None)):
            for pattern in _numbered(made):
                places = found.setdefault(pattern, [])
                if path not in places:
                    places.append(path)
    return found


def _names_of_kinds(modules: Iterable[ast.Module]) -> Iterator[str]:
    for node in (node for module in modules for node in ast.walk(module)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            yield from (str(one.value) for one in ast.walk(node.slice) if isinstance(one, ast.Constant))


def _numbered(made: str) -> Iterator[str]:
    """A pattern with its values numbered; nothing of one that says nothing."""
    made = re.sub("\0[\0, .]*\0", HOLE, made).strip()
    if _letters(made) < 3:
        return
    numbers = iter(range(1, 100))
    escaped = made.replace("{", "{{").replace("}", "}}")
    yield re.sub("[\0\1]", lambda _: f"{{{next(numbers)}}}", escaped)


def _is_unread(node: ast.AST) -> bool:
    """Whether literals in an expression are no messages."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Compare() | ast.arg():
            return True  # a docstring, what is sought, an annotation
        case ast.Subscript(value=ast.Name(id=name)):
            return name[0].isupper()  # a type
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name.strip("_") in UNREAD_TABLES
        case ast.keyword(arg=name):
            return name in {"help", "description", "summary", "pattern"}
        case ast.Call():
            return _called(node) in UNSAID | OURS
    return False


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).split(".")[-1]


WORD = re.compile(r"(?<![\w/.`'\"$<>{-])[A-Za-z][a-z']+(?![\w/=_-])")
BEGINS = re.compile(r"(?:an?|the|no|not|its|another|other|some|all|each) ")
ODD = re.compile(
    r"\\|\(\?|\w\|\w|^[^\w\0\1]*[A-Z]{3,}[ (]|\n|^[a-z_]+ = |\b(?:WHERE|EXISTS|NULL|CASE)\b|'none'|creation-|et al\."
)


def _reads_as_english(made: str) -> bool:
    """Whether a literal is a sentence or a phrase, not a pattern, a statement, a name or a kind of notice."""
    words = WORD.findall(made)
    if ODD.search(made) is not None:
        return False
    return len(words) >= (2 if BEGINS.match(made) or "expected" in words else 3) or made.startswith(
        ("a ", "an ", "use ")
    )


def _letters(made: str) -> int:
    return len(re.sub(r"[^A-Za-z]", "", made))


@dataclass
class _Reader:
    """One module."""

    module: ast.Module
    functions: dict[str, list[tuple[ast.Module, ast.FunctionDef]]]
    names: frozenset[str] = frozenset()
    seen: set[int] = field(default_factory=set)
    parts: set[str] = field(default_factory=set)

    def said(self) -> Iterator[str]:
        yield from self._said_in(self.module, None)

    def _said_in(self, node: ast.AST, function: ast.FunctionDef | None) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                for text in _sentences_of(child):
                    yield from self.patterns(text, function, 0) or ()
            yield from self._said_in(child, child if isinstance(child, ast.FunctionDef) else function)

    def others(self) -> Iterator[str]:
        """Whatever else reads as English."""
        yield from self._others_in(self.module, None)

    def _others_in(self, node: ast.AST, function: ast.FunctionDef | None) -> Iterator[str]:
        if _is_unread(node):
            return
        if id(node) not in self.seen and isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
            found = self.patterns(node, function, 0) or ()
            yield from (text for text in found if text not in self.names and _reads_as_english(text))
        if id(node) not in self.seen and isinstance(node, ast.Call) and _called(node) == "counted":
            yield from self._returned(node, function, 0) or ()
        if isinstance(node, ast.Call) and _called(node) == "counted":
            return
        left_out = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.Call) and (at := AT.get(ast.unparse(node.func))) is not None:
            left_out += node.args[:at]  # names of kinds
        for child in ast.iter_child_nodes(node):
            if child not in left_out:
                yield from self._others_in(child, node if isinstance(node, ast.FunctionDef) else function)

    def patterns(self, node: ast.AST, function: ast.FunctionDef | None, depth: int) -> list[str] | None:
        """What an expression may be; None where that is not known."""
        if depth > 12:
            return None
        self.seen.add(id(node))
        match node:
            case ast.Constant(value=str() as text):
                return [text.replace("{}", HOLE)]
            case ast.JoinedStr(values=pieces):
                return self._joined([self._piece(piece, function, depth) for piece in pieces])
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                sides = [self.patterns(side, function, depth + 1) for side in (left, right)]
                return self._joined([[HOLE] if side is None else side for side in sides]) if any(sides) else None
            case ast.IfExp(body=left, orelse=right):
                return self._either((left, right), function, depth)
            case ast.BoolOp(values=values):
                return self._either(values, function, depth)
            case ast.Name(id=name):
                return self._assigned(name, function, depth)
            case ast.Call():
                return self._returned(node, function, depth)
        return None

    def _piece(self, piece: ast.AST, function: ast.FunctionDef | None, depth: int) -> list[str]:
        if isinstance(piece, ast.Constant):
            self.seen.add(id(piece))
            return [str(piece.value)]
        assert isinstance(piece, ast.FormattedValue)
        if piece.conversion != -1 or piece.format_spec is not None:
            return [HOLE]
        known = self.patterns(piece.value, function, depth + 1)
        if known is None:
            return [HOLE]
        if any(one[:1] == HOLE and _letters(one) <= 2 for one in known) or not any(map(_letters, known)):
            self.parts.update(one for one in known if " " in one and one[0].isalpha() and HOLE not in one)
            return [HOLE]  # a list that may go on, or an amount with one unit or another
        if len(known) <= 3 and sum(len(one) for one in known) < 60 and not any(PART in one for one in known):
            return known
        self.parts.update(known)
        return [PART]

    def _joined(self, pieces: Sequence[list[str]]) -> list[str]:
        """Every way to put pieces together; the longest become patterns of their own where these are too many."""
        pieces = list(pieces)
        while (ways := _ways(pieces)) > MOST_PATTERNS and ways > 1:
            widest = max(range(len(pieces)), key=lambda at: len(pieces[at]))
            self.parts.update(pieces[widest])
            pieces[widest] = [PART]
        return list(dict.fromkeys("".join(one) for one in product(*pieces)))

    def _either(self, values: Sequence[ast.AST], function: ast.FunctionDef | None, depth: int) -> list[str] | None:
        found = [self.patterns(value, function, depth + 1) for value in values]
        known = [one for some in found if some is not None for one in some]
        if not known:
            return None
        if None in found and all(_letters(one) < 15 for one in known):  # a value, or a word such as none
            known.append(HOLE)
        return list(dict.fromkeys(known))

    def _assigned(self, name: str, function: ast.FunctionDef | None, depth: int) -> list[str] | None:
        found: list[str] = []
        for node in ast.walk(function or self.module) if function is not None else self.module.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                found += self.patterns(node.value, function, depth + 1) or []
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and (at := _place_in(node, name)) is not None
            ):
                found += self._returned(node.value, function, depth + 1, at) or []
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                more = self.patterns(node.value, function, depth + 1) or [HOLE]
                found += self._joined([found or [HOLE], more])
        if not found and function is not None:
            return self._assigned(name, None, depth)
        return list(dict.fromkeys(found)) or None

    def _returned(
        self, call: ast.Call, function: ast.FunctionDef | None, depth: int, at: int | None = None
    ) -> list[str] | None:
        """What a call may return, or the part of it at a place in a tuple."""
        called = _called(call)
        if called == "counted":
            nouns = [arg.value for arg in call.args[1:] if isinstance(arg, ast.Constant)]
            if not nouns:
                return None
            return [f"{HOLE} {nouns[0]}", f"{HOLE} {nouns[1] if len(nouns) > 1 else f'{nouns[0]}s'}"]
        if called in {"str", "later"} or called.endswith("Error"):
            return self.patterns(call.args[0], function, depth + 1) if call.args else None
        if called in {"sentence", "say", "say_many"}:
            return None
        owners = self.functions.get(called, [])
        here = [one for one in owners if one[0] is self.module]
        if len(here or owners) != 1:
            return None
        module, made = (here or owners)[0]
        reader = self if module is self.module else _Reader(module, self.functions, self.names, self.seen, self.parts)
        found: list[str] = []
        for node in ast.walk(made):
            value = node.value if isinstance(node, ast.Return) else None
            if at is not None:
                value = value.elts[at] if isinstance(value, ast.Tuple) and len(value.elts) > at else None
            if value is not None:
                found += reader.patterns(value, made, depth + 1) or []
        return list(dict.fromkeys(found)) or None


def _place_in(node: ast.Assign, name: str) -> int | None:
    """The place of a name in the tuple that a value is assigned to."""
    (target, *_) = node.targets
    names = [one.id if isinstance(one, ast.Name) else None for one in getattr(target, "elts", ())]
    return names.index(name) if name in names else None


def _ways(pieces: Sequence[list[str]]) -> int:
    ways = 1
    for piece in pieces:
        ways *= len(piece)
    return ways


def _sentences_of(call: ast.Call) -> Iterator[ast.AST]:
    called = ast.unparse(call.func)
    last = called.split(".")[-1]
    at = AT.get(called, AT.get(last, 1 if last == "RefusalError" else 0 if last.endswith("Error") else None))
    if at is None or len(call.args) <= at or last in OURS:
        return
    text = call.args[at]
    yield from text.elts if isinstance(text, ast.List) else [text]
