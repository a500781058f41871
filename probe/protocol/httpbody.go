package protocol

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"

	"healthcheck/probe"
)

// plainBody is an answer's body without its compression, which a server may
// choose that was not asked for it. What stands around the compressed bytes is
// skipped and its checksum left unread: compress/gzip would cost 8 kB.
func plainBody(resp *response) (io.Reader, error) {
	encoding := strings.ToLower(strings.TrimSpace(resp.header.Get("Content-Encoding")))
	r := bufio.NewReader(resp.body)
	var err error
	switch encoding {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		err = skipGzip(r)
	case "deflate":
		// RFC 9110 means what RFC 1950 wraps, some servers send what is inside.
		var head []byte
		if head, err = r.Peek(2); err == nil && head[0]&0xf == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
			r.Discard(2)
		}
	default:
		return nil, fmt.Errorf("its encoding %q is not supported", probe.Cut(encoding, 20))
	}
	return flate.NewReader(r), err
}

// skipGzip reads the header of RFC 1952.
func skipGzip(r *bufio.Reader) error {
	const hasCRC, hasExtra, hasName, hasComment = 2, 4, 8, 16
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}) {
		return errors.New("it is not gzip, as its encoding says")
	}
	flags, skip := head[3], 0
	if flags&hasExtra != 0 {
		if _, err := io.ReadFull(r, head[:2]); err != nil {
			return err
		}
		skip = int(head[0]) | int(head[1])<<8
	}
	_, err := r.Discard(skip)
	for _, flag := range []byte{hasName, hasComment} {
		for b := byte(1); flags&flag != 0 && b != 0 && err == nil; {
			b, err = r.ReadByte()
		}
	}
	if flags&hasCRC != 0 && err == nil {
		_, err = r.Discard(2)
	}
	return err
}
