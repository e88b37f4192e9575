package access

// Tests hash passwords thousands of times faster; the parameters stand in the hash.
func init() {
	usual = argon{64, 1, 1}
	nobody = hashPassword("")
}
