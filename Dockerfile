# The image that others take the programs from:
#
#   docker build -t healthcheck .
#
#   COPY --from=healthcheck /healthcheck /healthcheck
#
# With --build-arg VERSION=v1.2.3 and the same Go its files are those of that
# release, byte by byte. CGO_ENABLED=0 asks GPUs through nvidia-smi; a build
# with NVML needs glibc in the image that it goes to.
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
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=$VERSION" -o /out/ ./cmd/healthcheck ./cmd/watchdog

FROM scratch
COPY --from=build /out/healthcheck /out/watchdog /
USER 65532:65532
ENTRYPOINT ["/healthcheck"]
