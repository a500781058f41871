package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// known is what is known of a public image, from its public Dockerfile or the
// documentation of who makes it, as read in November 2026. An entry says only
// what holds for every tag that it matches: a wrong entry is a false error.
type known struct {
	// name is the repository without its registry; the Docker Official Images
	// have no owner. A pattern ends in *.
	name string
	// tags matches the tags that the entry is about; empty for all.
	tags string
	// lacks are programs that the image has not: sh, curl, wget.
	lacks string
	// health is HealthNone for an image without a HEALTHCHECK, HealthOfImage
	// for one that has its own, HealthUnseen where that is not known.
	health Health
}

const (
	noTools = "sh curl wget" // nothing but the program
	noFetch = "curl wget"
	noCurl  = "curl" // busybox brings a wget
)

// knownImages is the list. The first entry that matches counts. The Docker
// Official Images have no HEALTHCHECK, by their own policy.
var knownImages = []known{
	{"scratch", "", noTools, HealthNone},
	{"distroless/*", "debug", noCurl, HealthNone},
	{"distroless/*", "", noTools, HealthNone},
	{"chainguard/static", "", noTools, HealthNone},

	// Vector stores and models.
	{"ollama/ollama", "rocm", "", HealthNone},
	{"ollama/ollama", "", noFetch, HealthNone},
	{"qdrant/qdrant", "", noFetch, HealthNone},
	{"chromadb/chroma", `^(1\..*|latest)$`, noFetch, HealthNone},
	{"semitechnologies/weaviate", "", noCurl, HealthNone},

	// Programs in an image of their own.
	{"traefik/whoami", "", noTools, HealthNone},
	{"cloudflare/cloudflared", "", noTools, HealthNone},
	{"otel/opentelemetry-collector", "", noTools, HealthNone},
	{"otel/opentelemetry-collector-contrib", "", noTools, HealthNone},
	{"portainer/portainer-ce", "alpine", noCurl, HealthNone},
	{"portainer/portainer-ce", "", noTools, HealthNone},
	{"nats", "alpine", noCurl, HealthNone},
	{"nats", "windows|nano", "", HealthUnseen},
	{"nats", "", noTools, HealthNone},
	{"keycloak/keycloak", `^(2[2-9]|latest)`, noFetch, HealthNone},
	{"prom/prometheus", "distroless", noTools, HealthNone},
	{"prom/prometheus", "", noCurl, HealthNone},
	{"prom/alertmanager", "distroless", noTools, HealthNone},
	{"prom/alertmanager", "", noCurl, HealthNone},
	{"prom/node-exporter", "distroless", noTools, HealthNone},
	{"prom/node-exporter", "", noCurl, HealthNone},
	{"dotnet/aspnet", "azurelinux|mariner|nanoserver|windows", "", HealthNone},
	{"dotnet/aspnet", "chiseled|distroless", noTools, HealthNone},
	{"dotnet/aspnet", "alpine", noCurl, HealthNone},
	{"dotnet/aspnet", `^([89]|1[0-9])\.0`, noFetch, HealthNone},

	// Images with a HEALTHCHECK of their own.
	{"cadvisor/cadvisor", "", noCurl, HealthOfImage},
	{"vaultwarden/server", "", "", HealthOfImage},
	{"louislam/uptime-kuma", "", "", HealthOfImage},
	{"pihole/pihole", "", "", HealthOfImage},
	{"jellyfin/jellyfin", "", "", HealthOfImage},
	{"plexinc/pms-docker", "", "", HealthOfImage},
	{"gitlab/gitlab-ce", "", "", HealthOfImage},
	{"gitlab/gitlab-ee", "", "", HealthOfImage},
	{"axllent/mailpit", "", "", HealthOfImage},
	{"mintplexlabs/anythingllm", "", "", HealthOfImage},
	{"open-webui/open-webui", "", "", HealthOfImage},
	{"immich-app/immich-server", "", "", HealthOfImage},
	{"immich-app/immich-machine-learning", "", "", HealthOfImage},
	{"apache/superset", "", "", HealthOfImage},

	// Docker Official Images.
	{"alpine", "", noCurl, HealthNone},
	{"busybox", "", noCurl, HealthNone},
	{"debian", "", noFetch, HealthNone},
	{"ubuntu", "", noFetch, HealthNone},
	{"python", "slim", noFetch, HealthNone},
	{"python", "alpine", noCurl, HealthNone},
	{"node", "slim", noFetch, HealthNone},
	{"node", "alpine", noCurl, HealthNone},
	{"postgres", "alpine", noCurl, HealthNone},
	{"postgres", "", noFetch, HealthNone},
	{"redis", "alpine", noCurl, HealthNone},
	{"redis", "", noFetch, HealthNone},
	{"memcached", "alpine", noCurl, HealthNone},
	{"memcached", "", noFetch, HealthNone},
	{"registry", "", noCurl, HealthNone},
	{"caddy", "windows", "", HealthNone},
	{"caddy", "", noCurl, HealthNone},
	{"traefik", "windows|nano", "", HealthNone},
	{"traefik", `^(v?[23]|latest)`, noCurl, HealthNone},
	{"adminer", "", "", HealthNone},
	{"cassandra", "", "", HealthNone},
	{"couchdb", "", "", HealthNone},
	{"drupal", "", "", HealthNone},
	{"eclipse-mosquitto", "", "", HealthNone},
	{"eclipse-temurin", "", "", HealthNone},
	{"elasticsearch", "", "", HealthNone},
	{"ghost", "", "", HealthNone},
	{"golang", "", "", HealthNone},
	{"gradle", "", "", HealthNone},
	{"haproxy", "", "", HealthNone},
	{"httpd", "", "", HealthNone},
	{"influxdb", "", "", HealthNone},
	{"joomla", "", "", HealthNone},
	{"kibana", "", "", HealthNone},
	{"mariadb", "", "", HealthNone},
	{"matomo", "", "", HealthNone},
	{"maven", "", "", HealthNone},
	{"mongo", "", "", HealthNone},
	{"mongo-express", "", "", HealthNone},
	{"mysql", "", "", HealthNone},
	{"neo4j", "", "", HealthNone},
	{"nextcloud", "", "", HealthNone},
	{"nginx", "", "", HealthNone},
	{"node", "", "", HealthNone},
	{"php", "", "", HealthNone},
	{"phpmyadmin", "", "", HealthNone},
	{"python", "", "", HealthNone},
	{"rabbitmq", "", "", HealthNone},
	{"ruby", "", "", HealthNone},
	{"rust", "", "", HealthNone},
	{"solr", "", "", HealthNone},
	{"tomcat", "", "", HealthNone},
	{"wordpress", "", "", HealthNone},
	{"zookeeper", "", "", HealthNone},
}

