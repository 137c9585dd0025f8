# The image of every role: one binary, told apart by its arguments.
#
#   docker build --tag dts:0.1.0 .
#
# Without a network: put the wheels of requirements/image.txt and requirements/build.txt into build/wheels
# (`make wheels`) and add --build-arg PIP_NO_INDEX=1.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG PIP_NO_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_FIND_LINKS=/src/locked
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/dts
COPY requirements build/wheel[s] /src/locked/
RUN /tools/bin/pip install --quiet --require-hashes --requirement /src/locked/build.txt \
    && /tools/bin/pip --python /opt/dts/bin/python install --quiet --require-hashes --requirement /src/locked/image.txt
COPY pyproject.toml README.md LICENSE /src/
COPY proto /src/proto
COPY migrations /src/migrations
COPY src /src/src
RUN /tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /tmp/wheel /src \
    && /tools/bin/pip --python /opt/dts/bin/python install --quiet --no-deps --no-index /tmp/wheel/*.whl

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="dts" \
      org.opencontainers.image.description="A distributed task scheduler for Docker Swarm" \
      org.opencontainers.image.licenses="MIT"
RUN echo 'dts:x:10001:10001:dts:/var/lib/dts:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'dts:x:10001:' >> /etc/group \
    && mkdir -p /var/lib/dts && chown 10001:0 /var/lib/dts && chmod 0770 /var/lib/dts
COPY --from=build /opt/dts /opt/dts
ENV PATH=/opt/dts/bin:$PATH DTS_DATA=/var/lib/dts PYTHONDONTWRITEBYTECODE=1
# The executor alone runs as root, without capabilities: it needs its node's engine. stack.yml says so.
USER dts
# Every role serves its health on this port where --http says so, as stack.yml does.
# A process whose loop stands still ends by itself; this one is patient with a machine that is busy.
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=6 CMD ["dts", "probe"]
ENTRYPOINT ["dts"]
CMD ["--help"]
