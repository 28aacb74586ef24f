#!/usr/bin/env python3
"""Makes tests/fixtures/eradio: an official golden without its dead tensors, and small networks for
the options that no official golden covers, computed by a restatement in plain PyTorch.

    make-eradio-fixtures.py SHARED     (needs torch and safetensors)

Each option file holds the weights, `input`, `features_nlc`, `summary` and, as metadata, `config`.
"""
import json, math, sys
from pathlib import Path
import torch, torch.nn as nn, torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

OUT = Path(__file__).resolve().parent.parent / "tests/fixtures/eradio"
DEAD = ("relative_coords_table", "relative_position_index", "relative_bias", "num_batches_tracked")


class ConvBn(nn.Module):
    def __init__(self, a, b, k=3, s=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(a, b, k, s, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(b)

    def forward(self, x):
        return self.bn(self.conv(x))


class C2f(nn.Module):
    def __init__(self, c, n):
        super().__init__()
        h = c // 2
        self.cv1, self.cv2 = ConvBn(c, 2 * h, 1), ConvBn((2 + n) * h, c, 1)
        self.m = nn.ModuleList(nn.ModuleDict({"cv1": ConvBn(h, h), "cv2": ConvBn(h, h)}) for _ in range(n))

    def forward(self, x):
        y = list(F.silu(self.cv1(x)).chunk(2, 1))
        for m in self.m:
            y.append(y[-1] + F.silu(m["cv2"](F.silu(m["cv1"](y[-1])))))
        return F.silu(self.cv2(torch.cat(y, 1)))


class Residual(nn.Module):
    def __init__(self, c, scale):
        super().__init__()
        self.conv1, self.conv2 = ConvBn(c, c), ConvBn(c, c)
        self.gamma = nn.Parameter(torch.ones(c)) if scale else None

    def forward(self, x):
        y = self.conv2(F.gelu(self.conv1(x)))
        return x + (y if self.gamma is None else y * self.gamma[:, None, None])


def pieces(x, f):
    b, c, h, w = x.shape
    return torch.stack([x[:, :, i * h // f:(i + 1) * h // f, j * w // f:(j + 1) * w // f]
                        for i in range(f) for j in range(f)], 2).reshape(b, c * f * f, h // f, w // f)


class Bias(nn.Module):
    def __init__(self, heads, hidden):
        super().__init__()
        self.cpb_mlp = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, heads, bias=False))

    def forward(self, w):
        yx = [(i, j) for i in range(w) for j in range(w)]
        off = torch.tensor([[[a[0] - b[0], a[1] - b[1]] for b in yx] for a in yx], dtype=torch.float32)
        off = off / (w - 1) * 8
        off = off.sign() * (off.abs() + 1).log2() / math.log2(8)
        return 16 * self.cpb_mlp(off).permute(2, 0, 1).sigmoid()


class Attn(nn.Module):
    def __init__(self, dim, heads, cfg):
        super().__init__()
        self.h, self.mq, d = heads, cfg.get("multi_query"), dim // heads
        self.qkv = nn.Linear(dim, dim + 2 * d if self.mq else 3 * dim, bias=bool(cfg.get("qkv_bias")))
        self.proj = nn.Linear(dim, dim, bias=False)
        self.scale = cfg.get("qk_scale") or d ** -0.5
        self.pos_emb_funct = Bias(heads, cfg["cpb_mlp_hidden"])

    def forward(self, t, w, mask):
        n, N, C = t.shape
        d = C // self.h
        q, k, v = self.qkv(t).split([C, d, d] if self.mq else [C, C, C], -1)
        cut = lambda z: z.reshape(n, N, -1, d).transpose(1, 2).expand(n, self.h, N, d)
        q, k, v = cut(q), cut(k), cut(v)
        a = q @ k.transpose(-1, -2) * self.scale + self.pos_emb_funct(w)
        if mask is not None:
            a = a + mask.repeat(n // len(mask), 1, 1)[:, None]
        return self.proj((a.softmax(-1) @ v).transpose(1, 2).reshape(n, N, C))


def cut(x, w):
    b, c, h, ww = x.shape
    return x.reshape(b, c, h // w, w, ww // w, w).permute(0, 2, 4, 3, 5, 1).reshape(-1, w * w, c)


def join(t, w, b, h, ww):
    return t.reshape(b, h // w, ww // w, w, w, -1).permute(0, 5, 1, 3, 2, 4).reshape(b, -1, h, ww)


class Gra(nn.Module):
    def __init__(self, dim, heads, w, sr, shift, cfg):
        super().__init__()
        self.sr, self.shift, self.base = sr, shift, cfg.get("conv_base")
        ratio, scale, self.swiglu = cfg.get("conv_groups_ratio", 0), cfg.get("layer_scale"), cfg.get("use_swiglu")
        self.pre_conv = self.downsample_op = None
        if sr > 1 and self.base:
            self.downsample_op = nn.Conv2d(dim, dim, sr, sr)
            self.upsample_op = nn.ConvTranspose2d(dim, dim, sr, sr)
        elif sr > 1:
            self.downsample_mixer, self.upsample_op = ConvBn(dim, dim, 1), ConvBn(dim, dim, 1)
        elif ratio != -1:
            self.pre_conv = ConvBn(dim, dim, groups=max(1, int(ratio * dim)))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = Attn(dim, heads, cfg)
        self.gamma1 = nn.Parameter(torch.ones(dim)) if scale else None
        self.gamma2 = nn.Parameter(torch.ones(dim)) if scale else None
        hid = int(2 * dim / 64) * 64 if self.swiglu else 4 * dim
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hid * (2 if self.swiglu else 1), bias=False),
                                  "fc2": nn.Linear(hid, dim, bias=False)})

    def forward(self, x, w):
        skip = x
        if self.sr == 1:
            x = (x if self.pre_conv is None else self.pre_conv(x)) + skip
        elif self.base:
            x = self.downsample_op(x)
        else:
            x = self.downsample_mixer(F.avg_pool2d(x, self.sr))
        b, c, h, ww = x.shape
        s, mask = self.shift, None
        shifted = s and h > w and ww > w
        if shifted:
            x = x.roll((-s, -s), (2, 3))
            region = lambda n: torch.tensor([2. if i >= n - s else 1. if i >= n - w else 0. for i in range(n)])
            ids = cut((region(h)[:, None] * 3 + region(ww)[None])[None, None], w)[..., 0]
            mask = (ids[:, None] != ids[:, :, None]) * -100.0
        t = cut(x, w)
        g = lambda y, gamma: y if gamma is None else y * gamma
        t = t + g(self.attn(self.norm1(t), w, mask), self.gamma1)
        y = self.mlp["fc1"](self.norm2(t))
        if self.swiglu:
            a, gate = y.chunk(2, -1)
            y = F.silu(gate) * a
        else:
            y = F.gelu(y)
        t = t + g(self.mlp["fc2"](y), self.gamma2)
        x = join(t, w, b, h, ww)
        if shifted:
            x = x.roll((s, s), (2, 3))
        if self.sr > 1:
            x = self.upsample_op(x if self.base else F.interpolate(x, scale_factor=self.sr, mode="nearest"))
        return 0.5 * x + 0.5 * skip


class Mra(nn.Module):
    def __init__(self, dim, heads, w, srs, shift, cfg):
        super().__init__()
        self.attention_blocks = nn.ModuleList(Gra(dim, heads, w, sr, shift, cfg) for sr in srs)

    def forward(self, x, w):
        for a in self.attention_blocks:
            x = a(x, w)
        return x


class Level(nn.Module):
    def __init__(self, i, cfg):
        super().__init__()
        dim, depth = cfg["dim"] * 2 ** i, cfg["depths"][i]
        self.conv, self.shuffle = i < 2, cfg.get("downsample_shuffle")
        if self.conv:
            self.blocks = C2f(dim, depth) if cfg.get("yolo_arch") else nn.Sequential(
                *[Residual(dim, cfg.get("layer_scale_conv")) for _ in range(depth)])
        else:
            aslist = lambda v: v if isinstance(v, list) else [v]
            self.srs, self.w = aslist(cfg["sr_ratio"][i]), aslist(cfg["window_size"][i])[0]
            self.single = cfg.get("conv_groups_ratio", 0) == -1 and all(s == 1 for s in self.srs)
            shift = lambda b: self.w // 2 if cfg.get("use_shift") and b % 2 and not self.single else 0
            self.blocks = nn.ModuleList(Mra(dim, cfg["num_heads"][i], self.w, self.srs, shift(b), cfg) for b in range(depth))
        if i + 1 < len(cfg["depths"]):
            red = ConvBn(4 * dim, 2 * dim, 1) if self.shuffle else ConvBn(dim, 2 * dim, 3, 2)
            self.downsample = nn.ModuleDict({"reduction": red})
        else:
            self.downsample = None

    def forward(self, x):
        if self.conv:
            x = self.blocks(x)
        else:
            h, w = x.shape[2:]
            m = self.w * max(self.srs)
            up = (-(-h // m) * m, -(-w // m) * m)
            if up != (h, w):
                x = F.interpolate(x, size=up, mode="nearest")
            for b in self.blocks:
                x = b(x, self.w)
            if not self.single:
                x = F.interpolate(x, size=(h, w), mode="nearest")
        if self.downsample is None:
            return x, x
        return self.downsample["reduction"](pieces(x, 2) if self.shuffle else x), x


class Net(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, dim = cfg, cfg["dim"]
        stem = [ConvBn(48, dim)] if cfg.get("shuffle_down") else [ConvBn(3, cfg["in_dim"], 3, 2), nn.ReLU(), ConvBn(cfg["in_dim"], dim, 3, 2)]
        self.patch_embed = nn.ModuleDict({"conv_down": nn.Sequential(*stem, nn.ReLU())})
        self.levels = nn.ModuleList(Level(i, cfg) for i in range(len(cfg["depths"])))
        self.start, head, up, projs = cfg["neck_start_stage"], cfg["full_features_head_dim"], 1, []
        for i in range(self.start, len(cfg["depths"])):
            c, p = dim * 2 ** i, nn.Sequential()
            if up > 1 or c != head:
                p.add_module("upsample", nn.Upsample(scale_factor=up, mode="nearest"))
                p.add_module("conv1", nn.Conv2d(c, c, 3, 1, 1, groups=c))
                p.add_module("norm", nn.BatchNorm2d(c))
                p.add_module("conv2", nn.Conv2d(c, head, 1))
            projs.append(p)
            up *= 2 if i > 0 else 1
        self.high_res_neck = nn.ModuleDict({"neck_features_proj": nn.ModuleList(projs)})

    def forward(self, x):
        x = self.patch_embed["conv_down"](pieces(x, 4) if self.cfg.get("shuffle_down") else x)
        full = None
        for i, level in enumerate(self.levels):
            x, pre = level(x)
            if i >= self.start:
                z = self.high_res_neck["neck_features_proj"][i - self.start](pre)
                full = z if full is None else full + F.pad(z, (0, full.shape[3] - z.shape[3], 0, full.shape[2] - z.shape[2]))
        return full.flatten(2).transpose(1, 2)


BASE = {"depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": [None, None, [2, 2], 2], "dim": 4, "in_dim": 4,
        "sr_ratio": [1, 1, [2, 1], 1], "yolo_arch": True, "conv_base": True, "full_features_head_dim": 6,
        "neck_start_stage": 2, "cpb_mlp_hidden": 8, "return_full_features": True, "conv_groups_ratio": 1}
CASES = {
    "convolutions": ({"yolo_arch": False, "layer_scale": 0.1, "layer_scale_conv": 0.1, "shuffle_down": True, "downsample_shuffle": True,
                      "conv_groups_ratio": -1, "full_features_head_dim": 16, "depths": [2, 1, 1, 1]}, (64, 96)),
    "attention": ({"multi_query": True, "use_swiglu": True, "qkv_bias": True, "qk_scale": 0.4, "dim": 8, "neck_start_stage": 0}, (64, 64)),
    "shift": ({"use_shift": True, "depths": [1, 1, 2, 2]}, (96, 128)),
}


def main(shared):
    OUT.mkdir(parents=True, exist_ok=True)
    golden = Path(shared) / "golden/eradio"
    source = golden / "tiny_8x.weights.safetensors"
    weights = {k: v for k, v in load_file(source).items() if not k.startswith(("norm.", "head.")) and not k.endswith(DEAD[:3])}
    with safe_open(source, "pt") as f:
        save_file(weights, OUT / source.name, f.metadata())
    io = load_file(golden / "tiny_8x.64x64.safetensors")
    keep = ("input", "features_nlc", "summary", "patch_embed", "levels.2.pre_downsample", "levels.3.pre_downsample")
    save_file({k: io[k] for k in keep}, OUT / "tiny_8x.64x64.safetensors")
    for name, (changes, size) in CASES.items():
        torch.manual_seed(7)
        cfg = BASE | changes
        net = Net(cfg).eval()
        with torch.no_grad():
            for key, value in net.state_dict().items():
                if key.endswith("running_var"):
                    value.uniform_(0.5, 1.5)
                elif value.is_floating_point() and value.dim() <= 1:
                    value.normal_(1.0 if key.endswith("weight") or "gamma" in key else 0.0, 0.3)
            x = torch.randn(1, 3, *size)
            y = net(x)
        tensors = {k: v.contiguous() for k, v in net.state_dict().items() if not k.endswith(DEAD)}
        tensors |= {"input": x, "features_nlc": y.contiguous(), "summary": y.mean(1)}
        save_file(tensors, OUT / f"{name}.safetensors", {"config": json.dumps(cfg)})
        print(f"{name}: {y.shape} std {y.std():.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
