# The server of docs/serve.md, with one model inside and no network needed:
#   docker build --build-arg MODEL=mobilenet --tag car-or-truck .
#   docker run --rm --publish 127.0.0.1:5001:5001 car-or-truck
FROM python:3.12.11-slim-bookworm

# Every package is that of the lock file, by its hash.
COPY requirements.lock /opt/requirements.lock
RUN python -m venv /opt/venv \
  && /opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --requirement /opt/requirements.lock \
  && useradd --system --uid 10001 server

WORKDIR /app
COPY stages stages
ARG MODEL=mobilenet
COPY data/models/${MODEL}.npz model.npz

# MLflow does not start without a home folder; a user of `docker run --user` may have none.
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
EXPOSE 5001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5001/ping', timeout=4)"]
ENTRYPOINT ["python", "-m", "stages", "serve", "--model", "model.npz", "--host", "0.0.0.0", "--port", "5001"]
