# MLflow's server for compose.yaml, with what it needs for PostgreSQL and S3. Versions are those of
# requirements.lock and requirements.scale.lock.
FROM python:3.12.11-slim-bookworm
RUN python -m pip install --no-cache-dir mlflow==3.17.2 'psycopg[binary]==3.3.9' boto3==1.43.117 \
  && useradd --system --create-home --uid 10001 server
USER 10001
