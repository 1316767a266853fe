package environment

import "strings"

// Expand replaces each $(NAME) in s by lookup's answer, and leaves it as it is where lookup knows nothing. $$ is one
// dollar sign, so $$(NAME) becomes $(NAME). What replaces a reference is not expanded again.
func Expand(s string, lookup func(name string) (string, bool)) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		s = expandOne(&b, rest, lookup)
	}
}

// expandOne writes what stands for the dollar sign before s, and returns the part of s behind it.
func expandOne(b *strings.Builder, s string, lookup func(string) (string, bool)) string {
	if rest, ok := strings.CutPrefix(s, "$"); ok {
		b.WriteByte('$')
		return rest
	}
	inner, ok := strings.CutPrefix(s, "(")
	if !ok {
		b.WriteByte('$')
		return s
	}
	name, rest, closed := strings.Cut(inner, ")")
	if !closed {
		b.WriteString("$(")
		return inner
	}
	if value, known := lookup(name); known {
		b.WriteString(value)
	} else {
		b.WriteString("$(" + name + ")")
	}
	return rest
}

// Lookup returns a function for Expand that knows the variables of env, each KEY=VALUE; the last of a name holds.
func Lookup(env []string) func(name string) (string, bool) {
	values := make(map[string]string, len(env))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
	}
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}
