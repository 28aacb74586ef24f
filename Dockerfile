# radio-eval on a GPU runner: the wheel of this checkout beside PyTorch's own CUDA wheels.
#
#   docker build -t radio-eval .
#   docker run --gpus all -v $PWD/data:/data -v radio-eval-home:/home/radio radio-eval imagenet --model radio_v2.5-b --data /data/imagenet
#
# Debian 12 on both sides: its glibc (2.36) is the oldest that the binary will start on.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip g++ binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make libtorch && LIBTORCH=/src/.libtorch/cpu/torch python3 scripts/build-wheel.py --out /wheels

FROM python:3.12-slim-bookworm
# OpenMP of the binary; libtorch's own libraries come with the torch wheel.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels \
    && useradd --create-home radio
USER radio
WORKDIR /home/radio
# Weights, caches and results: mount a volume here to keep them.
ENV RADIO_EVAL_HOME=/home/radio/.radio-eval
ENTRYPOINT ["radio-eval"]
CMD ["--help"]
