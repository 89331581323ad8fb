"""Speaks the worker's protocol without Blender. Its n-th start behaves as the n-th line of the file that its first argument
names, the last line counting for all later ones; starts are counted in a file beside it."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def picture(width, height, grey):
    rows = b"".join(b"\0" + bytes([grey] * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    when = chunk(b"tEXt", b"Time\0" + str(time.time()).encode())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + when + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main():
    plan, descriptor = Path(sys.argv[1]), int(sys.argv[-2])
    starts = plan.with_suffix(".starts")
    with open(starts, "a") as file:
        file.write(f"{os.getpid()}\n")
    lines = plan.read_text().splitlines()
    mood = lines[min(len(starts.read_text().splitlines()), len(lines)) - 1]

    def say(kind, **content):
        os.write(descriptor, (json.dumps({"kind": kind, **content}) + "\n").encode())

    if mood == "exit at start":
        print("this is the end")
        sys.exit(3)
    if mood == "stop at start":
        os.kill(os.getpid(), signal.SIGSTOP)
    if mood.startswith("cannot import"):
        say("unusable", reason=mood.removeprefix("cannot import "), python=sys.executable)
        return
    held = []
    say("ready", version=mood.removeprefix("version ") if mood.startswith("version") else "4.5.99", pid=os.getpid())
    for line in sys.stdin:
        job = json.loads(Path(line.strip()).read_text())
        camera, output = job["scene"]["camera"], Path(job["output"])
        good = picture(camera["width"], camera["height"], job["scene"]["image"] % 256)
        say("beat")
        if mood == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif mood == "exit":
            print("something broke")
            sys.exit(1)
        elif mood == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif mood == "never ready":
            while True:
                say("beat")
                time.sleep(0.2)
        elif mood == "grow":
            while True:
                held.append(bytearray(os.urandom(1 << 20)) * 20)
                say("beat")
                time.sleep(0.02)
        elif mood == "child":
            subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
            time.sleep(1000)
        elif mood == "nonsense":
            os.write(descriptor, b"\xff\xfe nothing of sense\n")
        elif mood == "endless":
            os.write(descriptor, b"x" * (1 << 17))
        elif mood == "list":
            os.write(descriptor, b"[1, 2]\n")
        elif mood == "no picture":
            say("done", seconds=0.1, processor=0.1, device="CPU")
            continue
        elif mood == "broken off":
            output.write_bytes(good[:-20])
            say("done", seconds=0.1, processor=0.1, device="CPU")
            continue
        elif mood == "wrong size":
            output.write_bytes(picture(camera["width"] + 1, camera["height"], 0))
            say("done", seconds=0.1, processor=0.1, device="CPU")
            continue
        elif mood == "error":
            say("failed", reason="RuntimeError: no")
            continue
        elif mood == "no device":
            say("unusable", reason="Blender finds no CUDA device")
            continue
        elif mood == "fat":
            held.append(bytearray(os.urandom(1 << 20)) * 200)
        elif mood == "slow":
            for _ in range(8):
                say("beat")
                time.sleep(0.2)
        output.write_bytes(good)
        say("done", seconds=0.1, processor=0.1, device="CPU", peak=0)


main()
