# syntax=docker/dockerfile:1
# One image target per service: docker build --target imap -t posthorn/imap .
# Third-party packages are a layer of their own, so that a change in our code rebuilds only the last one.

FROM astral/uv:0.13.9 AS uv

FROM python:3.11-slim-bookworm AS base
ENV PATH=/opt/posthorn/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 posthorn \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/posthorn --create-home --shell /usr/sbin/nologin posthorn \
    && mkdir -p /etc/posthorn && chown posthorn:posthorn /var/lib/posthorn

FROM base AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PROJECT_ENVIRONMENT=/opt/posthorn \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY --parents libs/*/pyproject.toml services/*/pyproject.toml ./

FROM build AS build-smtp-in
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-workspace --package posthorn-smtp-in
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --package posthorn-smtp-in

FROM build AS build-smtp-out
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-workspace --package posthorn-smtp-out
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --package posthorn-smtp-out

FROM build AS build-imap
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-workspace --package posthorn-imap
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --package posthorn-imap

FROM build AS build-jmap
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-workspace --package posthorn-jmap
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --package posthorn-jmap

FROM build AS build-dav
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-install-workspace --package posthorn-dav
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --no-editable --package posthorn-dav

# The posthorn command (without the embedded parts) comes along here: accounts, migrations, cluster state.
FROM build AS build-maintenance
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-install-workspace --package posthorn-maintenance --package posthorn-ctl
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-editable --package posthorn-maintenance --package posthorn-ctl

FROM base AS runtime
USER posthorn
WORKDIR /var/lib/posthorn
ENV POSTHORN_CONFIG=/etc/posthorn/node.toml
EXPOSE 9090
STOPSIGNAL SIGTERM
# By the shell: a Python started every five seconds in each container would use more than some of the services do.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /health/ready HTTP/1.0\\r\\n\\r\\n' >&3 && read -r answer <&3 && [[ $answer == *' 200 '* ]]"]

FROM runtime AS smtp-in
COPY --from=build-smtp-in /opt/posthorn /opt/posthorn
EXPOSE 2525 2587 2465 2424
ENTRYPOINT ["posthorn-smtp-in"]

FROM runtime AS smtp-out
COPY --from=build-smtp-out /opt/posthorn /opt/posthorn
ENTRYPOINT ["posthorn-smtp-out"]

FROM runtime AS imap
COPY --from=build-imap /opt/posthorn /opt/posthorn
EXPOSE 2143 2993
ENTRYPOINT ["posthorn-imap"]

FROM runtime AS jmap
COPY --from=build-jmap /opt/posthorn /opt/posthorn
EXPOSE 8081
ENTRYPOINT ["posthorn-jmap"]

FROM runtime AS dav
COPY --from=build-dav /opt/posthorn /opt/posthorn
EXPOSE 8082
ENTRYPOINT ["posthorn-dav"]

FROM runtime AS maintenance
COPY --from=build-maintenance /opt/posthorn /opt/posthorn
EXPOSE 8083
ENTRYPOINT ["posthorn-maintenance"]
