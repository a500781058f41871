package target

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Expiry is how many days a server's certificate must still be valid, and what
// was seen of it. Its methods take a nil one, which judges nothing.
type Expiry struct {
	Warn, Fail int // days; 0 is off

	mu      sync.Mutex
	seen    bool
	warning string
}

// ParseExpiry reads 14, which warns below 14 days, 14?7, which also fails below
// 7, and ?7, which only fails.
func ParseExpiry(s string) (*Expiry, error) {
	warn, fail, both := strings.Cut(s, "?")
	var e Expiry
	var err1, err2 error
	if warn != "" || !both {
		e.Warn, err1 = days(warn)
	}
	if both {
		e.Fail, err2 = days(fail)
	}
	if err1 != nil || err2 != nil || e.Warn > 0 && e.Fail > e.Warn {
		return nil, errors.New("want days such as 14, or 14?7 to fail below 7")
	}
	return &e, nil
}

func days(s string) (int, error) {
	const most = 10_000
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, errors.New("no number of days")
	}
	return n, nil
}

// Fresh is a copy that has seen nothing.
func (e *Expiry) Fresh() *Expiry {
	if e == nil {
		return nil
	}
	return &Expiry{Warn: e.Warn, Fail: e.Fail}
}

// Watch makes handshakes with a configuration that another library has made
// judge the certificate, once it is verified; a nil one is for none.
func (e *Expiry) Watch(cfg *tls.Config) {
	if cfg != nil {
		watch(cfg, nil, e)
	}
}

// see judges the certificates of one handshake.
func (e *Expiry) see(chains [][]*x509.Certificate, sent []*x509.Certificate) error {
	if e == nil || len(sent) == 0 {
		return nil
	}
	if len(chains) == 0 {
		chains = [][]*x509.Certificate{sent[:1]}
	}
	fail, warning := e.judge(time.Now(), validUntil(chains))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen = true; warning != "" {
		e.warning = warning
	}
	if fail != "" {
		return &tls.CertificateVerificationError{UnverifiedCertificates: sent, Err: expiring(fail)}
	}
	return nil
}

// Said is the warning about the certificates that were seen; empty for none.
func (e *Expiry) Said() (warning string, seen bool) {
	if e == nil {
		return "", false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.warning, e.seen
}

// expiring is a certificate that is valid for too short a time.
type expiring string

func (e expiring) Error() string { return string(e) }

func (e *Expiry) judge(now, end time.Time) (fail, warning string) {
	const day = 24 * time.Hour
	left := end.Sub(now)
	verb, in := "expires", fmt.Sprintf(", in %d days", left/day)
	switch {
	case left < 0: // whoever accepts any certificate accepts that
		verb, in = "expired", ""
	case left < 2*day:
		in = fmt.Sprintf(", in %d hours", left/time.Hour)
	}
	text := fmt.Sprintf("certificate %s on %s%s, want at least ", verb, end.UTC().Format("2006-01-02 15:04 MST"), in)
	switch {
	case e.Fail > 0 && left < time.Duration(e.Fail)*day:
		return fmt.Sprintf("%s%d days", text, e.Fail), ""
	case e.Warn > 0 && left < time.Duration(e.Warn)*day:
		return "", fmt.Sprintf("%s%d days", text, e.Warn)
	}
	return "", ""
}

// validUntil is when the first certificate of a chain expires: of several that
// lead to an authority, the one that lasts longest. Of none that was verified,
// the server's own is meant.
func validUntil(chains [][]*x509.Certificate) (end time.Time) {
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		if first.After(end) {
			end = first
		}
	}
	return end
}
