#!/usr/bin/env python3
"""Makes tests/fixtures/text/siglip_zero_shot: a tokenizer of 320 pieces for the small SigLIP in
tests/fixtures/{teachers,text}/siglip_so400m_like, and what open_clip predicts with all of it for
the 500 val images of imagenet-mini. The tokenizer's training is not repeatable to the last digit, so
both files are made together.

Needs torch, timm, open_clip, tokenizers, Pillow and safetensors.
"""
import io
import json
import tarfile
from pathlib import Path

import numpy
import open_clip
import timm
import torch
import torch.nn.functional as F
from open_clip.tokenizer import basic_clean, canonicalize_text
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures"
OUT = FIXTURES / "text/siglip_zero_shot"
PATCH = 14
SIZE = 56  # the largest multiple of the patch in the model's 60


@timm.models.register_model
def goldentiny_siglip_p14(pretrained=False, **kwargs):
    return timm.models.VisionTransformer(
        img_size=60, patch_size=PATCH, embed_dim=64, depth=2, num_heads=4, mlp_ratio=3.7362,
        class_token=False, num_classes=0, global_pool="map")


def siglip():
    vision, text = (FIXTURES / side / "siglip_so400m_like" for side in ("teachers", "text"))
    config = json.loads((vision / "openclip_config.json").read_text())["model_cfg"]
    model = open_clip.CustomTextCLIP(
        config["embed_dim"], config["vision_cfg"], config["text_cfg"], init_logit_bias=config["init_logit_bias"])
    state = load_file(vision / "openclip.safetensors") | load_file(text / "openclip.safetensors")
    model.load_state_dict(state)
    model.visual.trunk.patch_embed.strict_img_size = False
    return model.eval()


def tokenizer(corpus):
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    unigram.train_from_iterator(corpus, trainers.UnigramTrainer(
        vocab_size=320, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", max_piece_length=6))
    assert unigram.get_vocab_size() <= 320
    return unigram


def rows(unigram, prompts):
    """SigLIP's rows: 64 ids, the end is also the padding."""
    end = unigram.token_to_id("</s>")
    ids = [unigram.encode(canonicalize_text(basic_clean(p)), add_special_tokens=False).ids[:63] for p in prompts]
    return torch.tensor([row + [end] * (64 - len(row)) for row in ids])


def pixels(image):
    """AM-RADIO's transform for a square: covered with both sides multiples of the patch (bicubic), then
    torchvision's centre crop; [-1, 1]."""
    image = image.convert("RGB")
    scale = SIZE / min(image.size)
    image = image.resize([round(side * scale / PATCH) * PATCH for side in image.size], Image.BICUBIC)
    left, top = (round((side - SIZE) / 2) for side in image.size)
    image = image.crop((left, top, left + SIZE, top + SIZE))
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float() / 255 * 2 - 1


def main():
    OUT.mkdir(exist_ok=True)
    templates = (FIXTURES / "text/mini_templates.txt").read_text().splitlines()
    images, names = {}, []
    with tarfile.open(ROOT / "assets/mini/data/imagenet-mini-val.tar") as tar:
        for member in tar:
            data = tar.extractfile(member).read()
            if member.name == "classes.tsv":
                names = [line.split("\t")[1].split(",")[0] for line in data.decode().splitlines()]
            else:
                images[member.name] = pixels(Image.open(io.BytesIO(data)))
    prompts = [[t.replace("{}", name) for t in templates] for name in names]
    unigram = tokenizer(canonicalize_text(basic_clean(p)) for group in prompts for p in group)
    unigram.save(str(OUT / "tokenizer.json"), pretty=False)

    model = siglip()
    with torch.no_grad():
        text = torch.stack([F.normalize(F.normalize(model.encode_text(rows(unigram, p)), dim=-1).mean(0), dim=-1) for p in prompts])
        paths = sorted(images, key=lambda path: path.rsplit("/")[-1])
        image = F.normalize(model.encode_image(torch.stack([images[path] for path in paths])), dim=-1)
    scores = image @ text.T
    best = scores.topk(2, dim=1)
    margins = best.values[:, 0] - best.values[:, 1]
    print("classes predicted:", torch.bincount(best.indices[:, 0], minlength=len(names)).tolist())
    names = [path.rsplit("/")[-1] for path in paths]
    expected = {
        "predictions": dict(zip(names, best.indices[:, 0].tolist())),
        # Two classes are so near that the order of fp32 sums decides.
        "undecided": [name for name, margin in zip(names, margins) if margin < 1e-5],
    }
    print("undecided:", expected["undecided"])
    (OUT / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
