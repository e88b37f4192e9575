package bus

// CheckFiles is for benchmarks.
var CheckFiles = checkFiles
