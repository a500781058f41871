package protocol

import (
	"encoding/binary"
	"strings"
	"sync"
)

// HTTP/2's compression of headers (RFC 7541), of which x/net's package builds its
// tables before main.

// field is one field of a header; a secret one may enter no table.
type field struct {
	name, value string
	secret      bool
}

// size is what a field counts for in a table and in a limit (RFC 7541, 4.1).
func (f field) size() int { return len(f.name) + len(f.value) + 32 }

// maxTable is the size of a decoder's table that a peer may use unless it is told
// otherwise.
const maxTable = 4096

// hpackDecoder holds the table that a peer's headers fill.
type hpackDecoder struct {
	table []field // the newest last
	size  int
	limit int
}

// decode reads a whole block, field by field; it is told by take where to stop.
func (d *hpackDecoder) decode(block []byte, take func(field) error) error {
	r := &hpackReader{rest: block}
	for first := true; len(r.rest) > 0; {
		b := r.rest[0]
		var f field
		switch {
		case b&0xe0 == 0x20: // a new size of the table, before all fields
			n := r.number(5)
			if r.bad || n > maxTable || !first && d.size > 0 {
				return errHPACK
			}
			d.limit = int(n)
			d.evict()
			continue
		case b&0x80 != 0:
			f = d.at(r.number(7), r)
		case b&0x40 != 0:
			f = d.literal(6, r)
		default:
			f = d.literal(4, r)
			f.secret = b&0x10 != 0
		}
		if r.bad {
			return errHPACK
		}
		if b&0xc0 == 0x40 {
			d.table = append(d.table, f)
			d.size += f.size()
			d.evict()
		}
		first = false
		if err := take(f); err != nil {
			return err
		}
	}
	return nil
}

// evict drops the oldest fields for which there is no room.
func (d *hpackDecoder) evict() {
	for d.size > d.limit {
		d.size -= d.table[0].size()
		d.table = d.table[1:]
	}
}

// at is the field that has that number in the tables.
func (d *hpackDecoder) at(n uint64, r *hpackReader) field {
	static := hpackStatic()
	switch i := int(n) - len(static) - 1; {
	case n == 0 || i >= len(d.table):
		r.bad = true
		return field{}
	case i < 0:
		return static[n-1]
	default:
		return d.table[len(d.table)-1-i]
	}
}

// literal reads a field whose name may be in the tables; its number has so many
// bits.
func (d *hpackDecoder) literal(bits int, r *hpackReader) (f field) {
	if n := r.number(bits); n > 0 {
		f.name = d.at(n, r).name
	} else {
		f.name = r.text()
	}
	f.value = r.text()
	return f
}

const errHPACK = http2Broken("its headers cannot be decompressed")

// hpackReader reads the parts of a block; bad is set by what is none.
type hpackReader struct {
	rest []byte
	bad  bool
}

// number reads a number that begins with so many bits of a byte.
func (r *hpackReader) number(bits int) uint64 {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	top := uint64(1)<<bits - 1
	n := uint64(r.rest[0]) & top
	r.rest = r.rest[1:]
	if n < top {
		return n
	}
	more, size := binary.Uvarint(r.rest)
	if size <= 0 || more > 1<<31 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n + more
}

// text reads a string.
func (r *hpackReader) text() string {
	coded := len(r.rest) > 0 && r.rest[0]&0x80 != 0
	n := r.number(7)
	if r.bad || n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	if !coded {
		return string(text)
	}
	plain, ok := huffman(text)
	r.bad = r.bad || !ok
	return plain
}

// appendField encodes a field as a literal with no code and no table, which any
// peer reads.
func appendField(b []byte, f field) []byte {
	kind := byte(0)
	if f.secret {
		kind = 0x10
	}
	b = append(b, kind)
	for _, text := range []string{f.name, f.value} {
		if n := len(text); n < 127 {
			b = append(b, byte(n))
		} else {
			b = binary.AppendUvarint(append(b, 127), uint64(n-127))
		}
		b = append(b, text...)
	}
	return b
}

// hpackStatic is the table of RFC 7541, appendix A.
var hpackStatic = sync.OnceValue(func() (all []field) {
	for entry := range strings.SplitSeq(staticFields, "|") {
		name, value, _ := strings.Cut(entry, " ")
		all = append(all, field{name: name, value: value})
	}
	return all
})

const staticFields = ":authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|:status" +
	" 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|accept-language|accept" +
	"-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|content-encoding|co" +
	"ntent-language|content-length|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-m" +
	"atch|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|proxy-authent" +
	"icate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|strict-transport-security|transfer-encodin" +
	"g|user-agent|vary|via|www-authenticate"

// huffmanLengths are the lengths of the codes of RFC 7541, appendix B, byte by
// byte: A is 5 bits. Codes of a length follow one another in the order of their
// bytes, and those that are longer behind them, so that the lengths are all.
const huffmanLengths = "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCC" +
	"CCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVS" +
	"VWVVWWWWWXWWWWWV"

// huffmanCodes are the bytes in the order of their codes, and how many there are
// of each length.
var huffmanCodes = sync.OnceValues(func() (order []byte, counts [31]int) {
	for length := range counts {
		for b := range len(huffmanLengths) {
			if int(huffmanLengths[b]-'A')+5 == length {
				order = append(order, byte(b))
				counts[length]++
			}
		}
	}
	return order, counts
})

// huffman decodes a string: its last byte is filled up with ones, which are the
// beginning of the code that ends it.
func huffman(coded []byte) (string, bool) {
	order, counts := huffmanCodes()
	var out []byte
	code, first, index, length, ones := 0, 0, 0, 0, true
	for _, b := range coded {
		for bit := 7; bit >= 0; bit-- {
			one := int(b>>bit) & 1
			code, length, ones = code<<1|one, length+1, ones && one == 1
			first <<= 1
			if length >= len(counts) {
				return "", false
			}
			if n := counts[length]; code-first < n {
				out = append(out, order[index+code-first])
				code, first, index, length, ones = 0, 0, 0, 0, true
				continue
			} else {
				first, index = first+n, index+n
			}
		}
	}
	return string(out), length < 8 && ones
}
