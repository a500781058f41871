// Package protocol holds the checks of targets, one file per scheme. It knows
// how a healthy server of each kind answers, and neither flags nor reports.
package protocol

import (
	"errors"
	"slices"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/kept"
	"healthcheck/probe/target"
)

// Options are what the command line says of all targets.
type Options struct {
	UserAgent string
	// Kept, if set, is where a check keeps figures for the next run, which comes
	// after Interval. Container says which container they are of.
	Kept      func() kept.Dir
	Interval  time.Duration
	Container func() string
	// Proxy honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	Proxy bool
	TLS   target.TLSOptions
	HTTPOptions
}

// Scheme is one kind of check: what a target's URL begins with, and what makes
// the check of it.
type Scheme struct {
	Name string
	New  func(target.Target, Options) (probe.Func, error)
	// Secret is where the URL holds what password-file= names a file for.
	Secret string
}

// Where a URL holds its secret, if not in a parameter of that name.
const (
	noSecret     = ""
	userPassword = "user:" // behind a user, which the URL must have
	password     = ":"     // behind a user, or without one
)

// Schemes is THE registration table. A new kind of check is a file of this
// package, its test, and a line here.
var Schemes = []Scheme{
	{"http", HTTP, userPassword},
	{"https", HTTP, userPassword},
	{"unix", Unix, noSecret},
	{"tcp", TCP, noSecret},
	{"tls", TCP, noSecret},
	{"udp", UDP, noSecret},
	{"dns", DNS, noSecret},
	{"file", File, noSecret},
	{"pidfile", Pidfile, noSecret},
	{"exec", Exec, noSecret},
	{"grpc", GRPC, noSecret},
	{"grpcs", GRPC, noSecret},
	{"postgres", Postgres, password},
	{"postgresql", Postgres, password},
	{"mysql", MySQL, password},
	{"mariadb", MySQL, password},
	{"redis", Redis, password},
	{"rediss", Redis, password},
	{"redis+unix", Redis, password},
	{"valkey", Redis, password},
	{"valkeys", Redis, password},
	{"mongodb", MongoDB, userPassword},
	{"mongodb+srv", MongoDB, userPassword},
	{"memcached", Memcached, userPassword},
	{"nats", NATS, password},
	{"natss", NATS, password},
	{"mqtt", MQTT, userPassword},
	{"mqtts", MQTT, userPassword},
	{"amqp", AMQP, password},
	{"amqps", AMQP, password},
	{"kafka", Kafka, userPassword},
	{"kafkas", Kafka, userPassword},
	{"fastcgi", FastCGI, noSecret},
	{"qdrant", Qdrant, "api_key"},
	{"qdrants", Qdrant, "api_key"},
	{"chroma", Chroma, "token"},
	{"chromas", Chroma, "token"},
	{"weaviate", Weaviate, "api_key"},
	{"weaviates", Weaviate, "api_key"},
	{"milvus", Milvus, "token"},
	{"milvuss", Milvus, "token"},
	{"pgvector", Pgvector, password},
	{"elasticsearch", Elasticsearch, "api_key"},
	{"elasticsearchs", Elasticsearch, "api_key"},
	{"opensearch", Elasticsearch, "api_key"},
	{"opensearchs", Elasticsearch, "api_key"},
	{"ollama", Ollama, "api_key"},
	{"ollamas", Ollama, "api_key"},
	{"vllm", ModelServer, "api_key"},
	{"vllms", ModelServer, "api_key"},
	{"sglang", ModelServer, "api_key"},
	{"sglangs", ModelServer, "api_key"},
	{"llamacpp", ModelServer, "api_key"},
	{"llamacpps", ModelServer, "api_key"},
	{"triton", ModelServer, "api_key"},
	{"tritons", ModelServer, "api_key"},
	{"tgi", ModelServer, "api_key"},
	{"tgis", ModelServer, "api_key"},
	{"tei", ModelServer, "api_key"},
	{"teis", ModelServer, "api_key"},
	{"openai", ModelServer, "api_key"},
	{"openais", ModelServer, "api_key"},
	{"etcd", Etcd, noSecret},
	{"etcds", Etcd, noSecret},
	{"clickhouse", ClickHouse, userPassword},
	{"clickhouses", ClickHouse, userPassword},
	{"minio", MinIO, noSecret},
	{"minios", MinIO, noSecret},
	{"influxdb", InfluxDB, "token"},
	{"influxdbs", InfluxDB, "token"},
}

// ErrScheme is a scheme that the table lacks.
var ErrScheme = errors.New("the scheme is not supported")

// New makes the check of a target.
func New(t target.Target, o Options) (probe.Func, error) {
	name := t.URL.Scheme
	// SQLAlchemy's URLs name the driver, too: postgresql+psycopg2://.
	if slices.Contains([]string{"postgresql", "postgres", "mysql", "mariadb"}, base(t)) {
		name = base(t)
	}
	for _, s := range Schemes {
		if s.Name == name {
			return build(s.make, t, o)
		}
	}
	if hint := otherNames[name]; hint != "" {
		return nil, &target.Misuse{Problem: "the scheme goes by another name here", Hint: hint}
	}
	return nil, ErrScheme
}

const redisSocketHint = "a Redis socket is redis+unix:///run/redis.sock?db=0"

// otherNames are what other programs call a scheme, and what to write here.
var otherNames = map[string]string{
	"redis+socket": redisSocketHint, // Celery's
	"redis-socket": redisSocketHint, // Lettuce's
	"valkey+unix":  redisSocketHint,
	"llama.cpp":    "llama.cpp's server is llamacpp://host:8080/MODEL",
	"rabbitmq":     "RabbitMQ is asked by amqp://user:password@host/vhost",
	"fcgi":         "FastCGI is fastcgi://host:9000/ping",
}
