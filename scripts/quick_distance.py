"""Takes the figures that the tool quotes for preset `quick` out of the records of
results/quick-distance: prints assets/measured/quick-distance.json.

    python3 scripts/quick_distance.py QUICK_RECORD REPO_HEAD_RECORD
"""

import json
import sys


def main() -> None:
    quick, repo_head = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
    measured = {
        "data": quick["data"][0]["name"],
        "model": quick["model"]["name"],
        "quick_miou": quick["metrics"]["miou"]["value"],
        "repo_head_miou": repo_head["metrics"]["miou"]["value"],
        "repo_head_iterations": repo_head["options"]["iterations"],
        "repo_head_resolution": repo_head["options"]["resolution"],
        "records": "results/quick-distance",
        "script": "scripts/quick-distance.sh",
    }
    print(json.dumps(measured, indent=2))


main()
