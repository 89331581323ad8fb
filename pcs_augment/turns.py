"""The order of work on a batch: on a CPU one image goes through consecutive steps while it is in the cache.

A method of a step is marked ``in_turn`` if it looks at pixels and changes them only through operators of this library. Where
numba does the work, what it asks for waits, image by image, until something else is to see pixels: a method without the mark,
an operator that numba has no kernel for, or the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
Task = Callable[[], Any]

_now = threading.local()  # whose method runs in this thread


def in_turn(method: F) -> F:
    """Mark a method whose work on one image may be done before or after that on others. One that replaces it has no mark."""
    method.in_turn = True  # type: ignore[attr-defined]
    return method


class Turns:
    """The tasks of each image of a batch that wait.

    run_all: runs a function for every entry of a list, shared out over threads; None: nothing waits.
    """

    def __init__(self, images: int, run_all: Callable[[Callable[[Any], None], Sequence[Any]], None] | None) -> None:
        self.run_all = run_all
        self.tasks: list[list[Task]] = [[] for _ in range(images)]
        self.after: list[Task] = []

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method of a step, after what waits unless it is marked."""
        if self.run_all is None or not getattr(method, "in_turn", False):
            self.settle()
            return method(*args)
        before, _now.turns = waiting(), self
        try:
            return method(*args)
        finally:
            _now.turns = before

    def settle(self) -> None:
        """Do what waits."""
        lists, after = [tasks for tasks in self.tasks if tasks], self.after
        if lists and self.run_all is not None:
            self.tasks, self.after = [[] for _ in self.tasks], []
            self.run_all(_each, lists)
            for task in after:
                task()


def _each(tasks: list[Task]) -> None:
    for task in tasks:
        task()


def waiting() -> Turns | None:
    """Where a marked method puts its work, None where it is to be done at once."""
    return getattr(_now, "turns", None)


def settle() -> None:
    """Do what waits before something looks at pixels."""
    turns = waiting()
    if turns is not None:
        turns.settle()


def afterwards(task: Task) -> None:
    """Do a task once all images have had their turn; at once where none waits."""
    turns = waiting()
    if turns is None or not any(turns.tasks):
        task()
    else:
        turns.after.append(task)
