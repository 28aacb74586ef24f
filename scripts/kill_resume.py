#!/usr/bin/env python3
"""Kills radio-eval with SIGKILL at random moments and runs the same command again, until it ends:
the results must be those of a run that nobody disturbed.

    scripts/kill_resume.py [--kills 100] [--binary target/release/radio-eval] [--seed 0]

Three jobs share the kills: extraction (kNN), training of a probe, and evaluation (a trained head).
Each kill comes after a random part of the time that the undisturbed run took. Exit code 1 where a
result differs, or a killed job never ends.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Fields of a record that say when, how long and beside whom, not what.
VOLATILE = ("created", "timings", "command")
VOLATILE_OF_MACHINE = ("others_cpu_percent",)


def jobs(binary, head):
    """Name -> arguments of the command; `{out}` is the folder of its results."""
    small = ["--threads", "1", "--workers", "1", "--out", "{out}"]
    probe = [binary, "ade20k", "--model", "mini-dino", "--data", "ade-mini", *small]
    training = ["--preset", "mini", "--seeds", "0", "--iterations", "600", "--checkpoint-every", "20"]
    return {
        "extraction": [
            binary, "imagenet", "--model", "mini-dino", "--data", "imagenet-mini", "--k", "1,5",
            "--batch-size", "8", *small,
        ],
        "training": [*probe, *training, "--train-limit", "100"],
        "evaluation": [*probe, "--preset", "mini", "--head", head, "--save-predictions", "{out}/pictures"],
    }


def environment(home):
    return {**os.environ, "RADIO_EVAL_HOME": str(home)}


def start(command, home, out):
    command = [part.replace("{out}", str(out)) for part in command]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process, what):
    _, log = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{what}: exit code {process.returncode}\n{log.decode(errors='replace')}")


def outcome(out, home):
    """What a folder of results says: records without times and without the folders of this very
    run, every other file by its bytes."""
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = str(path.relative_to(out))
        if path.name.endswith(".part"):
            continue  # what a killed process was writing; no reader looks at it
        data = path.read_bytes()
        if path.suffix == ".json":
            text = data.decode().replace(str(home), "HOME").replace(str(out), "OUT")
            record = json.loads(text)
            data = {key: value for key, value in record.items() if key not in VOLATILE}
            for key in VOLATILE_OF_MACHINE:
                data.get("machine", {}).pop(key, None)
        elif path.suffix == ".safetensors":
            # Behind the header, whose metadata repeat the command.
            data = data[8 + int.from_bytes(data[:8], "little"):]
        found[name] = data
    return found


def features(home):
    """The kept features, by their place and bytes."""
    folder = home / "cache" / "features"
    files = sorted(p for p in folder.rglob("*.values") if p.name != "stamp.values")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def disturbed(command, home, out, seconds, kills, rng):
    """Runs until the end, killed up to `kills` times on the way; returns how often it was."""
    killed = 0
    while True:
        process = start(command, home, out)
        if killed < kills:
            try:
                process.wait(timeout=rng.uniform(0.02, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                process.stderr.close()
                killed += 1
                continue
        finish(process, "a killed job, run again")
        return killed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--binary", default=str(ROOT / "target/release/radio-eval"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="radio-eval-kill-"))
    binary = str(Path(args.binary).resolve())
    head = folder / "calm-training" / "segmentation__mini-dino.head.safetensors"
    total, different = 0, 0
    order = ("extraction", "training", "evaluation")
    for number, name in enumerate(order):
        command = jobs(binary, str(head))[name]
        calm_home, calm_out = folder / f"home-{name}", folder / f"calm-{name}"
        began = time.monotonic()
        finish(start(command, calm_home, calm_out), name)
        seconds = time.monotonic() - began
        expected, rows = outcome(calm_out, calm_home), features(calm_home)
        share = args.kills * (number + 1) // len(order) - args.kills * number // len(order)
        kills, rounds = 0, 0
        while kills < share:
            rounds += 1
            home, out = folder / "home", folder / "out"
            kills += disturbed(command, home, out, seconds, min(5, share - kills), rng)
            same = outcome(out, home) == expected and features(home) == rows
            different += not same
            if not same:
                keep = folder / f"different-{name}-{rounds}"
                shutil.copytree(out, keep)
                print(f"{name}, round {rounds}: DIFFERENT, kept in {keep}", flush=True)
            shutil.rmtree(home)
            shutil.rmtree(out)
        total += kills
        print(f"{name}: {kills} kills in {rounds} runs, undisturbed {seconds:.1f} s", flush=True)
    print(f"{total} kills, {different} results that differ")
    if different == 0:
        shutil.rmtree(folder)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
