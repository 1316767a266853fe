package persona

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const (
	// maxQuoted is how many of a registry's errors an error quotes, maxQuotedBytes how much of each message, or of a URL.
	maxQuoted      = 3
	maxQuotedBytes = 256
	// maxErrorBytes is the most that Pull says: pods show it in their statuses.
	maxErrorBytes = 2 << 10
)

// refusedError is an answer that is not what was asked for. It says what a registry says in the form of registries, and nothing
// else that came: under the name of an image a pod can ask whoever listens, and its events show the error.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return e.text }

// told makes errors of the registry library and of net/http ours, which tell no more than they should.
func told(err error) error {
	if both := several(err); len(both) > 1 {
		https, plain := both[0], both[1]
		if errors.Is(plain, errPlainHTTP) && unreachable(https) {
			return told(https) // plain HTTP would have been no better
		}
		return errors.Join(told(https), told(plain))
	}
	if refused, ok := errors.AsType[*transport.Error](err); ok {
		return &refusedError{status: refused.StatusCode, text: asked(refused.Request) + reason(refused)}
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		// Where a registry has sent us, the query is often a signature that lets everyone in.
		return fmt.Errorf("%s %s: %w", failed.Op, withoutQuery(failed.URL), toldCause(failed.Err))
	}
	return err
}

func toldCause(err error) error {
	if strings.Contains(err.Error(), "Location header") {
		return errors.New("redirected to what is not a URL") // the cause would quote it
	}
	return told(err)
}

// several are the errors with HTTPS and with plain HTTP, where both were tried: the library has a list of them that can't be
// unwrapped.
func several(err error) []error {
	list := reflect.ValueOf(err)
	if list.Kind() != reflect.Slice || list.Len() != 2 {
		return nil
	}
	https, ok := reflect.TypeAssert[error](list.Index(0))
	http, too := reflect.TypeAssert[error](list.Index(1))
	if !ok || !too {
		return nil
	}
	return []error{https, http}
}

// briefError is an error of which strangers have written parts, in one line that is not long.
type briefError struct{ err error }

func (e briefError) Error() string {
	return quotable(strings.ReplaceAll(e.err.Error(), "\n", "; "), maxErrorBytes)
}
func (e briefError) Unwrap() error { return e.err }

// asked names a request, without what may be a secret.
func asked(r *http.Request) string {
	if r == nil {
		return ""
	}
	return r.Method + " " + withoutQuery(r.URL.String()) + ": "
}

func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "a registry's URL"
	}
	return quotable((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), maxQuotedBytes)
}

// errorCodes are those of registries (OCI distribution specification, "Error Codes").
var errorCodes = regexp.MustCompile(`^[A-Z][A-Z_]{1,63}$`)

// reason is what a registry says, or the status alone.
func reason(refused *transport.Error) string {
	var all []string
	for _, e := range refused.Errors {
		if errorCodes.MatchString(string(e.Code)) && len(all) < maxQuoted {
			all = append(all, string(e.Code)+": "+quotable(e.Message, maxQuotedBytes))
		}
	}
	if len(all) == 0 {
		return fmt.Sprintf("unexpected status code %d %s", refused.StatusCode, http.StatusText(refused.StatusCode))
	}
	return strings.Join(all, "; ")
}

// quotable is the beginning of what a stranger wrote, in one line.
func quotable(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
