package testregistry

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"sync"
)

// BasicAuth returns a wrapper for Start that lets in clients that have the password.
func BasicAuth(user, password string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !signedIn(r, user, password) {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				refuse(w)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TokenAuth returns a wrapper for Start that lets in clients that have a token. The same server gives one for the
// password, at /token (distribution, "Token Authentication Specification").
func TokenAuth(user, password string) func(http.Handler) http.Handler {
	var mu sync.Mutex // guards tokens
	tokens := map[string]bool{}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case r.URL.Path == "/token" && signedIn(r, user, password):
				token := rand.Text()
				tokens["Bearer "+token] = true
				_ = json.NewEncoder(w).Encode(map[string]string{"token": token}) // to a client that may have gone
			case r.URL.Path == "/token":
				refuse(w)
			case !tokens[r.Header.Get("Authorization")]:
				scheme := "http"
				if r.TLS != nil {
					scheme = "https"
				}
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+scheme+"://"+r.Host+`/token",service="test"`)
				refuse(w)
			default:
				mu.Unlock()
				defer mu.Lock()
				next.ServeHTTP(w, r)
			}
		})
	}
}

func signedIn(r *http.Request, user, password string) bool {
	u, p, _ := r.BasicAuth()
	got, want := sha256.Sum256([]byte(u+"\x00"+p)), sha256.Sum256([]byte(user+"\x00"+password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func refuse(w http.ResponseWriter) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`)) // to a client that may have gone
}
