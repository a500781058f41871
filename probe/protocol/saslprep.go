package protocol

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// saslPrep writes a password as SASLprep does (RFC 4013, 2): blanks of all
// kinds as a space, invisible characters left out, then NFKC. What it forbids is
// sent as it is: PostgreSQL has stored it so. PostgreSQL takes U+200B, which is
// in both tables, for a blank, looks for what is forbidden before NFKC, and
// leaves no password empty; MongoDB's drivers do none of these.
func saslPrep(pw string, postgres bool) string {
	if !strings.ContainsFunc(pw, func(r rune) bool { return r > unicode.MaxASCII }) {
		return pw
	}
	mapped := strings.Map(func(r rune) rune {
		switch {
		case postgres && r == 0x200B:
			return ' '
		case r == 0xAD, r == 0x34F, r == 0x1806, r >= 0x180B && r <= 0x180D, r >= 0x200B && r <= 0x200D, r == 0x2060,
			r >= 0xFE00 && r <= 0xFE0F, r == 0xFEFF: // RFC 3454, table B.1
			return -1
		case unicode.Is(unicode.Zs, r): // table C.1.2
			return ' '
		}
		return r
	}, pw)
	out := norm.NFKC.String(mapped)
	if !postgres {
		mapped = out
	} else if mapped == "" {
		return pw
	}
	if forbidden := runesOf(prepForbidden); strings.ContainsFunc(mapped, forbidden) {
		return pw
	}
	// What is written from the right has nothing from the left in it, and begins
	// and ends with a letter of its own (RFC 3454, 6).
	if fromRight := runesOf(prepFromRight); strings.ContainsFunc(mapped, fromRight) {
		all := []rune(mapped)
		if !fromRight(all[0]) || !fromRight(all[len(all)-1]) || strings.ContainsFunc(mapped, runesOf(prepFromLeft)) {
			return pw
		}
	}
	return out
}

// runesOf says of runes whether they are in one of the tables below.
func runesOf(table string) func(rune) bool {
	edges := edgesOf(table)
	return func(r rune) bool {
		in := false
		for _, edge := range edges {
			if r < edge {
				break
			}
			in = !in
		}
		return in
	}
}

// edgesOf reads a table: the lengths, by turns, of what is out of it and of what
// is in it.
func edgesOf(table string) (edges []rune) {
	lengths, _ := base64.StdEncoding.DecodeString(table)
	for at := rune(0); len(lengths) > 0; {
		n, size := binary.Uvarint(lengths)
		lengths = lengths[size:]
		at += rune(n)
		edges = append(edges, at)
	}
	return edges
}

