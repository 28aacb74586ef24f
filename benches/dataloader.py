"""Python's side of benches/dataloader.sh: makes the images, and times torchvision's DataLoader.

    dataloader.py make FOLDER [SOURCE]   N 500x375 JPEGs of quality 90 under FOLDER/images; from the
                                         photographs in SOURCE, else generated with their spectrum
    dataloader.py run FOLDER             images per second of a DataLoader with 2 workers
"""
import os, sys, time
import numpy as np
from PIL import Image

COUNT, WIDTH, HEIGHT, BATCH = 1024, 500, 375, 64


def photograph(rng):
    """Noise with the 1/f amplitude spectrum of natural images, in correlated channels."""
    fy, fx = np.meshgrid(np.fft.fftfreq(HEIGHT), np.fft.rfftfreq(WIDTH), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(fx, fy), 1 / WIDTH)
    planes = np.stack([np.fft.irfft2(np.fft.rfft2(rng.standard_normal((HEIGHT, WIDTH))) * amplitude, (HEIGHT, WIDTH)) for _ in range(3)], -1)
    planes = planes[..., :1] + 0.3 * planes
    return np.clip(planes / planes.std() * 55 + 120, 0, 255).astype(np.uint8)


def make(folder, source=None):
    target = os.path.join(folder, "images", "all")
    os.makedirs(target, exist_ok=True)
    rng = np.random.default_rng(0)
    if source:
        names = sorted(n for n in os.listdir(source) if n.lower().endswith((".jpg", ".jpeg")))
        images = [Image.open(os.path.join(source, n)).convert("RGB").resize((WIDTH, HEIGHT), Image.BICUBIC) for n in names]
    else:
        images = [Image.fromarray(photograph(rng)) for _ in range(32)]
    for i in range(COUNT):
        images[i % len(images)].save(os.path.join(target, f"{i:05d}.jpg"), quality=90)


def run(folder):
    import torch
    from torchvision import datasets, transforms
    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])
    data = datasets.ImageFolder(os.path.join(folder, "images"), transform)
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, num_workers=2, persistent_workers=True)
    for _ in loader:  # starts the workers and fills the page cache
        pass
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        count = sum(len(pixels) for pixels, _ in loader)
        rates.append(count / (time.perf_counter() - start))
    print(f"{sorted(rates)[1]:.1f}")


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](*sys.argv[2:])
