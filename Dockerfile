# Two stages: build the server, then run it as a user of its own with its data in a volume.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY catalog catalog
COPY engine engine
COPY server server
COPY tests tests
RUN cargo build --release --locked && cp target/release/tidemark /tidemark

FROM debian:12-slim
RUN useradd --system --uid 999 --home-dir /data tidemark && install -d -o tidemark -g tidemark -m 700 /data
COPY --from=build /tidemark /usr/local/bin/tidemark
USER tidemark
VOLUME /data
EXPOSE 5433 8086
# Everybody who reaches the ports can connect, so a new data directory needs a password:
# docker run -e TIDEMARK_PASSWORD=… -p 5433:5433 -p 8086:8086 tidemark
ENV TIDEMARK_DATA_DIR=/data/tidemark TIDEMARK_PG_LISTEN=0.0.0.0:5433 TIDEMARK_HTTP_LISTEN=0.0.0.0:8086
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/tidemark"]
