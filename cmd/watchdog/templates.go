package main

import (
	"errors"
	"fmt"
	"strings"

	"healthcheck/cmd/flags"
	"healthcheck/probe"
	"healthcheck/watchdog/alert"
)

// newFormat reads the templates of title and text, which what names.
func newFormat(title, text string, what func(part string) string) (*alert.Format, error) {
	f, err := alert.NewFormat(title, text)
	if err == nil {
		return f, nil
	}
	part := "text"
	if errors.As(err, new(alert.TitleError)) {
		part = "title"
	}
	hint := "a template of Go, such as {{.Severity}}: {{.Service}} on {{.Host}}; docs/watchdog.md lists the fields"
	if field, ok := errors.AsType[alert.FieldError](err); ok {
		hint = "the fields are " + strings.Join(alert.FieldNames(), ", ")
		if near := flags.Nearest("."+field.Name, alert.FieldNames()); near != "" {
			hint = "did you mean " + near + "?"
		}
	}
	const most = 200
	return nil, usagef(hint, "%s: %s", what(part), probe.Ellipsis(probe.Clean(fmt.Sprint(err)), most))
}
