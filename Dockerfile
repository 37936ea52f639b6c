# An environment with everything that the project needs; docs/training.md has the commands.
FROM python:3.11-slim

# git: a run records its commit. Java: METEOR and COCO's tokenizer.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git default-jre-headless \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /workspace
# First what the environment is made from, so that a change of the code does not install it again. torch from
# PyPI brings CUDA with it; the machine needs NVIDIA's driver and container toolkit.
COPY requirements.txt requirements-xtuner.txt requirements-demo.txt requirements-search.txt ./
COPY tools/setup_env.sh tools/setup_env.sh
ENV VENV=/opt/venv
RUN bash tools/setup_env.sh \
    && /opt/venv/bin/pip install --no-cache-dir --requirement requirements-demo.txt --requirement requirements-search.txt
ENV PATH=/opt/venv/bin:$PATH

COPY . .
RUN pip install --no-deps --editable .
CMD ["bash"]
