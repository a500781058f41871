from nginx:1.29
# want no-healthcheck
healthcheck none
