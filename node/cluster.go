package node

import (
	"context"
	"fmt"

	"github.com/virtual-kubelet/vic/provider"
)

// openCluster asks which cluster the node is of, before anything of its state is touched: VMs and state of another cluster
// are not ours.
func (n *Node) openCluster(ctx context.Context) (err error) {
	if n.clients, err = provider.NewClients(n.config.API, userAgent); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if n.cluster, err = n.clients.ClusterUID(ctx); err != nil {
		return err
	}
	if err := n.config.State.Claim(n.cluster); err != nil {
		return fmt.Errorf("%w; give this node another directory, or, where that cluster is gone, remove what it left: vic up --purge --dir %s",
			err, n.config.State.Path)
	}
	return nil
}
