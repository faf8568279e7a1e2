# The same command as `make run`: python -m bot run. The database lives in the volume /data.
FROM python:3.11-slim

RUN useradd --create-home --uid 10001 threadline && install -d -o threadline /data
WORKDIR /app
COPY requirements.txt ./
# The pins are complete: pip is not to look for other releases.
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements.txt
COPY bot bot
COPY adapters adapters
COPY migrations migrations

USER threadline
ENV DATABASE_URL=sqlite:////data/threadline.db PYTHONUNBUFFERED=1
VOLUME /data
# Docker waits 10 s by default before it kills; answers under way may take DRAIN_SECONDS (25):
# run with `--stop-timeout 40`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]
