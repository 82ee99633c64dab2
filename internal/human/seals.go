package human

// Seals says of how many records a checksum vouches for their identity: "12 sealed,
// 3 unsealed", and ", 1 unverified" where there are such.
func Seals(sealed, unsealed, unverified int64) string {
	text := Count(sealed) + " sealed, " + Count(unsealed) + " unsealed"
	if unverified > 0 {
		text += ", " + Count(unverified) + " unverified"
	}
	return text
}

// EndedLines says of how many files the last line got its newline: "; the last line of
// 1 file got its newline". For none it is empty.
func EndedLines(files int64) string {
	if files == 0 {
		return ""
	}
	return "; the last line of " + Plural(files, "file", "files") + " got its newline"
}
