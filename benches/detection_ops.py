"""torchvision's RoIAlign and NMS on the CPU, on random numbers that benches/detection_ops.rs reads.

    detection_ops.py make FOLDER    writes ops.safetensors, outputs included
    detection_ops.py run FOLDER     prints `name milliseconds`

Needs torch, torchvision 0.28 and safetensors. Run by benches/detection_ops.sh.
"""

import sys
import time

import torch
from safetensors.torch import load_file, save_file
from torchvision.ops import batched_nms, nms, roi_align

ROUNDS = 7
# name: map side, regions, output side, scale
CASES = {"box": (256, 512, 7, 0.25), "mask": (256, 64, 14, 0.25), "coarse": (64, 512, 7, 1 / 16)}


def boxes(n, side):
    corner = torch.rand(n, 2) * side * 0.8
    size = 2 ** (torch.rand(n, 2) * 4 + 3)
    return torch.cat([corner, (corner + size).clamp(max=side)], 1)


def pool(tensors, name):
    _, _, out, scale = CASES[name]
    return roi_align(tensors[f"{name}.map"], tensors[f"{name}.rois"], (out, out), scale, 2, False)


def make(folder):
    torch.manual_seed(0)
    tensors = {}
    for name, (side, count, _, _) in CASES.items():
        tensors[f"{name}.map"] = torch.randn(1, 256, side, side)
        tensors[f"{name}.rois"] = torch.cat([torch.zeros(count, 1), boxes(count, 1024)], 1)
        tensors[f"{name}.pooled"] = pool(tensors, name)
    tensors["nms.boxes"] = boxes(4000, 400)
    tensors["nms.scores"] = torch.rand(4000)
    tensors["nms.labels"] = torch.randint(0, 5, (4000,))
    args = [tensors["nms.boxes"], tensors["nms.scores"]]
    tensors["nms.keep"] = nms(*args, 0.7)
    tensors["batched.keep"] = batched_nms(*args, tensors["nms.labels"], 0.7)
    save_file({k: v.contiguous() for k, v in tensors.items()}, f"{folder}/ops.safetensors")


def report(name, work):
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    print(f"{name} {1e3 * best:.3f}")


def run(folder):
    tensors = load_file(f"{folder}/ops.safetensors")
    print("threads", torch.get_num_threads())
    for name in CASES:
        with torch.no_grad():
            report(f"roi_align.{name}", lambda: pool(tensors, name))
        leaf = tensors[f"{name}.map"].clone().requires_grad_(True)
        report(f"roi_align_backward.{name}", lambda: pool({**tensors, f"{name}.map": leaf}, name).sum().backward())
    args = [tensors["nms.boxes"], tensors["nms.scores"]]
    report("nms", lambda: nms(*args, 0.7))
    report("batched", lambda: batched_nms(*args, tensors["nms.labels"], 0.7))


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](sys.argv[2])
