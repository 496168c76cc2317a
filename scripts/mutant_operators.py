"""Small breaks of a program: mutants of its functions.

Not mutated are docstrings, annotations, decorators, f-strings, and texts with a space
in them, which are for people. A mutant of the same bytecode as the original is none.
"""

import ast
import dataclasses
import difflib
import itertools
import random
from collections.abc import Iterator

_COMPARED = {
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.In: ast.NotIn,
    ast.Is: ast.IsNot,
}
_COMPARED |= {new: old for old, new in _COMPARED.items()}
_COMPUTED = {ast.Add: ast.Sub, ast.Mult: ast.Div, ast.BitOr: ast.BitAnd}
_COMPUTED |= {new: old for old, new in _COMPUTED.items()}
_COMPUTED |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult}


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A small break in a function."""

    module: str  # path in the tree
    function: str
    operator: str
    line: int
    source: str  # the module's, whole
    span: tuple[int, int]  # bytes of it that are replaced
    text: str  # what stands in their place

    @property
    def broken(self) -> str:
        """The module's source with the break in it."""
        begin, end = self.span
        whole = self.source.encode()
        return (whole[:begin] + self.text.encode() + whole[end:]).decode()

    @property
    def diff(self) -> str:
        """What the break changes, between a line before and one behind."""
        both = (text.splitlines() for text in (self.source, self.broken))
        return "\n".join(list(difflib.unified_diff(*both, lineterm="", n=1))[3:])

    def is_equivalent(self) -> bool:
        """Tells whether the bytecode is the same."""
        both = (compile(s, self.module, "exec") for s in (self.source, self.broken))
        return len({_shape(code) for code in both}) == 1


def mutants_of(source: str, module: str) -> Iterator[Mutant]:
    """Yields all mutants of the functions of a module."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for function, node in _nodes(ast.parse(source)):
        for operator, old, text in _breaks(node):
            begin = starts[old.lineno - 1] + old.col_offset
            end = starts[old.end_lineno - 1] + old.end_col_offset
            span = (begin, end)
            yield Mutant(module, function, operator, old.lineno, source, span, text)


def drawn(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Draws mutants that are not equivalent, ordered by where they are."""
    order = random.Random(seed).sample(mutants, len(mutants))
    real = (mutant for mutant in order if not mutant.is_equivalent())
    taken = list(itertools.islice(real, count))
    return sorted(taken, key=lambda m: (m.module, m.span, m.text))


def _nodes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yields what may be broken, and the function that it is in."""

    def below(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
        left_out = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        left_out += getattr(node, "decorator_list", [])
        for child in ast.iter_child_nodes(node):
            docstring = isinstance(child, ast.Expr) and isinstance(
                child.value, ast.Constant
            )
            if docstring or child in left_out or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inner = f"{function}.{child.name}".strip(".")
                yield from below(child, inner)
            elif not isinstance(node, ast.ClassDef | ast.Module):
                yield function, child
                yield from below(child, function)

    yield from below(tree, "")


def _breaks(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    """Yields operator, the node that is replaced, and what stands in its place."""
    match node:
        case ast.Compare(left, ops, comparators):
            for i, op in enumerate(ops):
                if type(op) in _COMPARED:
                    changed = [*ops[:i], _COMPARED[type(op)](), *ops[i + 1 :]]
                    other = ast.Compare(left, changed, comparators)
                    yield "comparison", node, _text(other)
        case ast.BinOp(left, op, right) if type(op) in _COMPUTED:
            other = ast.BinOp(left, _COMPUTED[type(op)](), right)
            yield "arithmetic", node, _text(other)
        case ast.BoolOp(op, values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and, or", node, _text(ast.BoolOp(other, values))
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield "sign", node, _text(operand)
        case ast.Constant(bool(value)):
            yield "constant", node, str(not value)
        case ast.Constant(int(value)):
            yield "constant", node, f"({value + 1})"
            yield "constant", node, f"({value - 1})"
        case ast.Constant(float(value)):
            yield "constant", node, f"({value + 1})"
        case ast.Constant(str(value)) if " " not in value:
            yield "string", node, repr(f"{value}XX")
        case ast.Return(ast.expr()):
            yield "return", node, "return None"
        case ast.Break():
            yield "loop", node, "continue"
        case ast.Continue():
            yield "loop", node, "break"
        case ast.Call(function, [first, second, *rest], keywords):
            if ast.dump(first) != ast.dump(second):
                other = ast.Call(function, [second, first, *rest], keywords)
                yield "arguments", node, _text(other)
        case ast.Expr(ast.Call()) | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield "statement", node, "pass"
        case ast.Assign([ast.Attribute() | ast.Subscript(), *_]):
            yield "statement", node, "pass"
    match node:
        case ast.If(test) | ast.While(test) | ast.IfExp(test) | ast.Assert(test):
            yield "condition", test, f"(not {_text(test)})"
        case ast.comprehension(ifs=[test, *_]):
            yield "condition", test, f"(not {_text(test)})"


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def _shape(code) -> tuple:
    """What of bytecode makes a difference: all but where it stood."""
    inner = [_shape(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, tuple(inner)
