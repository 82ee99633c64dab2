// Package checksum computes the checksum of a record's line and spells it as the
// line's last member. The checksum is CRC-32C over all bytes before that member:
//
//	{"kind":"event",…,"seq":17,"crc":"fa2aaeff"}
//	└────── summed ──────────┘└── the tail ────┘
package checksum

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	// Name is the name of the member.
	Name = "crc"
	// TailStart is what stands before the eight digits.
	TailStart = `,"` + Name + `":"`
	// TailLen is the length of the tail.
	TailLen = len(TailStart) + digitsLen + len(tailEnd)

	digitsLen = 8
	tailEnd   = `"}`
)

// castagnoli is the table of CRC-32C, which the standard library computes with
// the processor's own instruction where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of returns the checksum of b.
func Of(b []byte) uint32 { return crc32.Update(0, castagnoli, b) }

// Extend returns the checksum of the bytes that sum is of, followed by b.
func Extend(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// AppendTail appends the tail of a line whose other bytes have this checksum.
func AppendTail(dst []byte, sum uint32) []byte {
	dst = append(dst, TailStart...)
	dst = binary.BigEndian.AppendUint64(dst, spellDigits(sum))
	return append(dst, tailEnd...)
}

// Spells reports whether eight characters are the digits of sum, in lower case.
func Spells(digits []byte, sum uint32) bool {
	return binary.BigEndian.Uint64(digits) == spellDigits(sum)
}

// HasTail reports whether the TailLen bytes of tail have the form of a tail. The
// digits may be any characters.
func HasTail(tail []byte) bool {
	return string(tail[:len(TailStart)]) == TailStart && string(tail[len(TailStart)+digitsLen:]) == tailEnd
}

// spellDigits returns the eight lower-case hexadecimal digits of v, the first in the
// highest byte.
func spellDigits(v uint32) uint64 {
	const eachByte = 0x0101010101010101
	// Spread the eight halves of bytes over eight bytes.
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	// A byte from 10 on overflows into its bit 4 and becomes a letter.
	letters := (x + eachByte*6) >> 4 & eachByte
	return x + eachByte*'0' + letters*('a'-'0'-10)
}
