"""Steps that together reach every kernel on the GPU and every branch in it."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pcs_augment as pa

STEPS = [
    pa.GaussianNoise(),
    pa.ImpulseNoise(white=(0.3, 0.5), black=(0.3, 0.5)),
    pa.Brightness(),
    pa.Contrast(exponent=(-4, 4)),
    pa.Displace(reach=2),
    pa.Blur(kernels=(1, 3, 9, 31)),
    pa.Blur(kernels=(1,)),
    pa.Blur(kernels=(5,), sigma=0.06),  # weights so small that they are zero
    pa.Overlay(),
    pa.Overlay(kernels=(3,), sigma=2.0, band=(0, 90)),
    pa.Rotate90(),
    pa.Flip(),
    pa.Highlight(fill=1, second=0.5),
    pa.Highlight(fill=0, outline=1, width=(1, 9), kernels=(1, 3)),
    pa.Highlight(fill=0.5, outline=1, mirrored=True, sigma=2.0),
    pa.Splines(curves=(1, 2), widths=(0.5, 1.5, 7.0)),
    pa.InterferenceLayer(textures=(1, 3)),
    pa.InterferenceLayer(equalize_layer=False, textures=(1, 2)),
    pa.PerlinLayer(textures=(1, 3)),
    pa.PerlinLayer(equalize_layer=False, textures=(1, 2), scale=(1, 9)),
    pa.PerlinLayer(textures=(1, 1), scale=(400, 400)),
    pa.KeepDetectable(100, dilation=1.0),
    pa.Pipeline(  # steps that are joined
        [
            pa.GaussianNoise(p=0.7),
            pa.ImpulseNoise(p=0.7, white=(0.3, 0.5), black=(0.3, 0.5)),
            pa.Brightness(p=0.7),
            pa.Contrast(p=0.5),
            pa.InterferenceLayer(p=0.5, textures=(1, 2)),
            pa.Contrast(p=0.5),
            pa.PerlinLayer(p=0.5, textures=(1, 2)),
            pa.Brightness(p=0.5),
        ],
        seed=1,
    ),
]


def kernel_modules():
    """The modules of Triton kernels."""
    from pcs_augment.kernels import triton

    modules = [import_module(f"{triton.__name__}.{m.name}") for m in iter_modules(triton.__path__)]
    return [m for m in modules if hasattr(m, "launch") and not m.__name__.endswith(".launch")]


def kernel_names():
    """The kernels that they launch."""
    from pcs_augment.kernels.triton import sums

    names = {name for m in kernel_modules() for name in re.findall(r"launch\((_\w+)", Path(m.__file__).read_text())}
    return names if sums.IN_SHARED_MEMORY else names - {"_layer_counts"}
