#!/usr/bin/env python3
"""Memory of `radio-eval ade20k` over a run of ADE20k's shape: 2,000 val images of real sizes, 150 classes.

  python3 scripts/segmentation_memory.py BINARY [FOLDER] [IMAGES] [-- further flags of ade20k]

Makes the data set (64 distinct synthetic images, linked under different names; needs Pillow and numpy), runs the command,
samples the process's resident memory every second and prints it by tenths of the run. Exit code 1 when the second half
needed more than 5 % above the first half.
"""
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, DISTINCT = 150, 64


def sizes(rng):
    """Widths and heights as they come in ADE20k: most 683x512 or 512x683, a few up to 2400x1800."""
    while True:
        kind = rng.random()
        short = 512 if kind < 0.7 else rng.randint(256, 512) if kind < 0.85 else rng.randint(512, 1800)
        long = int(short * rng.choice([1.0, 1.25, 4 / 3, 4 / 3, 4 / 3, 1.5, 1.78]))
        yield (long, short) if rng.random() < 0.75 else (short, long)


def make(folder, images):
    rng, noise = random.Random(0), np.random.default_rng(0)
    size = sizes(rng)
    folder.mkdir(parents=True)
    (folder / "objectInfo150.txt").write_text(
        "Idx\tName\n" + "".join(f"{c}\tclass {c}\n" for c in range(1, CLASSES + 1))
    )
    for split, count in (("training", DISTINCT), ("validation", images)):
        photos, masks = folder / "images" / split, folder / "annotations" / split
        photos.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(count):
            photo, mask = photos / f"ADE_{i:08d}.jpg", masks / f"ADE_{i:08d}.png"
            if i < DISTINCT:
                w, h = next(size)
                coarse = noise.integers(0, CLASSES + 1, (7, 9), dtype=np.uint8)
                labels = Image.fromarray(coarse).resize((w, h), Image.NEAREST)
                labels.save(mask)
                colours = np.asarray(labels).astype(np.int32)
                rgb = np.stack([colours * 37 % 256, colours * 91 % 256, colours * 53 % 256], -1)
                rgb = rgb + noise.integers(-20, 20, rgb.shape)
                Image.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(photo, quality=85)
            else:
                os.link(photos / f"ADE_{i % DISTINCT:08d}.jpg", photo)
                os.link(masks / f"ADE_{i % DISTINCT:08d}.png", mask)


def resident(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    own = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    flags = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    binary = own[0]
    folder = Path(own[1]) if len(own) > 1 else Path(tempfile.mkdtemp()) / "ade"
    images = int(own[2]) if len(own) > 2 else 2000
    if not folder.exists():
        make(folder, images)
    out = Path(tempfile.mkdtemp())
    command = [binary, "ade20k", "--model", "mini-dino", "--data", str(folder), "--preset", "quick", "--iterations", "20"]
    command += ["--out", str(out)] + flags
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    samples = []
    while process.poll() is None:
        time.sleep(1)
        try:
            samples.append(resident(process.pid))
        except FileNotFoundError:
            break
    if process.wait() != 0:
        sys.exit(f"the command failed with exit code {process.returncode}")
    print(f"{images} images, {time.time() - started:.0f} s; resident memory in MiB by tenths of the run (largest of each):")
    tenths = [max(samples[len(samples) * i // 10 : len(samples) * (i + 1) // 10] or [0]) for i in range(10)]
    print("  " + " ".join(f"{t:.0f}" for t in tenths))
    # The first tenth loads and trains.
    early, late = max(tenths[1:5]), max(tenths[5:])
    print(f"largest in the first half {early:.0f}, in the second {late:.0f}")
    sys.exit(late > 1.05 * early)


main()
