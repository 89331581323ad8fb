"""Pretrained weights: named by URL, taken from a local file where there is one.

Importing this module puts ``find`` in the place of mmengine's loader of URLs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import torch
from tqdm import tqdm

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.runner.checkpoint import CheckpointLoader

from ...errors import InputError
from ...models import shipped
from .checkpoints import check_numbers, read_checkpoint
from .settings import settings_of, tested_otherwise

FOLDER_VARIABLE = "PCS_DETECT_WEIGHTS"
URL = ("http://", "https://", "file://")


def resolve(cfg: MutableMapping[str, Any], folder: str | Path | None = None) -> None:
    """Put a local, readable file in the place of every URL of pretrained weights in a configuration, in place.

    That is ``load_from`` and every ``init_cfg`` of type Pretrained. folder: looked into first (``find``). Raises InputError,
    DataError.
    """
    for holder, key in _mentions(cfg):
        path = find(str(holder[key]), folder)
        read_checkpoint(path)  # now, not after minutes of reading labels
        holder[key] = str(path)


def start_from(cfg: Any, start: str | Path, random_init: bool = False) -> None:
    """Let a configuration start from the weights of a checkpoint, in place of any that are pretrained otherwise.

    start: path, or "shipped" for the weights of the detector that comes with the package. How that looks at photographs is
    taken over where the configuration does not say it. Raises InputError where the weights are of another configuration.
    """
    if random_init:
        raise InputError("give either weights to start from (--start) or random ones (--random-init)")
    path = shipped(".pth") if str(start) == "shipped" else Path(start).expanduser()
    content = read_checkpoint(path)
    meta: Any = content.get("meta") if isinstance(content, Mapping) else None
    settings: Any = meta.get("settings") if isinstance(meta, Mapping) else None
    if not isinstance(settings, Mapping) or not isinstance(settings.get("model"), Mapping):
        raise InputError(f"{path} does not say which model it belongs to; take a checkpoint of pcs-detect train")
    check_numbers(content.get("state_dict") or {}, str(path))
    changed = tested_otherwise(settings, {"model": settings_of(cfg.model)})
    if changed:
        raise InputError(
            f"{path} is of another configuration, {meta.get('config')}: {'; '.join(changed[:3])}. Train that configuration, "
            "with the same --cfg-options"
        )
    _without_pretrained(cfg)
    cfg.load_from = str(path)
    if settings.get("look") and not cfg.get("look"):
        cfg.look = dict(settings["look"])


def random_initialisation(cfg: MutableMapping[str, Any]) -> None:
    """Take the pretrained weights out of a configuration, in place, and let all of it learn.

    Stages are unfrozen and batch norms gather their own statistics: frozen random weights would never become any good.
    """
    for part in _without_pretrained(cfg):
        if "backbone" not in part:  # weights of a whole detector freeze nothing
            part["frozen_stages"], part["norm_eval"] = -1, False


def _without_pretrained(cfg: MutableMapping[str, Any]) -> list[Any]:
    """Take every mention of pretrained weights out of a configuration; returns the parts that had one."""
    for holder, key in list(_mentions(cfg)):
        if key == "load_from":
            holder[key] = None
    parts = []
    for part in list(_dicts(getattr(cfg, "_cfg_dict", cfg))):
        given = part.get("init_cfg")
        if any(_is_pretrained(i) for i in (given if isinstance(given, list | tuple) else [given])):
            del part["init_cfg"]  # absent, not None: the backbone's own default
            parts.append(part)
    return parts


def find(source: str, folder: str | Path | None = None) -> Path:
    """The local file for a URL or path.

    Looked for by the URL's file name in ``folder``, in the folder that the environment variable PCS_DETECT_WEIGHTS names and in
    torch.hub's cache; downloaded to that cache if it is nowhere. Raises InputError with the ways out where that fails too.
    """
    folders = [Path(f).expanduser() for f in (folder, os.environ.get(FOLDER_VARIABLE)) if f]
    for f in folders:
        if not f.is_dir():
            raise InputError(f"the folder of pretrained weights {str(f)!r} does not exist; create it or name another")
    if not source.startswith(URL):
        path = Path(source).expanduser()
        if "://" in source or not path.is_file():
            raise InputError(f"the weights {source!r} are neither a file nor a URL ({', '.join(URL)}...)")
        return path
    name = Path(unquote(urlparse(source).path)).name
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    for f in (*folders, cache):
        if (f / name).is_file():
            return f / name
    try:
        return _download(source, cache / name)
    except OSError as e:  # urllib's errors are among them
        searched = ", ".join(str(f) for f in (*folders, cache))
        raise InputError(
            f"the pretrained weights {name} are in none of {searched}, and {source} cannot be fetched ({e}). Either download "
            f"that file on another machine and name its folder (--weights FOLDER or {FOLDER_VARIABLE}=FOLDER), or train "
            "without it (--random-init), or try again with a network."
        ) from e


def _download(url: str, target: Path) -> Path:
    """Fetch a file, once for all processes of this machine, and check it against the hash in its name if it has one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    expected = re.search(r"-([0-9a-f]{8,})\.[^.]*$", target.name)
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_file():
            return target
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as out, urllib.request.urlopen(url, timeout=30) as source:
                length = source.headers.get("Content-Length")
                with tqdm(
                    total=int(length) if length else None, unit="B", unit_scale=True, desc=target.name, disable=None
                ) as bar:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        out.write(block)
                        bar.update(len(block))
            if expected and not digest.hexdigest().startswith(expected[1]):
                raise OSError(f"it arrived damaged: its SHA-256 does not begin with {expected[1]}")
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    return target


def _dicts(node: Any) -> Iterator[MutableMapping[str, Any]]:
    """Every dict of a configuration."""
    if isinstance(node, MutableMapping):
        yield node
    for child in node.values() if isinstance(node, MutableMapping) else node if isinstance(node, list | tuple) else ():
        yield from _dicts(child)


def _is_pretrained(node: Any) -> bool:
    return isinstance(node, MutableMapping) and node.get("type") == "Pretrained"


def _mentions(cfg: MutableMapping[str, Any]) -> Iterator[tuple[MutableMapping[str, Any], str]]:
    """Where a configuration names weights: (dict, key)."""
    root = getattr(cfg, "_cfg_dict", cfg)  # mmengine's Config is no mapping itself
    if root.get("load_from"):
        yield root, "load_from"
    for part in _dicts(root):
        if _is_pretrained(part) and part.get("checkpoint"):
            yield part, "checkpoint"


@CheckpointLoader.register_scheme(prefixes=URL, force=True)
def load_from_source(filename: str, map_location: Any = None) -> Any:
    """What mmengine calls for a checkpoint's URL."""
    return read_checkpoint(find(filename), map_location)
