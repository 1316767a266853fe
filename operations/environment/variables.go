package environment

// variables are environment variables in the order in which their names first came.
type variables struct {
	names  []string
	values map[string]string
}

func newVariables() *variables { return &variables{values: map[string]string{}} }

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *variables) has(name string) bool {
	_, ok := v.values[name]
	return ok
}

// lookup returns a function for Expand over v and, behind it, weaker.
func (v *variables) lookup(weaker *variables) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if value, ok := v.values[name]; ok {
			return value, true
		}
		value, ok := weaker.values[name]
		return value, ok
	}
}
