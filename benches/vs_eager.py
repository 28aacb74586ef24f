#!/usr/bin/env python3
"""radio-eval and plain PyTorch eager on the same weights, in one interleaved run: times and ratios.

    benches/vs_eager.py --binary target/release/radio-eval --model eradio --size 512 --dtype bf16
    benches/vs_eager.py --binary target/release/radio-eval --model vit-h --size 224

Models: eradio and eradio_xxxtiny, whose eager side is the restatement that the goldens are checked
with (--reference, ../shared/golden/reference/eradio.py); vit-l and vit-h, timm's
vit_{large,huge}_patch14_clip_224. Both sides read the weights from one file, and in fp32
`radio-eval verify` compares their outputs first. Each round times one side, then the other, so
that drift of the machine hits both; the ratio is the median over rounds of eager time / radio-eval
time. bf16 on the eager side is torch.autocast. Needs torch, safetensors and (ViT) timm; nothing is
installed or downloaded.
"""
import argparse
import contextlib
import importlib.util
import io
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent

ERADIO = {
    "eradio": dict(depths=[3, 3, 5, 5], dim=192, in_dim=64, full_features_head_dim=1536),
    "eradio_xxxtiny": dict(depths=[1, 3, 4, 5], dim=32, in_dim=32, full_features_head_dim=256),
}
ERADIO_COMMON = dict(
    num_heads=[2, 4, 8, 16], window_size=[None, None, [16, 16], 16], sr_ratio=[1, 1, [2, 1], 1],
    yolo_arch=True, conv_base=True, neck_start_stage=2, cpb_mlp_hidden=512, return_full_features=True,
)
VIT = {"vit-l": "vit_large_patch14_clip_224", "vit-h": "vit_huge_patch14_clip_224"}


def module(path):
    """A Python file as a module, without what it prints when loaded."""
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    loaded = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(loaded)
    return loaded


class Eradio:
    """The restatement: PyTorch NCHW, batch normalisation and position bias computed in every call."""

    def __init__(self, name, reference):
        self.restated = module(reference)
        self.config = ERADIO_COMMON | ERADIO[name]
        net = module(ROOT / "scripts/make-eradio-fixtures.py").Net(self.config).eval()
        self.weights = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}

    def save(self, folder):
        save_file(self.weights, folder / "model.safetensors", {"config": json.dumps(self.config)})
        return folder / "model.safetensors"

    def __call__(self, x):
        return self.restated.eradio(self.weights, x, self.config)

    def expected(self, x):
        """What `radio-eval verify` compares. A file without `input_conditioner` takes pixels as they are."""
        return {"features_nchw": self(x)}


class Vit:
    def __init__(self, name):
        import timm

        self.name = VIT[name]
        self.net = timm.create_model(self.name, pretrained=False).eval()
        # timm starts LayerNorms and biases at 1 and 0, which would hide a forgotten one.
        for key, value in self.net.named_parameters():
            if "norm" in key or key.endswith("bias"):
                value.data.add_(0.1 * torch.randn_like(value))

    def save(self, folder):
        save_file(self.net.state_dict(), folder / "model.safetensors")
        cfg = {key: self.net.pretrained_cfg[key] for key in ("mean", "std")}
        (folder / "config.json").write_text(json.dumps({"architecture": self.name, "pretrained_cfg": cfg}))
        return folder

    def __call__(self, x):
        return self.net.forward_features(x)

    def expected(self, x):
        cfg = self.net.pretrained_cfg
        mean, std = (torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
        return {"features": self((x - mean) / std)[:, self.net.num_prefix_tokens:]}


class RadioEval:
    """One timed case of `radio-eval latency` per round."""

    def __init__(self, args, weights, folder):
        self.verify = [str(args.binary), "verify", "--model", str(weights), "--reference"]
        self.latency = [
            str(args.binary), "latency", "--model", str(weights), "--resolution", str(args.size), "--dtype", args.dtype,
            "--seconds", str(args.seconds), "--rounds", "3", "--threads", str(args.threads), "--json",
            "--out", str(folder / "records"),
        ]

    def check(self, reference):
        subprocess.run(self.verify + [str(reference)], check=True)

    def seconds(self):
        out = subprocess.run(self.latency, check=True, capture_output=True, text=True).stdout
        return json.loads(out)[0]["metrics"]["latency_ms_p50"]["value"] / 1e3


def eager_seconds(run, seconds):
    run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--reference", type=Path, default=ROOT / "../shared/golden/reference/eradio.py")
    parser.add_argument("--model", choices=[*ERADIO, *VIT], default="eradio")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    net = Vit(args.model) if args.model in VIT else Eradio(args.model, args.reference)
    x = torch.rand(1, 3, args.size, args.size)

    @torch.no_grad()
    def eager():
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            return net(x)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        ours = RadioEval(args, net.save(folder), folder)
        if args.dtype == "fp32":
            with torch.no_grad():
                expected = {"input": x, **net.expected(x)}
            save_file({k: v.contiguous() for k, v in expected.items()}, folder / "reference.safetensors")
            ours.check(folder / "reference.safetensors")
        pairs = []
        for round in range(args.rounds):
            pairs.append((eager_seconds(eager, args.seconds), ours.seconds()))
            print(f"round {round}: eager {pairs[-1][0] * 1e3:.1f} ms, radio-eval {pairs[-1][1] * 1e3:.1f} ms", flush=True)
    ratios = sorted(e / o for e, o in pairs)
    print(f"{args.model} {args.size} px {args.dtype}: ratio {statistics.median(ratios):.2f} "
          f"(from {ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds)")


if __name__ == "__main__":
    main()
