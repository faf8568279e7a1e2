# The same command as `make run`: python -m bot run. An SQLite database lives in the volume /data.
#
# A version, not a digest: a digest would keep the system's security updates out. To pin a digest
# nevertheless: FROM python:3.11.14-slim-bookworm@sha256:…
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /build
# requirements-otel.txt has OpenTelemetry, too: see docs/operating.md.
ARG REQUIREMENTS=requirements.txt
COPY requirements*.txt ./
# The pins are complete, so pip must not look for other releases. Compiled here, because the
# container's file system may be read-only.
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r ${REQUIREMENTS} \
    && /venv/bin/python -m compileall -q /venv

FROM python:3.11.14-slim-bookworm
# A fixed number, so that Kubernetes can see that it is not root.
RUN useradd --create-home --uid 10001 threadline && install -d -m 700 -o threadline /data
COPY --from=build /venv /venv
WORKDIR /app
COPY bot bot
COPY adapters adapters
COPY migrations migrations
RUN /venv/bin/python -m compileall -q bot adapters

USER 10001
# In a container 127.0.0.1 is the container itself: there /healthz is enough for the check below. To
# reach the page, the API or Slack's HTTP mode from outside, publish the port and set
# HTTP_HOST=0.0.0.0, with HTTP_TOKENS for the page and the API.
# /tmp is writable also on a read-only root, whichever database there is.
ENV PATH=/venv/bin:$PATH DATABASE_URL=sqlite:////data/threadline.db HTTP_PORT=8080 \
    CONTROL_SOCKET=/tmp/threadline.sock \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
VOLUME /data
EXPOSE 8080
# An empty HTTP_PORT in an env file closes the port; the check then has nothing to query.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", "import os, urllib.request as u; port = os.environ.get('HTTP_PORT'); port and u.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=8)"]
# Docker waits 10 s by default before it kills; running answers may take DRAIN_SECONDS (25):
# run with `--stop-timeout 40`. Runs on a read-only root: `--read-only --tmpfs /tmp`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]
