package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxEntry bounds one entry of a list, in bytes.
const maxEntry = 4 << 20

var (
	errNoList   = errors.New("the answer is no list of objects")
	errTorn     = errors.New("the answer ends within the list")
	errTooLarge = errors.New("an entry of the list is too large")
	errNoJSON   = errors.New("an entry of the list is no JSON of the expected form")
)

// objects hands over the objects of a JSON array one by one, as they come. It
// holds one at a time, and what it hands over is overwritten by the next.
func objects(r io.Reader, each func([]byte) error) error {
	buf := make([]byte, 0, 64<<10)
	pos, begin := 0, -1 // what is read, and where the object began
	depth, quoted, escaped := 0, false, false
	opened, comma, done := false, false, false
	for {
		for ; pos < len(buf); pos++ {
			b := buf[pos]
			switch {
			case escaped:
				escaped = false
			case quoted:
				if b == '\\' {
					escaped = true
				} else if b == '"' {
					quoted = false
				} else if i := bytes.IndexAny(buf[pos:], `"\`); i > 0 {
					pos += i - 1
				} else if i < 0 {
					pos = len(buf) - 1
				}
			case begin >= 0:
				switch b {
				case '"':
					quoted = true
				case '{', '[':
					depth++
				case '}', ']':
					if depth--; depth == 0 {
						if err := each(buf[begin : pos+1]); err != nil {
							return err
						}
						begin, comma = -1, false
					}
				}
			case b == ' ' || b == '\n' || b == '\t' || b == '\r':
			case done:
				return errNoList
			case !opened && b == '[':
				opened, comma = true, true
			case opened && comma && b == '{':
				begin, depth = pos, 1
			case opened && !comma && b == ',':
				comma = true
			case opened && b == ']':
				done = true
			default:
				return errNoList
			}
		}
		if begin < 0 {
			buf, pos = buf[:0], 0
		} else if begin > 0 {
			n := copy(buf, buf[begin:])
			buf, pos, begin = buf[:n], pos-begin, 0
		}
		if len(buf) == cap(buf) {
			if len(buf) >= maxEntry {
				return errTooLarge
			}
			buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case n > 0: // the end, if it is one, comes again
		case errors.Is(err, io.EOF) && done:
			return nil
		case errors.Is(err, io.EOF):
			return errTorn
		case err != nil:
			return err
		}
	}
}

// scanner reads JSON whose form is known, and skips what is not asked for. What
// is null is as good as absent. After an error it reads nothing more.
type scanner struct {
	data []byte
	pos  int
	err  error
}

func (s *scanner) fail() { s.err, s.pos = errNoJSON, len(s.data) }

// end says whether all was read, and nothing else.
func (s *scanner) end() error {
	if s.err == nil && s.peek() != 0 {
		s.fail()
	}
	return s.err
}

// peek is the next byte that is no white space; 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch b := s.data[s.pos]; b {
		case ' ', '\n', '\t', '\r':
		default:
			return b
		}
	}
	return 0
}

// next takes one byte if it is the next.
func (s *scanner) next(b byte) bool {
	if s.peek() != b || s.pos == len(s.data) {
		return false
	}
	s.pos++
	return true
}

// null takes a null.
func (s *scanner) null() bool {
	if s.peek() == 'n' && bytes.HasPrefix(s.data[s.pos:], []byte("null")) {
		s.pos += len("null")
		return true
	}
	return false
}

// object calls field for each key, which must read the value.
func (s *scanner) object(field func(key string)) {
	if s.null() {
		return
	}
	if !s.next('{') {
		s.fail()
		return
	}
	for first := true; !s.next('}'); first = false {
		if !first && !s.next(',') || s.peek() != '"' {
			s.fail()
			return
		}
		key := s.text()
		if !s.next(':') {
			s.fail()
			return
		}
		if field(key); s.err != nil {
			return
		}
	}
}

// array calls element for each element, which must read it.
func (s *scanner) array(element func()) {
	if s.null() {
		return
	}
	if !s.next('[') {
		s.fail()
		return
	}
	for first := true; !s.next(']'); first = false {
		if !first && !s.next(',') {
			s.fail()
			return
		}
		if element(); s.err != nil {
			return
		}
	}
}

// text reads a string.
func (s *scanner) text() string {
	if s.null() {
		return ""
	}
	raw, plain := s.quoted()
	if s.err != nil {
		return ""
	}
	if plain {
		return string(raw[1 : len(raw)-1])
	}
	var out string
	if json.Unmarshal(raw, &out) != nil {
		s.fail()
	}
	return out
}

// quoted takes a string, and says whether its bytes are its text.
func (s *scanner) quoted() (raw []byte, plain bool) {
	if s.peek() != '"' {
		s.fail()
		return nil, false
	}
	begin := s.pos
	plain = true
	for i := begin + 1; i < len(s.data); i++ {
		switch b := s.data[i]; {
		case b == '"':
			s.pos = i + 1
			raw = s.data[begin:s.pos]
			return raw, plain && utf8.Valid(raw)
		case b == '\\':
			plain = false
			i++
		case b < ' ':
			s.fail()
			return nil, false
		}
	}
	s.fail()
	return nil, false
}

// skip passes over a value. Whether a number or a word is one it does not ask.
func (s *scanner) skip() {
	switch s.peek() {
	case '"':
		s.quoted()
	case '{':
		s.object(func(string) { s.skip() })
	case '[':
		s.array(s.skip)
	default:
		begin := s.pos
		for s.pos < len(s.data) {
			b := s.data[s.pos]
			if b != '+' && b != '-' && b != '.' && (b < '0' || b > '9') && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') {
				break
			}
			s.pos++
		}
		if s.pos == begin {
			s.fail()
		}
	}
}
