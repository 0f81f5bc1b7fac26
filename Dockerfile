# A static binary, and nothing else: no shell, no libc, nothing to patch.
FROM rust:1-alpine AS build
# ring compiles C and assembly.
RUN apk add --no-cache build-base
WORKDIR /src
# The dependencies in a layer of their own: a change in src does not build them again. The stand-ins for the
# benchmarks stay: they are never built, but Cargo.toml names them. build.rs makes manual pages, which nobody reads here.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches/relay benches/signaling && touch src/lib.rs \
    && echo 'fn main() {}' | tee build.rs src/main.rs benches/engine.rs benches/relay/main.rs > benches/signaling/main.rs \
    && cargo build --release --locked && rm -r src
COPY src src
COPY web web
# Newer than the stand-ins above, or cargo would keep what it built from them.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked

FROM scratch
COPY --from=build /src/target/release/setu /setu
# nobody: all ports are above 1024, but that of acme.listen, which is open only with acme.domains.
USER 65534:65534
# For a turn.toml: mount it here.
WORKDIR /etc/setu
EXPOSE 3001/tcp 3478/udp 3478/tcp 5349/tcp 5349/udp 49160-49200/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["/setu", "health"]
ENTRYPOINT ["/setu"]
CMD ["serve"]