// splitImage parts an image's name into repository and tag; a digest alone is
// no tag. Of a repository with an owner the registry is left out, as mirrors
// keep the rest.
func splitImage(image string) (name, tag string) {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", ""
	}
	name = reference.FamiliarName(ref)
	if path := reference.Path(ref); strings.Contains(path, "/") && !strings.HasPrefix(path, "library/") {
		name = path
	}
	if tagged, ok := ref.(reference.Tagged); ok {
		return name, tagged.Tag()
	}
	if reference.IsNameOnly(ref) {
		tag = "latest"
	}
	return name, tag
}

// lookUp finds what is known of an image.
func lookUp(image string) (known, bool) {
	name, tag := splitImage(image)
	for _, k := range knownImages {
		if prefix, ok := strings.CutSuffix(k.name, "*"); ok && !strings.HasPrefix(name, prefix) || !ok && name != k.name {
			continue
		}
		if k.tags == "" || tag != "" && regexp.MustCompile(k.tags).MatchString(tag) {
			return k, true
		}
	}
	// A mirror of distroless, or an image made of it, has its name.
	if full := name + ":" + tag; strings.Contains(full, "distroless") && !strings.Contains(full, "debug") {
		return known{lacks: noTools}, true
	}
	return known{}, false
}

// healthOfImage says what is known of an image's own HEALTHCHECK. A Dockerfile
// that adds none leaves that of its base.
func healthOfImage(i Image) Health {
	if i.Name == "" {
		return HealthUnseen
	}
	k, _ := lookUp(i.Name)
	return k.health
}

// copiesMuch matches what may bring any program: whole folders, archives and
// scripts.
var copiesMuch = regexp.MustCompile(`(?i)\.sh\b|\.tar\b|\.tgz\b|rootfs|^\s*(?:copy|add)\b.*--from=\S+\s+(?:\S+\s+)*?/(?:\s|bin\b|usr\b|sbin\b|lib\b|nix\b|opt\b)|^\s*(?:copy|add)\s.*\s(?:/|/usr/|/usr/bin/?|/bin/?|/usr/local/bin/?)\s*$|\bapk\b.*\$|\bapt(?:-get)?\b.*\$`)

// mount notes that something is mounted there, which may be a program.
func (i *Image) mount(path string) {
	if slices.Contains([]string{"/", "/bin", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin", "/sbin", "/usr/sbin"}, "/"+strings.Trim(path, "/")) {
		path = "/busybox"
	}
	i.Steps = append(i.Steps, "mount "+path)
}

// lacks says whether an image has not got a program, as far as that is known.
func (i Image) lacks(tool string) bool {
	k, ok := lookUp(i.Name)
	if !ok || i.Name == "" || !strings.Contains(" "+k.lacks+" ", " "+tool+" ") {
		return false
	}
	for _, step := range i.Steps {
		if strings.Contains(step, tool) || strings.Contains(step, "busybox") || copiesMuch.MatchString(step) {
			return false
		}
	}
	return true
}
