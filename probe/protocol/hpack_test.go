package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// FuzzHPACK: blocks of headers, which share a table, are the same fields as with
// x/net's decoder, or are refused by both. It takes greater numbers than fit in
// 31 bits, which nothing here has.
func FuzzHPACK(f *testing.F) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, h := range []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "content-type", Value: "application/grpc"}, {Name: "a", Value: strings.Repeat("b", 200)}, {Name: "secret", Value: "x", Sensitive: true},
		{Name: "a", Value: strings.Repeat("b", 200)}, {Name: "large", Value: strings.Repeat("\x01", 3000)}, {Name: "large", Value: strings.Repeat("c", 3000)}, {Name: "", Value: ""}} {
		enc.WriteField(h)
	}
	f.Add(b.Bytes(), 20)
	f.Add(b.Bytes(), 300)
	enc.SetMaxDynamicTableSize(100)
	enc.WriteField(hpack.HeaderField{Name: "x", Value: "y"})
	f.Add(b.Bytes(), b.Len()-6)
	for _, block := range []string{"\x80", "\xbe", "\xff\xff\xff\xff\x7f", "\x20\x88", "\x3f\xe1\x1f", "\x3f\xe2\x1f", "\x88\x3f\xe1\x1f", "\x00\x81\xff\x01a", "\x00\x84\xff\xff\xff\xff\x00", "\x00\x81\x07\x00", "\x40\x01a\x01b\xbe\x20", "\x0f", "\x00\x7f\x80\x01", "\x10\x01a\x01b"} {
		f.Add([]byte(block), len(block)/2)
		f.Add([]byte(block), len(block))
	}
	f.Fuzz(func(t *testing.T, sent []byte, at int) {
		at = min(max(at, 0), len(sent))
		own := hpackDecoder{limit: maxTable}
		var want []hpack.HeaderField
		library := hpack.NewDecoder(maxTable, func(h hpack.HeaderField) { want = append(want, h) })
		for _, block := range [][]byte{sent[:at], sent[at:]} {
			var got []field
			want = nil
			err := own.decode(block, func(f field) error { got = append(got, f); return nil })
			_, wantErr := library.Write(block)
			if wantErr = errors.Join(wantErr, library.Close()); wantErr != nil && err == nil {
				t.Fatalf("%q: %s, want %v", block, fieldTexts(got), wantErr)
			}
			if err != nil {
				if wantErr == nil && !bytes.Contains(block, []byte{0xff}) && !bytes.Contains(block, []byte{0x7f}) && !bytes.Contains(block, []byte{0x0f}) && !bytes.Contains(block, []byte{0x1f}) && !bytes.Contains(block, []byte{0x3f}) {
					t.Fatalf("%q: %v, want %s", block, err, libraryFieldTexts(want))
				}
				return
			}
			if fieldTexts(got) != libraryFieldTexts(want) {
				t.Fatalf("%q: %s, want %s", block, fieldTexts(got), libraryFieldTexts(want))
			}
		}
	})
}

// Every byte has the code of the RFC, and what the client writes is read.
func TestHPACKStrings(t *testing.T) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
		for _, text := range []string{string([]byte{byte(b)}), string(all)} {
			if got, ok := huffman(hpack.AppendHuffmanString(nil, text)); !ok || got != text {
				t.Fatalf("%q: %q, %t", text, got, ok)
			}
		}
	}
	var block []byte
	sent := []field{{":method", "GET", false}, {"a", strings.Repeat("b", 126), false}, {"c", strings.Repeat("d", 127), true}, {strings.Repeat("e", 300), "", false}}
	for _, f := range sent {
		block = appendField(block, f)
	}
	got, err := hpack.NewDecoder(maxTable, nil).DecodeFull(block)
	if err != nil || libraryFieldTexts(got) != fieldTexts(sent) {
		t.Errorf("%s, %v", libraryFieldTexts(got), err)
	}
}

// The table holds no more than was agreed on: what is older is forgotten.
func TestHPACKTableIsBounded(t *testing.T) {
	d := hpackDecoder{limit: maxTable}
	take := func(field) error { return nil }
	indexed := func(name, value string) []byte {
		block := appendField(nil, field{name: name, value: value})
		block[0] = 0x40
		return block
	}
	for range 100 {
		must(t, d.decode(indexed("a", strings.Repeat("b", 1500)), take))
	}
	if d.size > maxTable || len(d.table) != 2 {
		t.Errorf("%d fields, %d bytes", len(d.table), d.size)
	}
	must(t, d.decode([]byte{0x80 | 63}, take)) // the older of the two
	if err := d.decode([]byte{0x80 | 64}, take); err != errHPACK {
		t.Error(err)
	}
	must(t, d.decode(indexed("large", strings.Repeat("c", maxTable)), take))
	if d.size != 0 || len(d.table) != 0 {
		t.Errorf("%d fields, %d bytes", len(d.table), d.size)
	}
}
