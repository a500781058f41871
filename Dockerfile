# The image that others take the programs from, and that the watchdog runs in:
#
#   docker build -t healthcheck .
#
#   COPY --from=healthcheck /healthcheck /healthcheck
#
# With --build-arg VERSION=v1.2.3 and the same Go its programs are those of
# that release, byte by byte. CGO_ENABLED=0 asks GPUs through nvidia-smi; a
# build with NVML needs glibc in the image that it goes to.
ARG BUILDER=golang:1.26-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY gpu gpu
COPY probe probe
COPY watchdog watchdog
ARG VERSION=
RUN mkdir -p /out/state && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=$VERSION" -o /out/ ./cmd/healthcheck ./cmd/watchdog ./cmd/demo

# An application, a vector store and a model server, for examples/compose.
FROM scratch AS stand-in
COPY --from=build /out/healthcheck /out/demo /
USER 65532:65532
ENTRYPOINT ["/demo"]

FROM scratch
COPY --from=build /out/healthcheck /out/watchdog /
# A volume there belongs to the user that the watchdog runs as.
COPY --from=build --chown=65532:65532 /out/state /var/lib/watchdog
USER 65532:65532
ENTRYPOINT ["/healthcheck"]
