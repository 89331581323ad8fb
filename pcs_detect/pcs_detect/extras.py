"""What to say where a package is missing. The package comes from a checkout, not from an index: commands are for its folder."""

from __future__ import annotations

FOLDER = "in the folder of the checkout run:"
# module: the extra of pyproject.toml that brings it, beside those of ``TRAINING``
EXTRAS = {"pyarrow": "parquet", "nd2": "microscopes", "czifile": "microscopes", "liffile": "microscopes"}
# modules that the extra ``train`` brings
TRAINING = {
    "torch",
    "mmengine",
    "mmcv",
    "mmdet",
    "mmrotate",
    "pcs_augment",
    "pcs_render",
    "tensorboard",
    "pycocotools",
    "onnx",
    "onnxscript",
}
# modules that come without any extra
ALWAYS = {
    "numpy",
    "scipy",
    "pandas",
    "matplotlib",
    "jinja2",
    "PIL",
    "tifffile",
    "cv2",
    "onnxruntime",
    "shapely",
    "openpyxl",
    "tqdm",
}
TRAINING_HALF = f'the training half ({FOLDER} pip install "./pcs_detect[train]")'


def install(module: str) -> str:
    """Where to run which command to install what brings a module; one that is not known belongs to the training half."""
    top = module.partition(".")[0]
    if top in ALWAYS:
        return f"{FOLDER} pip install ./pcs_detect"
    if top in EXTRAS:
        return f'{FOLDER} pip install "./pcs_detect[{EXTRAS[top]}]"'
    return f"install {TRAINING_HALF}"
