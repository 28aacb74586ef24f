#!/usr/bin/env python3
"""E-RADIO in radio-eval and in plain PyTorch eager, in one interleaved run: times and their ratios.

    flock BUSY benches/eradio_vs_eager.py --binary target/release/radio-eval \
        --reference ../shared/golden/reference/eradio.py [--model eradio] [--size 512] [--rounds 5]

The eager side is the restatement that the goldens are checked with (PyTorch NCHW, batch
normalisation and position bias computed in every call), on weights that both sides read from one
file. Each round runs first one side, then the other, so that drift of the machine hits both; the
ratio is the median over rounds of eager time / radio-eval time. bf16 on the eager side is
torch.autocast. Needs torch and safetensors; nothing is installed or downloaded.
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


VARIANTS = {
    "eradio": dict(depths=[3, 3, 5, 5], dim=192, in_dim=64, full_features_head_dim=1536),
    "eradio_xxxtiny": dict(depths=[1, 3, 4, 5], dim=32, in_dim=32, full_features_head_dim=256),
}
COMMON = dict(
    num_heads=[2, 4, 8, 16], window_size=[None, None, [16, 16], 16], sr_ratio=[1, 1, [2, 1], 1],
    yolo_arch=True, conv_base=True, neck_start_stage=2, cpb_mlp_hidden=512, return_full_features=True,
)


def reference(path):
    """The module, without the check of the goldens that it runs when loaded."""
    spec = importlib.util.spec_from_file_location("reference_eradio", path)
    module = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(module)
    return module


def random_weights(config):
    """Weights under the checkpoint's keys, small enough to keep activations finite."""
    spec = importlib.util.spec_from_file_location(
        "fixtures", Path(__file__).resolve().parent.parent / "scripts/make-eradio-fixtures.py")
    fixtures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixtures)
    torch.manual_seed(0)
    return {k: v for k, v in fixtures.Net(config).eval().state_dict().items() if not k.endswith("num_batches_tracked")}


class RadioEval:
    """One timed case of `radio-eval latency` per round."""

    def __init__(self, binary, weights, size, dtype, window, seconds, folder):
        self.command = [
            str(binary), "latency", "--model", str(weights), "--resolution", str(size), "--dtype", dtype,
            "--window", window, "--seconds", str(seconds), "--rounds", "3", "--json", "--out", str(folder),
        ]

    def seconds(self):
        out = subprocess.run(self.command, check=True, capture_output=True, text=True).stdout
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
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--model", choices=VARIANTS, default="eradio")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = COMMON | VARIANTS[args.model]
    net, weights = reference(args.reference), random_weights(config)
    x = torch.rand(1, 3, args.size, args.size)

    @torch.no_grad()
    def eager():
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            return net.eradio(weights, x, config)

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file(weights, file, {"config": json.dumps(config)})
        ours = RadioEval(args.binary, file, args.size, args.dtype, "trained", args.seconds, folder)
        pairs = []
        for round in range(args.rounds):
            pairs.append((eager_seconds(eager, args.seconds), ours.seconds()))
            print(f"round {round}: eager {pairs[-1][0] * 1e3:.1f} ms, radio-eval {pairs[-1][1] * 1e3:.1f} ms", flush=True)
    ratios = sorted(e / o for e, o in pairs)
    print(f"{args.model} {args.size} px {args.dtype}: ratio {statistics.median(ratios):.2f} "
          f"(from {ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds)")


if __name__ == "__main__":
    main()
