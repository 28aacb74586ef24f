#!/usr/bin/env python3
"""Exports the efficient backbones that AM-RADIO compares with (arXiv 2312.06709 §4.3) from timm to
TorchScript, each with the TOML that radio-eval reads beside it.

    export_timm.py [--out efficient-backbones] [--size 224] [--pretrained] [NAME ...]

Without --pretrained the weights are random, which is all that latency needs. Needs torch and timm.
Then: radio-eval latency --config bench-configs/latency/efficient-backbones.toml
"""
import argparse
from pathlib import Path

import timm
import torch

# The paper's name -> timm's name and what it must be told about the size.
BACKBONES = {
    "EfficientNetV2-S": ("tf_efficientnetv2_s", {}),
    "ResNetv2-101": ("resnetv2_101", {}),
    "RegNetY-064": ("regnety_064", {}),
    "EfficientViT-L1": ("efficientvit_l1", {}),
    "ConvNeXt-B": ("convnext_base", {}),
    "NFNet-F3": ("nfnet_f3", {}),
    # Windows must divide the map of every stage: size / 32.
    "SwinV2-S": ("swinv2_small_window8_256", {"img_size": "size", "window_size": "size/32"}),
    "MaxViT-B": ("maxvit_base_tf_224", {"img_size": "size"}),
    "PoolFormerV2-M36": ("poolformerv2_m36", {}),
    "MViTv2-B": ("mvitv2_base", {"img_size": "size"}),
}


class SummaryAndMap(torch.nn.Module):
    """(summary [B, D], the last map as the network has it)"""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        features = self.net.forward_features(x)
        return self.net.forward_head(features, pre_logits=True), features


def export(name, options, size, pretrained, out):
    values = {"size": size, "size/32": size // 32}
    options = {key: values[value] for key, value in options.items()}
    net = timm.create_model(name, pretrained=pretrained, num_classes=0, **options).eval()
    x = torch.rand(1, 3, size, size)
    with torch.inference_mode(False), torch.no_grad():
        program = torch.jit.trace(SummaryAndMap(net), x, check_trace=False)
        summary, features = program(x)
    program.save(str(out / f"{name}.pt"))
    cfg = net.pretrained_cfg
    lines = [
        f"mean = {[float(v) for v in cfg['mean']]}",
        f"std = {[float(v) for v in cfg['std']]}",
        f"resolution = {size}",
    ]
    # A traced network keeps the sizes of its windows and position tables.
    lines.append("fixed = true" if options or cfg.get("fixed_input_size") else "step = 32")
    if features.dim() == 4 and features.shape[1] != summary.shape[1]:
        lines.append('layout = "nhwc"')
    (out / f"{name}.toml").write_text("\n".join(lines) + "\n")
    count = sum(p.numel() for p in net.parameters())
    print(f"{name}: {count / 1e6:.1f}M parameters, summary {tuple(summary.shape)}, map {tuple(features.shape)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("efficient-backbones"))
    parser.add_argument("--size", type=int, default=224, help="pixels; the paper's table is at 224")
    parser.add_argument("--pretrained", action="store_true", help="timm's weights from Hugging Face")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BACKBONES)} (default: all)")
    args = parser.parse_args()
    unknown = set(args.names) - set(BACKBONES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(BACKBONES)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for paper_name in args.names or BACKBONES:
        name, options = BACKBONES[paper_name]
        export(name, options, args.size, args.pretrained, args.out)


if __name__ == "__main__":
    main()
