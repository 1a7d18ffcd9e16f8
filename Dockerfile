# Two stages: the toolchain builds, a slim image runs, as a user of its own.
FROM swift:6.3-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libpq-dev libcurl4-openssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Package.swift ./
COPY Sources Sources
COPY Tests Tests
COPY migrations migrations
COPY openapi openapi
COPY Scripts/stamp Scripts/stamp
# docker build --build-arg COMMIT=$(git rev-parse --short=12 HEAD) .
ARG COMMIT=unknown
RUN COMMIT=$COMMIT Scripts/stamp \
    && swift build -c release --static-swift-stdlib --product breakwater \
    && install -D "$(swift build -c release --static-swift-stdlib --show-bin-path)/breakwater" /out/breakwater

FROM debian:bookworm-slim
# PostgreSQL itself is only for a start without DATABASE_URL.
RUN apt-get update && apt-get install -y --no-install-recommends libpq5 libcurl4 ca-certificates postgresql-15 \
    && rm -rf /var/lib/apt/lists/* && useradd --system --create-home --home-dir /var/lib/breakwater breakwater
COPY --from=build /out/breakwater /usr/local/bin/breakwater
USER breakwater
ENV BREAKWATER_LISTEN=0.0.0.0:8080 BREAKWATER_DATA=/var/lib/breakwater
VOLUME /var/lib/breakwater
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s CMD ["breakwater", "health"]
ENTRYPOINT ["breakwater"]
CMD ["serve"]
