package protocol

import "encoding/binary"

// wire reads the numbers and texts of a binary message one after the other. A
// message that ends too early is marked, and gives zeros from there on.
type wire struct {
	rest  []byte
	short bool
}

// take reads so many bytes.
//
// Inlined at each of its calls it would take 8 KB more.
//
//go:noinline
func (w *wire) take(n int) []byte {
	if n < 0 || n > len(w.rest) {
		w.short, w.rest = true, nil
		return nil
	}
	part := w.rest[:n]
	w.rest = w.rest[n:]
	return part
}

func (w *wire) uint8() uint8 {
	if b := w.take(1); b != nil {
		return b[0]
	}
	return 0
}

// uint16 reads a number of two bytes.
//
// Inlined at each of its calls it would take 2 KB more.
//
//go:noinline
func (w *wire) uint16() uint16 {
	if b := w.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// uint32 reads a number of four bytes.
//
// Inlined at each of its calls it would take 2 KB more.
//
//go:noinline
func (w *wire) uint32() uint32 {
	if b := w.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}
