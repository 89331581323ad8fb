"""The settings file released with the published generator, under this project's names."""

from __future__ import annotations

from typing import Any

from .errors import InputError

# the published generator's settings: one value each, a pair of values, or no part in the pictures
_SAME = {
    "res_x": "width",
    "res_y": "height",
    "number_crystals": "max_crystals",
    "field_of_view": "field_of_view",
    "camera_distance": "camera_distance",
    "crystal_edge_max": "long_side",
    "smooth_shading_distributor": "smooth",
    "light_type": "lamp",
    "use_bottom_light": "bottom_lamp",
    "number_variants": "models_per_image",
}
_PAIRS = {
    ("crystal_area_min", "crystal_area_max"): "area",
    ("total_crystal_area_min", "total_crystal_area_max"): "covered",
    ("crystal_material_min_ior", "crystal_material_max_ior"): "refractive_index",
    ("crystal_material_min_brightness", "crystal_material_max_brightness"): "tint",
    ("light_angle_min", "light_angle_max"): "lamp_angle",
}
_ELSEWHERE = {  # given on the command line here, or never used by the published default
    "number_threads": "--threads",
    "output_path": "--out",
    "number_images": "--count",
    "n_frames": "no part in a still image",
    "crystal_edge_min": "never applied by the published code",
    **dict.fromkeys(
        (
            "scaling_crystals_average",
            "scaling_crystals_std_dev",
            "rotation_crystals_average",
            "rotation_crystals_std_dev",
        ),
        "used by the published RANDOM distributor only",
    ),
}


def translated(values: dict[str, Any], defaults: Any) -> dict[str, Any]:
    """The released settings file under this project's names, with the published poses.

    Args:
        values: Names and values as in that file.
        defaults: Has this project's defaults as attributes, for ranges of which the file has one end.

    Raises:
        InputError: For a name that the file does not have, or what only other parts of the published generator do.
    """
    known = {*_SAME, *(k for pair in _PAIRS for k in pair), *_ELSEWHERE}
    known |= {
        "cw_depth",
        "crystal_aspect_ratio_max",
        "distributor",
        "crystal_material_name",
        "crystal_object",
        "crystal_import_path",
        "number_crystals_std_dev",
    }
    for name in values:
        if name not in known:
            raise InputError(f"there is no published setting {name!r}")
    if values.get("distributor", "DEFAULT") != "DEFAULT":
        raise InputError(
            f"distributor is {values['distributor']!r}; only DEFAULT follows the statistical model, and it is the only one here"
        )
    if values.get("number_crystals_std_dev", 0):
        raise InputError("number_crystals_std_dev is not 0; a fixed largest number of crystals per image is supported")
    out = {ours: values[theirs] for theirs, ours in _SAME.items() if theirs in values}
    for (low, high), ours in _PAIRS.items():
        if low in values or high in values:
            default = getattr(defaults, ours)
            out[ours] = [values.get(low, default[0]), values.get(high, default[1])]
    if "cw_depth" in values:
        out["depth"] = -values["cw_depth"]
    if "crystal_aspect_ratio_max" in values:
        out["aspect_ratio"] = [1.0, values["crystal_aspect_ratio_max"]]
    if values.get("crystal_material_name", "GLASS") != "GLASS":
        out["material"] = "opaque"
    if values.get("crystal_object") == "CUBE":
        out["shapes"] = "cube"
    elif values.get("crystal_import_path"):
        out["shapes"] = values["crystal_import_path"]
    out["roll"], out["tilt"] = [0, 180], [0, 180]
    return out
