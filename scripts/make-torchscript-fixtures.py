#!/usr/bin/env python3
"""Makes tests/fixtures/torchscript: one small program per form of output, and what it gives.

Needs torch and safetensors.
"""
from pathlib import Path
from typing import Dict, Tuple
import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parent.parent / "tests/fixtures/torchscript"
MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.5])


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv2d(3, 4, 8, 8)
        self.head = torch.nn.Linear(4, 6)


class Pair(Base):
    def forward(self, x) -> Tuple[torch.Tensor, torch.Tensor]:
        y = self.conv(x)
        return self.head(y.mean((2, 3))), y


class Nhwc(Base):
    def forward(self, x):
        return self.conv(x).permute(0, 2, 3, 1).contiguous()


class Indexed(Base):
    """An index table, which a cast of the weights must leave alone."""

    def __init__(self):
        super().__init__()
        self.register_buffer("order", torch.arange(4))

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3))[:, self.order])


class Vector(Base):
    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


class ClassToken(Base):
    def forward(self, x):
        y = self.conv(x).flatten(2).transpose(1, 2)
        return torch.cat([y.sum(1, keepdim=True), y], 1)


class Dictionary(Base):
    def forward(self, x) -> Dict[str, torch.Tensor]:
        y = self.conv(x)
        return {"summary": self.head(y.mean((2, 3))), "features": y}


OUT.mkdir(parents=True, exist_ok=True)
torch.manual_seed(5)
x = torch.rand(2, 3, 16, 24)
y = (x - MEAN[:, None, None]) / STD[:, None, None]
with torch.no_grad():
    base = Base()
    spatial = base.conv(y).flatten(2).transpose(1, 2)
    tensors = {"input": x, "spatial": spatial, "mean": spatial.mean(1), "sum": spatial.sum(1),
               "head": base.head(spatial.mean(1))}
save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / "expected.safetensors")
for program in (Pair, Nhwc, Indexed, Vector, ClassToken, Dictionary):
    torch.jit.script(program().eval()).save(str(OUT / f"{program.__name__.lower()}.pt"))
(OUT / "nhwc.toml").write_text(
    f"mean = {[round(v, 6) for v in MEAN.tolist()]}\nstd = {[round(v, 6) for v in STD.tolist()]}\n"
    'resolution = [16, 24]\nlayout = "nhwc"\n')
