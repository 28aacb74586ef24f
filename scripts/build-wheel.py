#!/usr/bin/env python3
"""Builds the wheel behind `pip install radio-eval`: the release binary and a launcher.

    scripts/build-wheel.py [--out target/wheels] [--binary FILE]

The wheel requires the torch of the libtorch that the binary was built against and finds its
libraries beside itself, in site-packages/torch/lib; CUDA works where that torch has it. Without
--binary, cargo builds one with that rpath (LIBTORCH as the Makefile sets it). Needs nothing beyond
Python, cargo and binutils. Wheel format: PEP 427 and its binary distribution specification.
"""

import argparse
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# From radio_eval/bin/radio-eval to torch/lib, both in site-packages.
RPATH = "$ORIGIN/../../torch/lib"
# What package indexes take without asking is far larger; this is a promise of our own.
MOST_BYTES = 40 << 20

LAUNCHER = '''"""radio-eval: see `radio-eval --help`."""

import os
import sys


def main() -> None:
    """Becomes the binary, which lies beside this file."""
    binary = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "radio-eval")
    os.execv(binary, ["radio-eval", *sys.argv[1:]])
'''


def build() -> Path:
    """A release binary whose rpath is that of the wheel, in a target folder of its own."""
    target = ROOT / "target" / "wheel"
    environment = os.environ | {"RADIO_EVAL_RPATH": RPATH}
    command = ["cargo", "build", "--release", "--locked", "--bin", "radio-eval", "--target-dir", str(target)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return target / "release" / "radio-eval"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_rpath(binary: Path) -> None:
    dynamic = output("readelf", "-d", str(binary))
    paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic)
    if paths != [RPATH]:
        sys.exit(f"{binary}: its rpath is {paths or 'missing'}, not {RPATH}: build it without --binary")


def platform(binary: Path) -> str:
    """The oldest glibc it starts on, as a platform tag (PEP 600)."""
    versions = re.findall(r"GLIBC_2\.(\d+)", output("readelf", "-V", str(binary)))
    machine = os.uname().machine
    return f"manylinux_2_{max(map(int, versions))}_{machine}"


def torch_version() -> str:
    version = re.search(r"^TORCH_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.M)
    return version.group(1) if version else sys.exit("Makefile: no TORCH_VERSION")


def metadata(package: dict) -> str:
    return "\n".join([
        "Metadata-Version: 2.1",
        "Name: radio-eval",
        f"Version: {package['version']}",
        f"Summary: {package['description']}",
        f"License: {package['license']}",
        f"Project-URL: Repository, {package['repository']}",
        "Requires-Python: >=3.10",
        f"Requires-Dist: torch=={torch_version()}",
        "Description-Content-Type: text/markdown",
        "",
        (ROOT / "README.md").read_text(),
    ])


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "wheels")
    parser.add_argument("--binary", type=Path, help=f"built with RADIO_EVAL_RPATH='{RPATH}'")
    args = parser.parse_args()
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    binary = args.binary or build()
    check_rpath(binary)
    tag = f"py3-none-{platform(binary)}"
    info = f"radio_eval-{package['version']}.dist-info"
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "radio-eval"
        shutil.copy(binary, stripped)
        subprocess.run(["strip", str(stripped)], check=True)
        program = stripped.read_bytes()
    wheel = f"Wheel-Version: 1.0\nGenerator: radio-eval build-wheel\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files = {
        "radio_eval/__init__.py": LAUNCHER.encode(),
        "radio_eval/bin/radio-eval": program,
        f"{info}/METADATA": metadata(package).encode(),
        f"{info}/WHEEL": wheel.encode(),
        f"{info}/entry_points.txt": b"[console_scripts]\nradio-eval = radio_eval:main\n",
        f"{info}/licenses/LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    lines = [record_line(name, data) for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"radio_eval-{package['version']}-{tag}.whl"
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in files.items():
            # The same bytes from the same binary: no times of today.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if "/bin/" in name else 0o100644) << 16
            archive.writestr(entry, data)
    size = part.stat().st_size
    if size > MOST_BYTES:
        part.unlink()
        sys.exit(f"the wheel takes {size} bytes, more than {MOST_BYTES}")
    part.rename(path)
    print(f"{path}: {size / (1 << 20):.1f} MiB")


if __name__ == "__main__":
    main()
