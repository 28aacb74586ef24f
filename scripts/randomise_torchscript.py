#!/usr/bin/env python3
"""The same network at random weights: a floor for a user's own TorchScript file.

  python3 scripts/randomise_torchscript.py NETWORK.pt RANDOM.pt [--seed 0] [--images FOLDER] [--resolution 224]

Every convolution and linear layer is drawn anew as PyTorch's constructors draw it, norms become the identity. With
--images, the statistics of BatchNorm are then those of up to 64 of the folder's images at the resolution: without that a
deep network lets almost nothing of its input through, and a probe on it would be beaten too easily. Other parameters
(tokens, positions) are drawn from N(0, 0.02). Needs torch, and Pillow for --images.
"""
import argparse
import math
from pathlib import Path

import torch

IMAGES = 64
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def redraw(module):
    """torch.nn's `reset_parameters`, by the shapes of a layer's tensors."""
    own = dict(module.named_parameters(recurse=False))
    buffers = dict(module.named_buffers(recurse=False))
    weight, bias = own.pop("weight", None), own.pop("bias", None)
    if weight is not None and weight.dim() > 1:
        # kaiming_uniform_(a=sqrt(5)) and the bias of Conv and Linear: both U(-1, 1) / sqrt(fan_in)
        bound = 1 / math.sqrt(weight[0].numel())
        weight.uniform_(-bound, bound)
        if bias is not None:
            bias.uniform_(-bound, bound)
    elif weight is not None:
        weight.fill_(1)
        if bias is not None:
            bias.zero_()
    elif bias is not None:
        bias.zero_()
    for other in own.values():
        other.normal_(0, 0.02)
    if "running_mean" in buffers:
        buffers["running_mean"].zero_()
        buffers["running_var"].fill_(1)


def recompute_statistics(network, pixels):
    """One forward pass in which every BatchNorm normalises by its batch and keeps those statistics.

    A traced program has `training=False` as a constant in its graph, so a copy of the graph is changed and run on the
    network's own buffers.
    """
    graph = network.graph.copy()
    torch._C._jit_pass_inline(graph)
    norms = graph.findAllNodes("aten::batch_norm")
    if norms:
        graph.setInsertPoint(next(iter(graph.nodes())))
        training, momentum = graph.insertConstant(True), graph.insertConstant(1.0)
        for norm in norms:
            norm.replaceInput(5, training)
            norm.replaceInput(6, momentum)
        torch._C._create_function_from_graph("recompute", graph)(network._c, pixels)
    return len(norms)


def read(folder, resolution):
    from PIL import Image

    files = sorted(f for f in Path(folder).rglob("*") if f.suffix.lower() in ENDINGS)[:IMAGES]
    if not files:
        raise SystemExit(f"{folder} holds no image")
    images = [Image.open(f).convert("RGB").resize((resolution, resolution), Image.BICUBIC) for f in files]
    pixels = [torch.frombuffer(bytearray(i.tobytes()), dtype=torch.uint8) for i in images]
    return torch.stack(pixels).view(-1, resolution, resolution, 3).permute(0, 3, 1, 2).contiguous() / 255


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--resolution", type=int, default=224)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    network = torch.jit.load(arguments.network, map_location="cpu")
    with torch.no_grad():
        for module in network.modules():
            redraw(module)
        norms = recompute_statistics(network, read(arguments.images, arguments.resolution)) if arguments.images else 0
    network.save(arguments.out)
    count = sum(p.numel() for p in network.parameters())
    print(f"{arguments.out}: {count} parameters drawn with seed {arguments.seed}, {norms} BatchNorms from images")


main()
