package declare

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadFiles reads files, and directories with all below them, in order of name.
func ReadFiles(stdin io.Reader, files []string) (docs []Located, mistakes MistakesError, err error) {
	read := func(name string, data []byte) {
		d, wrong := ParseFile(name, data)
		docs, mistakes = append(docs, d...), append(mistakes, wrong...)
	}
	for _, name := range files {
		if name == "-" {
			data, err := io.ReadAll(stdin)
			if err != nil {
				return nil, nil, err
			}
			read("stdin", data)
			continue
		}
		paths, err := declaredFiles(name)
		if err != nil {
			return nil, nil, err
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, nil, err
			}
			read(path, data)
		}
	}
	return docs, mistakes, nil
}

func declaredFiles(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var out []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != name && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path))) {
			out = append(out, path)
		}
		return nil
	})
	return out, err
}
