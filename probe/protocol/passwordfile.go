package protocol

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// maxPasswordFile bounds the file that password-file= names, in bytes.
const maxPasswordFile = 64 << 10

// make makes the check of a target, whose secret may be in a file.
func (s Scheme) make(t target.Target, o Options) (probe.Func, error) {
	file, rest, given, err := t.Take("password-file")
	if err != nil {
		return nil, err
	}
	if !given {
		return s.New(t, o)
	}
	if !path.IsAbs(file) {
		return nil, &target.Misuse{Problem: "password-file= is no absolute path", Hint: s.exampleSecret(t)}
	}
	if err := s.takesSecret(rest); err != nil {
		return nil, err
	}
	// The words are judged now, with a stand-in; the file is read when the check
	// runs, where one that hangs or is missing is a failed check.
	if _, err := s.New(s.withSecret(rest, "stand-in"), o); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (probe.Finding, error) {
		secret, err := readPassword(file)
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageAuth, "password-file %q: %s", file, err)
		}
		run, err := s.New(s.withSecret(rest, secret), o)
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageAuth, "with the password from %q: %s", file, err)
		}
		return run(ctx)
	}, nil
}

// exampleSecret is what to write.
func (s Scheme) exampleSecret(t target.Target) string {
	user := ""
	if s.Secret == userPassword {
		user = "user@"
	}
	return t.URL.Scheme + "://" + user + "host#password-file=/run/secrets/password"
}

// takesSecret returns an error where a target has no place for a secret, or has
// one already.
func (s Scheme) takesSecret(t target.Target) error {
	if s.Secret == noSecret {
		return fmt.Errorf("a %s target takes no password", t.URL.Scheme)
	}
	if s.Secret == userPassword && (t.URL.User == nil || t.URL.User.Username() == "") {
		return &target.Misuse{Problem: "password-file= needs the user that it belongs to", Hint: s.exampleSecret(t)}
	}
	given := t.URL.Query().Has("password") || t.URL.Query().Has(s.Secret)
	if u := t.URL.User; u != nil {
		pw, _ := u.Password()
		given = given || pw != ""
	}
	if given {
		return &target.Misuse{Problem: "the password is given twice", Hint: "leave out that of the URL, or password-file="}
	}
	return nil
}

// withSecret is the target with its secret where the scheme has it.
func (s Scheme) withSecret(t target.Target, secret string) target.Target {
	u := *t.URL
	t.URL = &u
	if s.Secret == password || s.Secret == userPassword || u.User != nil {
		u.User = url.UserPassword(u.User.Username(), secret)
		t.Secrets.AddUser(u.User)
		return t
	}
	q := u.Query()
	q.Set(s.Secret, secret)
	u.RawQuery = q.Encode()
	t.Secrets.Add(secret)
	return t
}

// readPassword reads a file that holds a password and nothing else.
func readPassword(file string) (string, error) {
	text, err := target.ReadBounded(file, maxPasswordFile)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	switch {
	case secret == "":
		return "", errors.New("the file is empty")
	case strings.ContainsAny(secret, "\r\n\x00"):
		return "", errors.New("the file holds more than one line")
	}
	return secret, nil
}
