package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sockleak/sockleak/report"
)

// page is a file for --html. Nothing is written before there is a result, and an older file stays until then.
type page struct {
	name  string
	force bool
}

// newPage refuses a file that could not be written later; nil without a name.
func newPage(name string, force bool) (*page, error) {
	if name == "" {
		if force {
			return nil, hint(usage("--force without --html"), "--html FILE keeps the result as a page")
		}
		return nil, nil
	}
	if err := straight(name); err != nil {
		return nil, err
	}
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := writable(filepath.Dir(name)); err != nil {
			return nil, hint(fmt.Errorf("--html %q: %w", name, err), "its directory has to be there, and writable")
		}
	case err != nil:
		return nil, fmt.Errorf("--html %q: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, hint(usage("--html %q is no file", name), "give the name of a file that is to be made")
	case !force:
		return nil, existsError(name)
	case planted(name, info):
		return nil, plantedError(name)
	}
	return &page{name, force}, nil
}

func existsError(name string) error {
	return hint(usage("%q exists", name), "--force writes over it")
}

// write makes the file, for its user alone, or puts it into the place of the older one.
func (p *page) write(v report.Value, o report.Options) error {
	var text bytes.Buffer
	if err := report.Write(&text, "html", v, o); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p.name), ".sockleak-*.html") // mode 0600
	if err != nil {
		return fmt.Errorf("--html %q: %w", p.name, err)
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Close()); err == nil {
		err = p.rename(f.Name())
	}
	if err != nil {
		_ = os.Remove(f.Name()) // there is a worse error
		return err
	}
	return nil
}

// rename gives the whole file its name. Without force nothing that has got the name meanwhile is replaced.
func (p *page) rename(from string) error {
	if p.force {
		return os.Rename(from, p.name)
	}
	err := renameNew(from, p.name)
	switch {
	case errors.Is(err, fs.ErrExist):
		return existsError(p.name)
	case err != nil:
		return fmt.Errorf("--html %q: %w", p.name, err)
	}
	return nil
}

// linkNew gives a file a name that none has yet, by way of a second one.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}
