"""Mixed precision on CPUs: the network's convolutions in bfloat16, in the memory layout in which they are fastest.

But for depthwise ones: no instruction multiplies their matrices, and torch goes back through them in float32 in a quarter of
the time that bfloat16 takes."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from .. import openmmlab  # noqa: F401  # isort: skip  # first: it makes mmrotate importable

from mmengine.hooks import Hook
from mmrotate.registry import HOOKS

PARTS = ("backbone", "neck", "bbox_head")


@HOOKS.register_module()
class Bfloat16Hook(Hook):
    """Train the network's convolutions in bfloat16 with channels last.

    Noise, losses, assignment, weights and validation stay in float32. On a CPU with instructions for bfloat16 (AVX512_BF16,
    AMX) a training step takes about half the time; on others it is slower.
    """

    priority = "VERY_HIGH"  # before the hook that copies the model for its moving average

    def before_run(self, runner: Any) -> None:
        model = getattr(runner.model, "module", runner.model)
        model.to(memory_format=torch.channels_last)
        for name in PARTS:
            part = getattr(model, name, None)
            if isinstance(part, nn.Module):
                # methods, so that a copy of the model runs its own weights
                part.forward = MethodType(_forward, part)
                for module in part.modules():
                    if _is_depthwise(module):
                        module.forward = MethodType(_depthwise, module)


def _forward(self: nn.Module, *inputs: Any, **options: Any) -> Any:
    plain = type(self).forward
    if not self.training:
        return plain(self, *inputs, **options)
    with torch.autocast("cpu", torch.bfloat16):
        return _changed(plain(self, *_changed(inputs, _channels_last), **options), Tensor.float)


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _depthwise(self: nn.Conv2d, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return type(self).forward(self, x.float())


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_changed(v, change) for v in value)
    return value
