"""Runs inside Blender and renders the scenes that its parent process asks for; the only file that touches bpy.

It is a script: ``python -P _worker.py FD FOLDER`` under a Python with bpy, or ``blender -b --python _worker.py -- FD FOLDER``.
Each line on standard input is the path of a job, a JSON file; answers go as JSON lines to the file descriptor FD. Standard
input closes when the parent is gone: then the process removes FOLDER, the parent's, and ends, in the middle of a picture too.
"""

import json
import math
import os
import queue
import resource
import shutil
import sys
import threading
import time

BEAT = 1.0  # seconds between signs of life while a picture is rendered
SENSOR = 36.0  # mm, Blender's default: with the field of view it makes the focal length, and with the f-stop the aperture
BLEED = 1.02  # part by which the floor exceeds the view: without it, blur draws a dark frame around the picture
DEVICES = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")  # best first
GUIDES = {"rgb": "RGB", "albedo": "RGB_ALBEDO", "albedo+normal": "RGB_ALBEDO_NORMAL"}


class UnusableError(Exception):
    """No scene at all can be rendered as asked."""


def main(descriptor, folder):
    """Answer jobs until standard input closes."""
    lock = threading.Lock()

    def answer(kind, **content):
        line = json.dumps({"kind": kind, **content}) + "\n"
        with lock:
            os.write(descriptor, line.encode())  # short enough to be written whole

    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen():
        with open(0, encoding="utf-8", closefd=False) as lines:
            for line in lines:
                jobs.put(line.rstrip("\n"))
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    try:
        import bpy  # type: ignore[import-not-found,unused-ignore]
    except ImportError as e:
        answer("unusable", reason=f"{type(e).__name__}: {e}", python=sys.executable)
        return
    busy = threading.Event()

    def beat():  # Blender lets go of Python's lock while it renders
        while busy.wait():
            answer("beat")
            time.sleep(BEAT)

    threading.Thread(target=beat, daemon=True).start()
    answer("ready", version=bpy.app.version_string, pid=os.getpid())
    while True:
        path = jobs.get()
        busy.set()
        try:
            started, worked = time.monotonic(), time.process_time()
            with open(path, encoding="utf-8") as file:
                job = json.load(file)
            device = render(bpy, job)
            spent = {"seconds": time.monotonic() - started, "processor": time.process_time() - worked}
            content = {**spent, "device": device, "peak": _peak()}
            kind = "done"
        except UnusableError as e:
            kind, content = "unusable", {"reason": str(e)}
        except Exception as e:
            kind, content = "failed", {"reason": f"{type(e).__name__}: {e}"[:2000]}
        finally:
            busy.clear()
        answer(kind, **content)


def _peak():
    """Largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def render(bpy, job):
    """Write the job's picture; returns the device that rendered it."""
    description, profile = job["scene"], job["profile"]
    _empty(bpy)
    scene = bpy.context.scene
    _camera(bpy, scene, description["camera"])
    glass = description["material"] == "glass"
    _surroundings(bpy, scene, profile["background"] if glass else 0.0)
    if glass and description.get("condenser"):
        _ground(bpy, scene, description["camera"], description["condenser"])
    elif glass:
        _floor(bpy, scene, description["camera"])
        for lamp in description["lamps"]:
            _lamp(bpy, scene, lamp)
    for number, (crystal, shape) in enumerate(zip(description["crystals"], job["crystals"], strict=True)):
        mesh = _mesh(bpy, f"crystal {number}", shape, description["smooth"])
        mesh.materials.append(_glass(bpy, crystal) if glass else _glowing(bpy, crystal))
        _place(bpy, scene, mesh)
    spheres = description.get("spheres", ()) if glass else ()
    for number, (sphere, shape) in enumerate(zip(spheres, job["spheres"])):
        mesh = _mesh(bpy, f"sphere {number}", shape, True)
        mesh.materials.append(_glass(bpy, {"tint": 1.0, **sphere}))
        _place(bpy, scene, mesh, sphere["location"])
    device = _device(bpy, scene, job["device"])
    _output(scene, description["camera"], job["output"], job["threads"])
    try:
        _colours(scene, profile)
        _sampling(scene.cycles, profile, description["image"])
    except (TypeError, ValueError) as e:
        raise UnusableError(f"Blender refuses the profile {profile['name']!r}: {e}") from e
    bpy.ops.render.render(write_still=True)
    return device


def _empty(bpy):
    data = bpy.data
    for things in (data.objects, data.meshes, data.lights, data.cameras, data.materials, data.worlds, data.images):
        data.batch_remove([thing for thing in things if thing.name != "Render Result"])


def _place(bpy, scene, data, location=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0)):
    thing = bpy.data.objects.new(data.name, data)
    thing.location, thing.rotation_euler = location, rotation
    scene.collection.objects.link(thing)
    return thing


