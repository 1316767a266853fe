// Package cli has what the commands of vic share: flags that fill settings, forms of results, and mistakes of users.
//
//	cmd := &cobra.Command{…}
//	settings := cli.NewSettings(cmd.Flags(), config.DefaultNode())
//	settings.Registries()
//	err := settings.Name(settings.Node.CheckProcess()) // --insecure-registry: …
//
// It knows no command, and commands do not know each other; package root puts them together.
package cli
