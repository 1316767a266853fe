// Package credentialprovider gets credentials for images from programs, as a kubelet does: each is named in a
// CredentialProviderConfig (kubelet.config.k8s.io/v1), reads a CredentialProviderRequest from its standard input and writes a
// CredentialProviderResponse (credentialprovider.kubelet.k8s.io/v1) to its standard output.
//
//	providers, err := credentialprovider.Open("/etc/vic/credentials.yaml", "/usr/libexec/credentials")
//	...
//	auth, err := providers.Lookup(ctx, "registry.example/team/app:1")
//
// What a program returns is for the whole node, and is kept in memory for as long as the program says. Tokens of service
// accounts (tokenAttributes) are not handed to programs; a configuration that asks for that is refused.
//
// No error of this package quotes what a program wrote to its standard output, since that holds passwords.
package credentialprovider
