"""What to say where a package is missing. The packages come from a checkout, not from an index: commands are for its folder."""

from __future__ import annotations

# module: the extras of pyproject.toml that bring it, the smallest first
EXTRAS = {
    "PIL": ("data", "cli", "render"),
    "tqdm": ("cli", "render"),
    "matplotlib": ("cli", "render"),
    "cv2": ("reference",),
    "scipy": ("reference", "render"),
    "noise": ("noise",),
    "numba": ("cpu",),
    "pyarrow": ("render",),
    "yaml": ("render",),
    "jinja2": ("render",),
    "bpy": ("blender",),
    "ray": ("cluster",),
}


def install(extra: str) -> str:
    """Where to run which command to install pcs-augment and pcs-render with an extra."""
    return f'in the folder of the checkout run: pip install ".[{extra}]"'


def missing(module: str, purpose: str = "", *, command: str = "") -> str:
    """Say that a module is missing and how to install it.

    Args:
        module: As it is imported; ``ModuleNotFoundError.name``.
        purpose: What needs it ("reading images").
        command: The extra of the command that met this. It is the one to install where it brings the module, and for modules
            that no extra names: those that others need, and those that come without any extra.
    """
    top = module.partition(".")[0]
    bringing = EXTRAS.get(top, (command,))
    needed = f"{purpose} needs {top}, which" if purpose else top
    return f"{needed} is not installed; {install(command if command in bringing else bringing[0])}"
