from python:3.13-slim as app
run apt-get update && apt-get install -y curl
# want curl-without-fail
healthcheck --interval=10s --timeout=5s \
  # a comment inside
  cmd curl http://localhost/ \
  || exit 1
