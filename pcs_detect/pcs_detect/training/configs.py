"""The detectors that come with the package, one file each, and how a file becomes a configuration."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, PcsDetectError

if TYPE_CHECKING:
    from mmengine.config import Config


def configs_folder() -> Path:
    """Where the configurations are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def available() -> list[tuple[str, str]]:
    """(name, first line of the docstring) of every configuration, by name."""
    found = []
    for path in sorted(configs_folder().glob("*.py")):
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found.append((path.stem, words.partition("\n")[0]))
    return found


def find(name_or_path: str | Path) -> Path:
    """The file of a configuration given by name or path. Raises InputError."""
    given = Path(name_or_path)
    known = configs_folder() / f"{given.name}.py"
    if given.is_file():
        return given
    if given.name == str(name_or_path) and known.is_file():
        return known
    names = [name for name, _ in available()]
    raise InputError(
        f"there is no configuration {str(name_or_path)!r}{_nearest(given.stem, names)}; give the path of a file or one of "
        + ", ".join(names)
    )


def load(name_or_path: str | Path, options: Mapping[str, Any] | None = None) -> Config:
    """Read a configuration and change what ``options`` say: ``{"model.data_preprocessor.augment": None, ...}``.

    Numbers in an option's name count the entries of a list. Raises InputError where there is no such configuration, it is
    faulty, or an option names a place that it does not have.
    """
    from . import openmmlab  # noqa: F401  # here: listing the configurations must work without it

    from mmengine.config import Config  # isort: skip

    path = find(name_or_path)
    try:
        cfg = Config.fromfile(path)
    except PcsDetectError:
        raise
    except Exception as e:  # a configuration is a program: anything can go wrong in it
        raise InputError(f"{path} is no valid configuration: {type(e).__name__}: {e}") from e
    for option, value in (options or {}).items():
        _check_place(cfg, option, path)
        try:
            cfg.merge_from_dict({option: value})
        except (TypeError, KeyError, ValueError, IndexError) as e:
            raise InputError(f"option {option}={value!r} does not fit {path.stem}: {e}") from e
    return cfg


def _check_place(cfg: Config, option: str, path: Path) -> None:
    """All but the last part of an option's name must exist; a misspelt one would else be added and ignored."""
    *parents, last = option.split(".")
    place: Any = cfg._cfg_dict
    for depth, part in enumerate([*parents, last]):
        if isinstance(place, list):
            if not (part.isdigit() and int(part) < len(place)):
                raise InputError(f"option {option}: {part!r} must be a number from 0 to {len(place) - 1} ({path.stem})")
            place = place[int(part)]
        elif isinstance(place, Mapping):
            # the last part may be new, but not where it looks like a slip: "max_epoch" beside "max_epochs"
            slip = bool(difflib.get_close_matches(part, [str(k) for k in place], 1, 0.85))
            if part not in place and (depth < len(parents) or slip):
                raise InputError(f"option {option}: {path.stem} has no {part!r} there{_nearest(part, list(place))}")
            place = place.get(part)
        else:
            raise InputError(f"option {option}: {path.stem} has {place!r} there, which has no {part!r}")


def _nearest(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""