def _camera(bpy, scene, camera):
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width = "AUTO", SENSOR
    data.angle = camera["field_of_view"]
    data.clip_start, data.clip_end = 0.001 * camera["distance"], 10 * (camera["distance"] + camera["depth"])
    data.dof.use_dof = camera["f_stop"] > 0
    if data.dof.use_dof:
        data.dof.aperture_fstop, data.dof.focus_distance = camera["f_stop"], camera["focus_distance"]
    scene.camera = _place(bpy, scene, data, (0.0, 0.0, camera["distance"]))


def _surroundings(bpy, scene, grey):
    world = bpy.data.worlds.new("surroundings")
    world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (grey, grey, grey, 1.0)
    background.inputs["Strength"].default_value = 1.0
    scene.world = world


def _floor(bpy, scene, camera):
    """A square that fills the view, of Blender's default material (matt, 80 % grey)."""
    away, sharp = camera["distance"] + camera["depth"], camera["focus_distance"]
    view = math.tan(camera["field_of_view"] / 2) * away
    lens = SENSOR / 2000 / math.tan(camera["field_of_view"] / 2) / camera["f_stop"] if camera["f_stop"] else 0.0
    half = max(BLEED * view, view + lens / 2 * abs(away - sharp) / sharp)
    mesh = bpy.data.meshes.new("floor")
    mesh.from_pydata([(-half, -half, 0), (half, -half, 0), (half, half, 0), (-half, half, 0)], [], [(0, 1, 2, 3)])
    _place(bpy, scene, mesh, (0.0, 0.0, -camera["depth"]))
    return mesh


def _ground(bpy, scene, camera, condenser):
    """The floor as the end of a condenser: it glows into a cone around the way to the camera, brighter on one side.

    A ray that crystals turn out of the cone finds darkness, one turned to the brighter side more light: faces that let light
    through straight stay as bright as the bare ground, edges stand in relief, and nothing throws a shadow.
    """
    mesh = _floor(bpy, scene, camera)
    material, shader = _material(bpy, "condenser", "ShaderNodeEmission")
    tree = material.node_tree
    mesh.materials.append(material)

    def node(kind, operation, *inputs):
        made = tree.nodes.new(kind)
        made.operation = operation
        for socket, value in zip(made.inputs, inputs):
            if hasattr(value, "is_output"):
                tree.links.new(value, socket)
            else:
                socket.default_value = value
        return made.outputs

    def vector(operation, *inputs):
        return node("ShaderNodeVectorMath", operation, *inputs)

    def number(operation, *inputs):
        return node("ShaderNodeMath", operation, *inputs)[0]

    geometry = tree.nodes.new("ShaderNodeNewGeometry").outputs
    straight = vector("NORMALIZE", vector("SUBTRACT", (0.0, 0.0, camera["distance"]), geometry["Position"])["Vector"])["Vector"]
    off = vector("SUBTRACT", geometry["Incoming"], straight)["Vector"]
    reach = 2 * math.sin(math.radians(condenser["angle"]) / 2)
    turned = 2 * math.pi * condenser["direction"]
    side = vector("DOT_PRODUCT", off, (math.cos(turned) / reach, math.sin(turned) / reach, 0.0))["Value"]
    inside = number("SUBTRACT", 1.25, number("DIVIDE", vector("LENGTH", off)["Value"], reach))
    cone = number("SMOOTH_MIN", number("MAXIMUM", number("MULTIPLY", inside, 2.0), 0.0), 1.0, 0.1)
    slope = number("MAXIMUM", number("MULTIPLY_ADD", side, condenser["relief"], 1.0), 0.05)
    light = number("MULTIPLY_ADD", number("MULTIPLY", cone, slope), condenser["brightness"], 0.02 * condenser["brightness"])
    tree.links.new(light, shader.inputs["Strength"])
    shader.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)


def _lamp(bpy, scene, lamp):
    """An area lamp is a square whose side is its radius: what Blender makes of a radius when it adds one."""
    kind, radius, power = lamp["kind"], lamp["radius"], lamp["power"]
    data = bpy.data.lights.new("lamp", kind)
    data.color = (1.0, 1.0, 1.0)
    data.energy = power
    if kind == "AREA":
        data.shape, data.size = "SQUARE", radius
    elif kind == "SUN":  # has no place: as bright and as wide at the origin as an area lamp of this power at its place
        distance = math.hypot(*lamp["location"])
        data.energy, data.angle = power / (math.pi * distance**2), 2 * math.atan(radius / 2 / distance)
    else:
        data.shadow_soft_size = radius
    _place(bpy, scene, data, lamp["location"], lamp["rotation"])


def _material(bpy, name, kind):
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    shader, surface = nodes.new(kind), nodes.new("ShaderNodeOutputMaterial")
    material.node_tree.links.new(shader.outputs[0], surface.inputs["Surface"])
    return material, shader


