"""What every public name must say of itself: its arguments, and an example, which runs."""

import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# a class says in its own docstring what it takes
OWN = ("__init__", "__new__")


def found(name: str) -> Any:
    """The object of a dotted name; the longest part that is a module is imported."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            value = getattr(value, part)
        return value
    raise ModuleNotFoundError(name)


def public(page: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, Any]:
    """The functions and classes that a page of the API shows, by name; of a module, those in its ``__all__``."""
    out = {}
    for name in filter(wanted, re.findall(r"^::: ([\w.]+)", page.read_text(encoding="utf-8"), re.M)):
        value = found(name)
        if isinstance(value, ModuleType) and hasattr(value, "__all__"):
            out |= {f"{name}.{n}": getattr(value, n) for n in value.__all__}
        else:
            out[name] = value
    return {name: value for name, value in out.items() if inspect.isclass(value) or inspect.isroutine(value)}


def methods(value: Any) -> Iterator[tuple[str, Any]]:
    """The public methods of a class that do not only override what a base of it documents."""
    for name, member in vars(value).items() if inspect.isclass(value) else ():
        function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        inherited = any(name in vars(base) for base in value.__mro__[1:])
        field = name in getattr(value, "__dataclass_fields__", {})  # whose default is a function
        if inspect.isfunction(function) and not field and not name.startswith("_") and (function.__doc__ or not inherited):
            yield name, function


def arguments(value: Any) -> list[str]:
    """The names of what a function, or the making of an object, takes."""
    if inspect.isclass(value) and issubclass(value, BaseException | dict):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(value).parameters.values()
    return [p.name for p in found if p.name != "self" and p.kind not in kinds and not p.name.startswith("_")]


def missing(value: Any) -> list[str]:
    """What the docstrings of a public name lack."""
    text = inspect.getdoc(value) or ""
    listed = re.findall(r"^    (\w+(?:, \w+)*)(?: \([^)]*\))?:", text, re.M)
    entries = {name for names in listed for name in names.split(", ")}
    out = [f"an entry for {name}" for name in arguments(value) if name not in entries]
    if arguments(value) and not re.search(r"^(Args|Attributes):$", text, re.M):
        out.append("Args:")
    if not re.search(r"^Examples:\n    >>> ", text, re.M):  # so called, the site shows them as code
        out.append("Examples:")
    for name, function in methods(value):
        said = inspect.getdoc(function) or ""
        out += [f"{name}(): {a}" for a in arguments(function) if not re.search(rf"\b{a}\b", said)]
        if not said:
            out.append(f"{name}(): a docstring")
    return out


def run(name: str, value: Any, names: dict[str, Any]) -> tuple[int, str]:
    """How many examples of a name and of its methods ran, and a report of those that failed."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(value, name, module=False, globs=dict(names)):
        runner.run(test, out=report.append)
    return runner.tries, "".join(report)


def prepared(package: ModuleType) -> dict[str, Any]:
    """The names that the examples of a package start from: those that the example of its own docstring makes."""
    (test,) = doctest.DocTestFinder(recurse=False).find(package, package.__name__, globs={})
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=report.append, clear_globs=False)
    assert not report, "".join(report)
    return test.globs
