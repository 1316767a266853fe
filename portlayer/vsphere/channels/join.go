package channels

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const joinBytes = 8 << 10

// refusal is why a join is refused: what the guest hears, and what stands in the log.
type refusal struct {
	status int
	reason error
}

func (r *refusal) Error() string { return r.reason.Error() }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format, args...)}
}

// join answers a guest that asks for the certificate of its boot. A guest that missed the answer asks again.
func (l *Listener) join(w http.ResponseWriter, r *http.Request) {
	cert, err := l.joined(w, r)
	if err != nil {
		status := http.StatusServiceUnavailable
		if refused, ok := errors.AsType[*refusal](err); ok {
			status = refused.status
		}
		logging.From(r.Context()).DebugContext(r.Context(), "join refused", "address", r.RemoteAddr, "err", err)
		http.Error(w, http.StatusText(status), status) // a stranger learns nothing
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(wire.Joined{Certificate: string(cert)}) // the guest asks again
}

func (l *Listener) joined(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var j wire.Join
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, joinBytes)).Decode(&j); err != nil {
		return nil, refuse(http.StatusBadRequest, "join: %w", err)
	}
	vm, known := l.vms.Guest(j.VM)
	hash := sha256.Sum256([]byte(j.Token))
	switch {
	case subtle.ConstantTimeCompare(hash[:], vm.TokenHash[:]) != 1 || !known:
		return nil, refuse(http.StatusForbidden, "VM %q has no such token", j.VM)
	case !slices.Contains(vm.Addresses, source(r.RemoteAddr)):
		return nil, refuse(http.StatusForbidden, "VM %s has addresses %v", j.VM, vm.Addresses)
	}
	public, key, err := publicKey(j.Request)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "VM %s: %w", j.VM, err)
	}
	if vm.Joined == vm.Boot && vm.Key != key { // vSphere may have powered it on since, and not said so yet
		if !l.mayRefresh(j.VM) {
			return nil, refuse(http.StatusConflict, "boot %s of VM %s has joined, and vSphere was asked for another just now", vm.Boot, j.VM)
		}
		if err := l.vms.Refresh(r.Context(), j.VM); err != nil {
			return nil, err
		}
		vm, _ = l.vms.Guest(j.VM)
	}
	if err := l.admit(r.Context(), j.VM, vm, key); err != nil {
		return nil, err
	}
	return l.authority.guest(public, j.VM, vm.Boot)
}

// admit lets a boot join with a key, or join again.
func (l *Listener) admit(ctx context.Context, name string, vm VM, key [32]byte) error {
	switch {
	case vm.Boot == "":
		return refuse(http.StatusConflict, "VM %s is off", name)
	case vm.Joined != vm.Boot:
		return l.vms.Join(ctx, name, vm.Boot, key)
	case vm.Key == key:
		return nil // it has missed the answer
	case l.alive(name):
		// It is somebody else, or the guest has rebooted and nobody knows yet that its channel is gone. A guest that has not
		// dials in again at once.
		l.hangUp(name)
		return refuse(http.StatusConflict, "boot %s of VM %s has joined, and has its channel open", vm.Boot, name)
	}
	err := l.vms.Rebooted(ctx, name, vm.Boot)
	return refuse(http.StatusConflict, "boot %s of VM %s has joined: %v", vm.Boot, name, err)
}

// publicKey is the key of a certificate request, whose holder has it, and its hash.
func publicKey(request string) (*ecdsa.PublicKey, [32]byte, error) {
	block, _ := pem.Decode([]byte(request))
	if block == nil {
		return nil, [32]byte{}, errors.New("certificate request is not PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, [32]byte{}, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, [32]byte{}, err
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, [32]byte{}, errors.New("key of the certificate request is not ECDSA on P-256")
	}
	return public, sha256.Sum256(csr.RawSubjectPublicKeyInfo), nil
}
