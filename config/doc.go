// Package config has the settings of a process and of its virtual container hosts, once: flags, files and the objects of a
// cluster fill the same structs.
//
//	settings, err := config.Parse(text) // an unknown key is refused
//	if err == nil {
//		settings.SetDefaults()
//		err = settings.Check() // vchs[2].vsphere.datastore: missing
//	}
//
// [Node] is a process: where its state is, how it reaches registries, what it keeps of logs and images. [VCH] is one virtual
// container host with its node; it is the spec of a VirtualContainerHost too, so its comments are the descriptions in the CRD
// and its markers the rules. [Entry] is a VCH with its name, as a file has it.
//
// Each struct sets its defaults and checks itself. A check looks only at the settings: those who use them look at the host or at
// vCenter. Errors name fields by their paths ([FieldError]), so that a command can name the flag instead.
//
// +kubebuilder:object:generate=true
package config
