# The jobledger binary, and the libraries it needs, on a small Debian.
#
#     docker build -t jobledger . && docker run --rm jobledger --help

FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpq-dev libhiredis-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Dependencies first: they change less often than the sources.
COPY Package.* ./
RUN swift package resolve
COPY . .
RUN swift build -c release --product jobledger --static-swift-stdlib \
    && install -D "$(swift build -c release --show-bin-path)/jobledger" /out/jobledger

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpq5 libhiredis0.14 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/jobledger --shell /usr/sbin/nologin jobledger
COPY --from=build /out/jobledger /usr/local/bin/jobledger
USER jobledger
WORKDIR /var/lib/jobledger
ENTRYPOINT ["jobledger"]