def _glass(bpy, crystal):
    material, shader = _material(bpy, "glass", "ShaderNodeBsdfGlass")
    tint = crystal["tint"]
    shader.distribution = "BECKMANN"
    shader.inputs["Color"].default_value = (tint, tint, tint, 1.0)
    shader.inputs["Roughness"].default_value = 0.0
    shader.inputs["IOR"].default_value = crystal["refractive_index"]
    return material


def _glowing(bpy, crystal):
    material, shader = _material(bpy, "glowing", "ShaderNodeEmission")
    tint = crystal["tint"]
    shader.inputs["Color"].default_value = (tint, tint, tint, 1.0)
    shader.inputs["Strength"].default_value = 1.0
    return material


def _mesh(bpy, name, shape, smooth):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(shape["vertices"], [], shape["faces"])
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(shape["faces"]))
    mesh.update()
    return mesh


def _device(bpy, scene, wanted):
    scene.cycles.device = "CPU"
    if wanted == "CPU":
        return "CPU"
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in DEVICES if wanted == "GPU" else (wanted,):
        try:
            preferences.compute_device_type = kind
        except TypeError:  # this build of Blender knows no such kind
            continue
        preferences.refresh_devices()
        found = [device for device in preferences.devices if device.type == kind]
        if found:
            for device in preferences.devices:
                device.use = device.type == kind
            scene.cycles.device = "GPU"
            return f"{kind}: {', '.join(device.name for device in found)}"
    raise UnusableError(f"Blender finds no {wanted} device on this machine; check its driver, or render on the CPU")


def _output(scene, camera, path, threads):
    render = scene.render
    render.engine = "CYCLES"
    render.threads_mode, render.threads = "FIXED", threads
    render.filepath, render.use_file_extension, render.use_overwrite = path, False, True
    render.resolution_x, render.resolution_y, render.resolution_percentage = camera["width"], camera["height"], 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.use_border = render.use_multiview = render.use_motion_blur = render.film_transparent = False
    render.use_persistent_data = render.use_simplify = render.use_freestyle = False
    render.use_compositing = render.use_sequencer = render.use_stamp = False
    render.dither_intensity = 0.0
    image = render.image_settings
    image.file_format, image.color_mode, image.color_depth, image.compression = "PNG", "BW", "8", 90
    image.color_management = "FOLLOW_SCENE"


def _colours(scene, profile):
    scene.display_settings.display_device = "sRGB"
    view = scene.view_settings
    view.view_transform, view.look = profile["view_transform"], profile["look"]
    view.exposure, view.gamma = profile["exposure"], profile["gamma"]
    view.use_curve_mapping = view.use_white_balance = False


def _sampling(cycles, profile, image):
    p = profile
    cycles.seed = (p["seed"] + image) % 2**31
    cycles.use_animated_seed = False
    cycles.samples, cycles.time_limit, cycles.use_sample_subset = p["samples"], 0.0, False
    cycles.use_adaptive_sampling = p["adaptive_threshold"] > 0
    if cycles.use_adaptive_sampling:
        cycles.adaptive_threshold, cycles.adaptive_min_samples = p["adaptive_threshold"], p["adaptive_min_samples"]
    cycles.sampling_pattern, cycles.scrambling_distance, cycles.auto_scrambling_distance = p["pattern"], 1.0, False
    cycles.use_denoising = p["denoiser"] != "none"
    if cycles.use_denoising:
        cycles.denoiser, cycles.denoising_use_gpu = "OPENIMAGEDENOISE", False
        cycles.denoising_input_passes = GUIDES[p["denoiser"]]
        cycles.denoising_prefilter, cycles.denoising_quality = p["prefilter"], p["denoise_quality"]
    cycles.max_bounces, cycles.volume_bounces = p["bounces"], 0
    cycles.diffuse_bounces, cycles.glossy_bounces = p["diffuse_bounces"], p["glossy_bounces"]
    cycles.transmission_bounces, cycles.transparent_max_bounces = p["transmission_bounces"], p["transparent_bounces"]
    cycles.min_light_bounces, cycles.min_transparent_bounces = 0, 0
    cycles.caustics_reflective, cycles.caustics_refractive = p["caustics_reflective"], p["caustics_refractive"]
    cycles.blur_glossy = p["filter_glossy"]
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = p["clamp_direct"], p["clamp_indirect"]
    cycles.use_light_tree, cycles.light_sampling_threshold = p["light_tree"], p["light_threshold"]
    cycles.direct_light_sampling_type = "MULTIPLE_IMPORTANCE_SAMPLING"
    cycles.use_guiding = cycles.use_fast_gi = False
    cycles.film_exposure = 1.0
    cycles.pixel_filter_type, cycles.filter_width = p["pixel_filter"], p["filter_width"]


if __name__ == "__main__":
    main(int(sys.argv[-2]), sys.argv[-1])
