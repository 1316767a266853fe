package keyring

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/persona"
)

// configFile is the part of Docker's config.json that holds credentials.
type configFile struct {
	Auths map[string]configEntry `json:"auths"`
}

// configEntry is what Docker keeps for one registry.
type configEntry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// AddConfigJSON adds what Docker's config.json holds, as in a secret of type kubernetes.io/dockerconfigjson. Holder is
// persona.Credentials.Holder of all of them.
func (k *Keyring) AddConfigJSON(b []byte, holder string) error {
	var f configFile
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("no configuration of Docker: %w", unquoted(err))
	}
	return k.addAll(f.Auths, holder)
}

// AddConfig adds what Docker's older .dockercfg holds, as in a secret of type kubernetes.io/dockercfg.
func (k *Keyring) AddConfig(b []byte, holder string) error {
	var entries map[string]configEntry
	if err := json.Unmarshal(b, &entries); err != nil {
		return fmt.Errorf("no configuration of Docker: %w", unquoted(err))
	}
	return k.addAll(entries, holder)
}

func (k *Keyring) addAll(entries map[string]configEntry, holder string) error {
	var bad badEntries
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		c, err := entries[key].credentials()
		if err == nil {
			c.Holder = holder
			err = k.Add(key, c)
		}
		bad.note(key, err)
	}
	return bad.err()
}

func (e configEntry) credentials() (persona.Credentials, error) {
	c := persona.Credentials{
		Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken,
	}
	if e.Auth == "" {
		return c, nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(e.Auth))
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimSpace(e.Auth))
	}
	if err != nil {
		return persona.Credentials{}, errors.New("auth is not base64")
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return persona.Credentials{}, errors.New("auth is not user:password in base64")
	}
	// Docker on Windows pads with zero bytes.
	c.Username, c.Password = user, strings.TrimRight(password, "\x00")
	return c, nil
}

// unquoted keeps of a JSON error where it was and not what was there.
func unquoted(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("it is not JSON at byte %d", syntax.Offset)
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("at byte %d there is a %s that does not belong there", kind.Offset, strings.Fields(kind.Value)[0])
	}
	return errors.New("it is not JSON")
}
