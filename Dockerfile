# luna as an image: `luna serve` by default, or any other command. See docs/container.md.
#
#   docker build -t luna .                              for CPUs
#   docker build -t luna:cuda --build-arg TORCH=cuda .  for NVIDIA cards
#
# BASE and CPU_INDEX are for places that have mirrors of their own.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG TORCH=cpu
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY constraints.txt ./
# torch comes first and in a layer of its own: it is most of the image, and it changes least.
# PyPI's build is the one for CUDA; --no-deps keeps the CPU index from serving anything else.
RUN python -m venv /opt/luna && \
    if [ "$TORCH" = cpu ]; then \
        /opt/luna/bin/pip install --no-cache-dir --no-deps --index-url "$CPU_INDEX" \
            "torch==$(sed -n 's/^torch==//p' constraints.txt)"; \
    else \
        /opt/luna/bin/pip install --no-cache-dir -c constraints.txt torch; \
    fi
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/luna/bin/pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM ${BASE}
COPY --from=build /opt/luna /opt/luna
# The root file system may be read-only: what libraries keep for themselves goes to /tmp.
ENV PATH=/opt/luna/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN install -d -m 700 -o 10001 -g 10001 /data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8765
# Healthy: the page answers, and the process that looks at scans lives.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import json, sys, urllib.request as r; sys.exit(not json.load(r.urlopen('http://127.0.0.1:8765/api/health', timeout=4))['worker'])"]
ENTRYPOINT ["luna"]
CMD ["serve", "--host", "0.0.0.0", "--token-file", "/run/secrets/luna-token", "--data", "/data"]
