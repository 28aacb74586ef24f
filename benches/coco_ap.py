"""Makes a ground truth and detections of the size of COCO val2017, and times pycocotools and
faster-coco-eval on them.

    coco_ap.py make FOLDER
    coco_ap.py pycocotools|faster FOLDER bbox|segm

Needs numpy and pycocotools 2.0.11; faster-coco-eval 1.8.0 for `faster`. Run by benches/coco_ap.sh.
"""

import contextlib
import io
import json
import random
import sys
import time

IMAGES, CATEGORIES, DETECTIONS = 5000, 80, 200_000


def polygon(rng, x, y, w, h):
    """A star-like polygon of 8 to 24 corners within the box."""
    import math

    n = rng.randint(8, 24)
    corners = []
    for i in range(n):
        r = rng.uniform(0.7, 1.0) / 2
        corners.append(round(x + w * (0.5 + r * math.cos(2 * math.pi * i / n)), 2))
        corners.append(round(y + h * (0.5 + r * math.sin(2 * math.pi * i / n)), 2))
    return corners


def make(folder):
    from pycocotools import mask

    rng = random.Random(0)
    images = [{"id": i + 1, "width": 640, "height": 480, "file_name": f"{i}.jpg"} for i in range(IMAGES)]
    truth, found = [], []
    for image in images:
        for _ in range(rng.choice([0, 2, 4, 6, 8, 10, 20])):
            w, h = [min(400.0, 2 ** rng.uniform(3, 8.6)) for _ in range(2)]
            x, y = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h)
            truth.append({
                "id": len(truth) + 1, "image_id": image["id"], "category_id": rng.randint(1, CATEGORIES),
                "bbox": [x, y, w, h], "area": w * h * 0.6, "iscrowd": 0,
                "segmentation": [polygon(rng, x, y, w, h)],
            })
    while len(found) < DETECTIONS:
        near = rng.choice(truth)
        x, y, w, h = near["bbox"]
        shift = [rng.gauss(0, 0.15) for _ in range(4)]
        w2, h2 = w * (1 + abs(shift[2])), h * (1 + abs(shift[3]))
        box = [max(0.0, x + w * shift[0]), max(0.0, y + h * shift[1]), w2, h2]
        category = near["category_id"] if rng.random() < 0.5 else rng.randint(1, CATEGORIES)
        found.append({
            "image_id": near["image_id"], "category_id": category, "bbox": box,
            "score": round(rng.random(), 4),
        })
    json.dump(
        {"images": images, "annotations": truth,
         "categories": [{"id": i + 1, "name": str(i + 1)} for i in range(CATEGORIES)]},
        open(f"{folder}/truth.json", "w"))
    json.dump(found, open(f"{folder}/bbox.json", "w"))
    masks = []
    for one in found:
        x, y, w, h = one["bbox"]
        runs = mask.merge(mask.frPyObjects([polygon(rng, x, y, w, h)], 480, 640))
        masks.append({
            "image_id": one["image_id"], "category_id": one["category_id"], "score": one["score"],
            "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
        })
    json.dump(masks, open(f"{folder}/segm.json", "w"))


def run(tool, folder, kind):
    if tool == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(f"{folder}/truth.json")
        found = truth.loadRes(f"{folder}/{kind}.json")
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    seconds = time.perf_counter() - started
    print(f"{tool} {kind}: {seconds:.2f} s, AP {100 * float(evaluation.stats[0])!r}")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        run(*sys.argv[1:4])
