package protocol

import (
	"errors"
	"fmt"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// Pgvector makes the check for pgvector://…[?table=[schema.]name&index=]: Postgres,
// the extension vector is installed, and the table answers. index=true wants
// every vector index of the table, or of the database, to be valid; index=NAME
// wants that one to be.
func Pgvector(t target.Target, o Options) (probe.Func, error) {
	query := "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
	q := t.URL.Query()
	table, index := q.Get("table"), q.Get("index")
	if q.Has("index") && index == "" {
		return nil, errors.New("index= is empty: want true, or the name of an index")
	}
	if index != "" {
		query += "; " + indexQuery(table, index)
	}
	if table != "" {
		query += "; SELECT 1 FROM " + quoteTable(table) + " LIMIT 1"
	}
	p, err := newPostgres(t, o, []string{"table", "index"}, query, func(answers [][]string) (string, error) {
		if len(answers) == 0 || len(answers[0]) == 0 {
			return "", errors.New(`the extension "vector" is not installed in this database (CREATE EXTENSION vector)`)
		}
		text := "vector " + answers[0][0]
		if index != "" {
			of, err := judgeIndexes(strings.Join(answers[1], ""))
			if err != nil {
				return "", err
			}
			text += ", " + of
		}
		if table != "" {
			text += ", table " + table + " answers"
		}
		return text, nil
	})
	if err != nil {
		return nil, err
	}
	return p.run, nil
}

// vectorMethods are the access methods of vector indexes: pgvector's own, and
// pgvectorscale's.
const vectorMethods = "('hnsw', 'ivfflat', 'diskann')"

// indexQuery answers in one text: none, or valid, building or invalid with the
// names of the indexes. An index is invalid while CREATE INDEX CONCURRENTLY
// builds it, and for good when that has failed: queries do not use it then.
func indexQuery(table, index string) string {
	// What REINDEX CONCURRENTLY builds beside an index is no query's business.
	where := "a.amname IN " + vectorMethods + " AND c.relname !~ '_cc(new|old)[0-9]*$'"
	if index != "true" {
		where = "c.relname = " + quoteText(index)
	}
	if table != "" {
		where += " AND i.indrelid = " + quoteText(quoteTable(table)) + "::regclass"
	}
	const bad = "FILTER (WHERE NOT (i.indisvalid AND i.indisready))"
	return "SELECT CASE WHEN count(*) = 0 THEN 'none' WHEN bool_and(i.indisvalid AND i.indisready) THEN 'valid ' || string_agg(c.relname, ', ')" +
		" WHEN bool_and(EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.relid = i.indrelid)) " + bad +
		" THEN 'building ' || string_agg(c.relname, ', ') " + bad +
		" ELSE 'invalid ' || string_agg(c.relname, ', ') " + bad + " END" +
		" FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam WHERE " + where
}

// judgeIndexes reads the answer to indexQuery.
func judgeIndexes(answer string) (string, error) {
	state, names, _ := strings.Cut(answer, " ")
	switch names = probe.Ellipsis(names, 200); state {
	case "valid":
		return "index " + names + " is valid", nil
	case "none":
		return "", probe.WithClass(errors.New("no such index (index=)"), probe.Config)
	case "building":
		return "", probe.WithClass(fmt.Errorf("the index %q is being built", names), probe.Starting)
	}
	return "", probe.WithClass(fmt.Errorf("the index %q is not valid: queries read the whole table (REINDEX INDEX CONCURRENTLY)", names), probe.Config)
}

// quoteTable quotes schema.name as identifiers.
func quoteTable(table string) string {
	parts := strings.Split(table, ".")
	for i, p := range parts {
		parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
	}
	return strings.Join(parts, ".")
}

// quoteText quotes a string literal, whatever standard_conforming_strings says.
func quoteText(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
