# The portal as an image: no compiler, no shell needed, a user that is not root, nothing written but to /tmp.
# What it needs at run time: the settings of docs/operators.md, and a volume for /tmp where the root is read-only.
# --build-arg BASE=python@sha256:… builds on the very bytes that you looked at.
ARG BASE=python:3.13-slim-bookworm
FROM ${BASE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/osmo-portal
COPY requirements.txt ./
RUN python -m venv .venv && .venv/bin/python -m pip install --quiet --require-hashes -r requirements.txt
COPY manage.py ./
COPY osmo_portal osmo_portal
COPY profiles profiles
COPY tokens tokens
COPY templates templates
COPY static static
# The key signs nothing: collecting files only wants that there is one.
RUN SECRET_KEY=build ENV_FILE=/dev/null .venv/bin/python manage.py collectstatic --noinput --skip-checks --verbosity 0 \
    && .venv/bin/python -m compileall -q osmo_portal profiles tokens

FROM ${BASE}

RUN groupadd --system --gid 10001 osmo-portal \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin osmo-portal
COPY --from=build /opt/osmo-portal /opt/osmo-portal
WORKDIR /opt/osmo-portal
ENV PATH=/opt/osmo-portal/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ENV_FILE=/dev/null BIND=0.0.0.0:8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=4).close()"]
CMD ["gunicorn", "-c", "osmo_portal/gunicorn.conf.py", "osmo_portal.wsgi"]