// The tables of RFC 3454 that SASLprep forbids (A.1, C.1.2 and C.2.1 to C.9),
// and those of its rule for writing directions (D.1 and D.2). The library that
// has them builds 0.3 MB before main.
const (
	prepForbidden = "" +
		"ACBfIoADARIcXgI/EUACDhAQBAIEAQMBBQcBAQEUASwBJwmHAQFHASYCAgYQISYCBwEnAQIGEQEXAQoLGwUFFwEOAQMBARoFFgp9ARACDwEOAh0DGzUyzwIDATUCEgIFAxkQAwEIAgIC" +
		"FgEHAQEDBAIBAQcCAgIDCQEEAgEFAhUHAQIGBAICFgEHAQIBAgECAgEBBQQCAgMLBAEBBw8MAwEHAQEBAwEWAQcBAgEFAgoBAwEDAgEPAQUKEQMBCAICAhYBBwECAgQCCAMCAgMIAgQC" +
		"AQMECxECAQYDAwEEAwIBAQECAwIDAwMIAQMEBQMDAQQJAQ8MDgMBCAEDARcBCgEFBAcBAwEEBwIJAgQKEgIBCAEDARcBCgEFBAcBAwEEBwIHAQECBAoSAgEIAQMBFwEQBAYCAwEECQEI" +
		"AgQKEgIBEgMYAQkBAQIHAwEEBgEBAQgSAww6BB0lAgEBAgIBAQIBBgQBBwEDAQEBAQICAQ0BAwIFAQEBBgIKAgIiSAEiBhsECAEkAQ8CATAiAQUBAgEHAwQGGkYmCikCAQRaBUQFUgYH" +
		"AT8BAQEEAgcBAQEEAicBAQEEAh8BAQEEAgcBAQEEAgcBBwEXAR8BAQEEAgcBJwETBhwjVQz2BAocA1EPDQEHCxcJFAwNAQMBAgxdAwoWDgIKBlgIKtYKnAEEWgYWAgYCJgIGAggBAQEB" +
		"AQEBHwI1AQ8BDgIGARMCAwEJERgIIwQBGAICGxESHhsVOwIPBzEMvwQxJxkLFZ8BAZQCAgIBZQIKdwQBBAIcASMBAQEEAwEBBwI0AxgBDhEcBJAGgAcaAVkM1gErPwFWAmcFKAReASg4" +
		"LQMkDSsDTQQvAXcEYwIfAbYzSqajAVqNCQM3uQ6kV9xCrgICO5UBBwwFBRoBBQEBAQIBAgFsIe0CEEACNigNAxAQBAwXAgoBEwEEBAUBhwEEvgEDBgIGAgYCAwMHAQeRBh8BBAwbtQEm" +
		"AiaylwP2AQonA0kIY6IEVQFHAQICAQICAgQBDAEBAQQBAgFBAQQCCAEHARwBBAEFAQEDBwHSAgSiAgQygFDXzQKpogGeBOKLOA=="
	prepFromRight = "" +
		"vgsBAQECAQwbBQUmAQMBARoFCyIDAWUHAQcCEwUBDgIBARtTJgsB3TABjbYDAQEKAQ0BBQEBAQIBAgFsIesCEkACNigNcwUBhwE="
	prepFromLeft = "" +
		"QRoGGi8BCgEEAQUXAR8BqQIBEhxeAgkCBw4CDgUJAYsBAQsBAQMBAQEUASwBJgqDAQdFASYCAgYQISYCBwEnAQH5BgEBNQMECAQDAQcKAg0RAgEIAgICFgEHAQEDBAQDBgICAgoBBAIB" +
		"AwQMAgcKBgQCAhYBBwECAQIBAgQDGAQBAQcKAgMOAQEHAQEBAwEWAQcBAgEFAwQIAQECAwEPAQUKEgIBCAICAhYBBwECAgQDAgEBBgICAgoBBAIBAwQLEgEBBgMDAQQDAgEBAQIDAgMD" +
		"AwgBAwQCAQIDAwEDCgEPDA4DAQgBAwEXAQoBBQcEGwIEChICAQgBAwEXAQoBBQQBAQUCAgECCQIHAQECBAoSAgEIAQMBFwEQBAMFAwEDCgEIAgQKEgIBEgMYAQkBAQIHCAMGCBIDDDAB" +
		"AgwHCA0lAgEBAgIBAQIBBgQBBwEDAQEBAQICAQQBAgkBAgUBAQkKAgIiGAIbAQEBAQUKASIUAQUBAgQyCAEGAgEwIgEFAQIBAQQBBgEHGEgmCikCAQRaBUQFUgYHAT8BAQEEAgcBAQEE" +
		"AicBAQEEAh8BAQEEAgcBAQEEAgcBBwEXAR8BAQEEAgcBJwETBhwjVQz2BAoaBVEPDQEEDhIDAgkSDg0BAw83BwgBAgsHAQEDCiYKBlgIKdcKnAEEWgYWAgYCJgIGAggBAQEBAQEBHwI1" +
		"AQcBAQMDAQcDBAIGBA0FAwEHEQFiAQ0BggEBBAECCgEBAwUGAQEBAQEBBAEDAQcDAwUFFiSyA0UaAYYCTpsWAxkJBwUCBQRWBgMBWgEEBSgEXgEoOC0DJBwcAzIPDAQvAXcEYwIfAbYz" +
		"SqajAVqNCfMOpFdcrkQCO5UBBwwFiQgaBhoLWQMGAgYCBgIDowYfAQQMG7UBJgImspcD9gEKJwM9AwkQAgceBDCiBFUBRwECAgECAgIEAQwBAQEEAQIBQQEEAggBBwEcAQQBBQEBAwcB" +
		"0gIEogK2UNfNAqmiAZ4E4osw/v8DAv7/Aw=="
)
