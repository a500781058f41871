// Package protocol holds the checks of targets, one file per scheme. It knows
// how a healthy server of each kind answers, and neither flags nor reports.
package protocol

import (
	"errors"
	"slices"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Options are what the command line says of all targets.
type Options struct {
	UserAgent string
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
}

// Schemes is THE registration table. A new kind of check is a file of this
// package, its test, and a line here.
var Schemes = []Scheme{
	{"http", HTTP},
	{"https", HTTP},
	{"unix", Unix},
	{"tcp", TCP},
	{"tls", TCP},
	{"udp", UDP},
	{"dns", DNS},
	{"file", File},
	{"pidfile", Pidfile},
	{"exec", Exec},
	{"grpc", GRPC},
	{"grpcs", GRPC},
	{"postgres", Postgres},
	{"postgresql", Postgres},
	{"mysql", MySQL},
	{"mariadb", MySQL},
	{"redis", Redis},
	{"rediss", Redis},
	{"valkey", Redis},
	{"valkeys", Redis},
	{"mongodb", MongoDB},
	{"mongodb+srv", MongoDB},
	{"qdrant", Qdrant},
	{"qdrants", Qdrant},
	{"chroma", Chroma},
	{"chromas", Chroma},
	{"weaviate", Weaviate},
	{"weaviates", Weaviate},
	{"milvus", Milvus},
	{"milvuss", Milvus},
	{"pgvector", Pgvector},
	{"elasticsearch", Elasticsearch},
	{"elasticsearchs", Elasticsearch},
	{"opensearch", Elasticsearch},
	{"opensearchs", Elasticsearch},
	{"ollama", Ollama},
	{"ollamas", Ollama},
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
			return build(s.New, t, o)
		}
	}
	return nil, ErrScheme
}
