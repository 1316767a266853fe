package config

import (
	"fmt"
	"strings"
)

// FieldError is what is wrong with one setting.
type FieldError struct {
	// Path of the field, as users write it: vchs[2].vsphere.datastore.
	Path string
	// Problem says what is wrong, with the value where that helps.
	Problem string
}

// Error names the field first.
func (e FieldError) Error() string { return e.Path + ": " + e.Problem }

// Errors are all that is wrong with settings. [errors.As] finds them in what Parse and Check return.
type Errors []FieldError

// Error has all of them in one line.
func (e Errors) Error() string {
	texts := make([]string, 0, len(e))
	for _, one := range e {
		texts = append(texts, one.Error())
	}
	return strings.Join(texts, "; ")
}

// err is nil where nothing is wrong.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// problems collects what is wrong below a path.
type problems struct {
	at  string
	all *Errors
}

func newProblems(at string) problems { return problems{at: at, all: &Errors{}} }

// below are the problems of a field. The same list takes them.
func (p problems) below(field string) problems { return problems{at: join(p.at, field), all: p.all} }

// add says what is wrong with a field; an empty field is the path itself.
func (p problems) add(field, format string, args ...any) {
	*p.all = append(*p.all, FieldError{Path: join(p.at, field), Problem: fmt.Sprintf(format, args...)})
}

// addError says it where there is an error.
func (p problems) addError(field string, err error) {
	if err != nil {
		p.add(field, "%v", err)
	}
}

func join(path, field string) string {
	switch {
	case path == "":
		return field
	case field == "", strings.HasPrefix(field, "["), strings.HasSuffix(path, " "):
		return path + field
	}
	return path + "." + field
}

// Wrong are the Errors of one field that others than Check find wrong.
func Wrong(path string, err error) error { return Errors{{Path: path, Problem: err.Error()}} }
