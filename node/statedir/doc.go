// Package statedir knows what is where in a state directory, and keeps two processes from using one.
//
//	state, err := statedir.Open(path) // ErrInUse while another process has it
//	defer state.Close()
//	store, err := persona.Open(persona.Config{Dir: state.Images()})
//
// A process that serves several nodes gives each a directory of its own inside ([Dir.VCHOf]). [At] names a directory for those
// who only look into it.
package statedir
