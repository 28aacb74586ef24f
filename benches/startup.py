"""How long the tool takes to start: `--help`, which loads libtorch and nothing else, and an
`imagenet` run whose features are all in the cache.

    python3 benches/startup.py [BINARY] [RUNS]

Prints the median and the fastest of RUNS (default 15) after one run that is not counted, with
warm file caches. Needs nothing beyond Python.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def timed(command: list[str], environment: dict[str, str], runs: int) -> list[float]:
    """Wall seconds of each run; the command must succeed."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        result = subprocess.run(command, env=environment, capture_output=True, check=False)
        seconds.append(time.perf_counter() - start)
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)}: {result.stderr.decode()}")
    return seconds[1:]


def main() -> None:
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/radio-eval")
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"RADIO_EVAL_HOME": home, "RADIO_EVAL_LOG": "warn"}
        imagenet = [binary, "imagenet", "--data", "imagenet-mini", "--model", "mini-dino"]
        imagenet += ["--task", "knn", "--device", "cpu", "--json", "--out", os.path.join(home, "out")]
        # Fills the cache.
        subprocess.run(imagenet, env=environment, capture_output=True, check=True)
        record = json.loads(subprocess.run(imagenet, env=environment, capture_output=True, check=True).stdout)
        cases = {"--help": [binary, "--help"], "imagenet, cached": imagenet}
        print(f"{binary}, {runs} runs each")
        for name, command in cases.items():
            seconds = timed(command, environment, runs)
            median, fastest = statistics.median(seconds), min(seconds)
            print(f"{name:18} median {median * 1e3:7.1f} ms   fastest {fastest * 1e3:7.1f} ms")
        stages = record[0]["timings"]["stages"]
        print("stages of one cached run:", ", ".join(f"{k} {v * 1e3:.1f} ms" for k, v in stages.items()))


main()
